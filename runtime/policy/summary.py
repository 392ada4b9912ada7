"""A compact summary of the units that an agent holds: a Bloom filter.

Source: Bloom, "Space/time trade-offs in hash coding with allowable errors", 1970, with the two
hashes of Kirsch and Mitzenmacher, "Less hashing, same performance", 2006. Ten bits a unit and
seven probes make about one false answer in a hundred; one costs an asking answered with 404.
"""

from __future__ import annotations

import struct
from array import array
from typing import TYPE_CHECKING

import xxhash

from runtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

BITS_PER_UNIT = 10
PROBES = 7
_HEADER = struct.Struct("<QQ")
_MAX_BYTES = 16 << 20


def _hashes(name: str) -> tuple[int, int]:
    digest = xxhash.xxh3_128_intdigest(name.encode())
    return digest & 0xFFFFFFFFFFFFFFFF, (digest >> 64) | 1


def _probes(first: int, second: int, bits: int) -> list[int]:
    return [(first + turn * second) % bits for turn in range(PROBES)]


class Summary:
    """The filter, with the version that its maker gave it."""

    def __init__(self, bits: bytes | bytearray, *, version: int) -> None:
        self._bits = bits
        self.version = version

    @classmethod
    def of(cls, names: Iterable[str], *, version: int) -> Self:
        """Summarise the names of units, which are read once: a million would fill memory."""
        hashes = array("Q")
        for name in names:
            hashes.extend(_hashes(name))
        size = max(64, (len(hashes) // 2 * BITS_PER_UNIT + 7) // 8)
        bits = bytearray(size)
        for first, second in zip(hashes[::2], hashes[1::2], strict=True):
            for probe in _probes(first, second, size * 8):
                bits[probe >> 3] |= 1 << (probe & 7)
        return cls(bits, version=version)

    def __contains__(self, name: str) -> bool:
        bits = self._bits
        return all(
            bits[probe >> 3] >> (probe & 7) & 1 for probe in _probes(*_hashes(name), len(bits) * 8)
        )

    def encode(self) -> bytes:
        """Return the filter for the wire."""
        return _HEADER.pack(self.version, len(self._bits)) + bytes(self._bits)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a filter from the wire.

        Raises:
            ConfigError: the bytes are not such a filter.
        """
        if len(data) < _HEADER.size:
            raise ConfigError("this summary is shorter than its header")
        version, size = _HEADER.unpack_from(data)
        if not 0 < size <= _MAX_BYTES or len(data) != _HEADER.size + size:
            raise ConfigError(f"this summary says {size} bytes and has {len(data) - _HEADER.size}")
        return cls(data[_HEADER.size :], version=version)
