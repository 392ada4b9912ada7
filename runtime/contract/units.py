"""Names and geometry: blobs, cells, units, slots.

A **blob** is what the store keeps as one sparse file: one version of a large object, or a pack of
small ones. A **cell** is the grain of presence: a chunk of an object, or one member of a pack.
A **unit** is the grain of ownership, transfer and eviction: one chunk of an object, or a group of
neighbouring members of a pack (about one chunk of bytes).

A blob's key contains the version token of every object in it, so bytes of two versions can never
share a key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import xxhash

if TYPE_CHECKING:
    from collections.abc import Iterable

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

SEGMENT = 64 * KIB
"""Bytes covered by one checksum inside a chunk."""

DEFAULT_CHUNK = 4 * MIB
MAX_CHUNK = 64 * MIB
MAX_CHUNKS_PER_OBJECT = 2048
DEFAULT_PACK_BELOW = MIB
PACK_BYTES = GIB
"""A pack is closed when it reaches this size."""
ALIGN = 4 * KIB
"""Groups start at multiples of this in their pack, so that punching one frees whole blocks."""
SLOTS = 4096
"""Ownership is decided per slot; every unit falls into one."""


def checksum(data: bytes | bytearray | memoryview) -> int:
    """Return the xxh3-64 of ``data``, never 0: a zero in a table of checksums means "absent"."""
    return xxhash.xxh3_64_intdigest(data) or 1


def object_key(dataset: str, path: str, size: int, version: str, chunk: int) -> str:
    """Return the blob key (32 hex digits) of one version of one object of ``ns/name``.

    The chunk size is a part of it: a key stands for one layout.
    """
    text = f"object\0{dataset}\0{path}\0{size}\0{version}\0{chunk}"
    return xxhash.xxh3_128_hexdigest(text.encode())


def pack_key(dataset: str, members: Iterable[tuple[str, int, str]], groups: Iterable[int]) -> str:
    """Return the blob key of a pack.

    ``members`` are ``(path, size, version)`` in layout order, ``groups`` the first of each group.
    """
    digest = xxhash.xxh3_128(f"pack\0{dataset}\0".encode())
    for path, size, version in members:
        digest.update(f"{path}\0{size}\0{version}\0".encode())
    digest.update(",".join(map(str, groups)).encode())
    return digest.hexdigest()


def chunk_size_for(size: int, base: int = DEFAULT_CHUNK) -> int:
    """Return the chunk size of an object of ``size`` bytes.

    Doubled from ``base`` until the object has at most ``MAX_CHUNKS_PER_OBJECT`` chunks, never
    beyond ``MAX_CHUNK``.
    """
    chunk = base
    while chunk < MAX_CHUNK and size > chunk * MAX_CHUNKS_PER_OBJECT:
        chunk *= 2
    return chunk


@dataclass(frozen=True, slots=True)
class Unit:
    """A blob's ``index``-th unit."""

    key: str
    index: int

    def __str__(self) -> str:
        return f"{self.key}.{self.index}"


def slot_of(name: str) -> int:
    """Return the slot (0..SLOTS-1) of a unit's name, or of any other owned thing's."""
    return xxhash.xxh3_64_intdigest(name.encode()) % SLOTS


def snapshot_name(dataset: str) -> str:
    """Return the owned name whose owner takes the snapshots of ``ns/name`` for its domain."""
    return f"snapshot:{dataset}"
