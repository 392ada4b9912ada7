"""The map beside every blob: which cells are present, and their checksums.

It is one file, mapped shared by the agent that writes it and by every client that reads through a
passed descriptor, little-endian, native word size of 8::

    header   64 bytes   magic, kind, segments per cell, cells, cell size, blob size, key
    words    8 x cells  generation << 1 | present
    sums     8 x cells  xxh3-64 of the whole cell
    segments 8 x cells x segments per cell   xxh3-64 of each 64 KiB (objects only)

The word is a sequence lock. A writer that takes a cell away first raises its generation with the
present bit clear, then punches; a writer that fills first writes bytes and checksums, then raises
the generation with the bit set. A reader takes the word, reads the bytes, verifies, and takes the
word again: equal words with the bit set mean that the bytes are those of the cell. Aligned
8-byte loads and stores through a memoryview are single moves, so a word is never seen torn.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from runtime.contract.units import SEGMENT
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from typing import Self

MAGIC: Final = b"CCMAP\x00\x00\x01"
KIND_OBJECT: Final = 1
KIND_PACK: Final = 2
HEADER = struct.Struct("<8sIIQQQ16s8x")
PRESENT: Final = 1


@dataclass(frozen=True, slots=True)
class MapHeader:
    """What a map says of its blob. ``cell_size`` is 0 for packs, whose cells vary."""

    kind: int
    segments_per_cell: int
    cells: int
    cell_size: int
    size: int
    key: str

    @property
    def file_size(self) -> int:
        """Bytes of the whole map file."""
        return HEADER.size + 8 * self.cells * (2 + self.segments_per_cell)

    def encode(self) -> bytes:
        """Return the 64 bytes that open the file."""
        return HEADER.pack(
            MAGIC,
            self.kind,
            self.segments_per_cell,
            self.cells,
            self.cell_size,
            self.size,
            bytes.fromhex(self.key),
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a header.

        Raises:
            ConfigError: these bytes do not open a map of this version.
        """
        if len(data) < HEADER.size or data[:8] != MAGIC:
            raise ConfigError("this file is not a cell map of version 1")
        _, kind, segments, cells, cell_size, size, key = HEADER.unpack_from(data)
        return cls(kind, segments, cells, cell_size, size, key.hex())

    @classmethod
    def for_object(cls, key: str, size: int, chunk: int) -> Self:
        """Return the header for an object of ``size`` bytes in chunks of ``chunk`` bytes."""
        return cls(KIND_OBJECT, -(-chunk // SEGMENT), -(-size // chunk), chunk, size, key)

    @classmethod
    def for_pack(cls, key: str, size: int, members: int) -> Self:
        """Return the header for a pack of ``members`` objects."""
        return cls(KIND_PACK, 0, members, 0, size, key)


class CellMap:
    """A reader's view of a map, over a descriptor it does not keep.

    Raises:
        ConfigError: the file is not a map, or is shorter than its header says.
    """

    def __init__(self, fd: int, *, writable: bool = False) -> None:
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        try:
            self._mmap = mmap.mmap(fd, 0, access=access)
        except ValueError as error:
            raise ConfigError("this cell map is empty") from error
        self.header = MapHeader.decode(self._mmap[: HEADER.size])
        if len(self._mmap) < self.header.file_size:
            raise ConfigError("this cell map is shorter than its header says")
        cells = self.header.cells
        whole = memoryview(self._mmap)[HEADER.size : self.header.file_size].cast("Q")
        self.words = whole[:cells]
        self.sums = whole[cells : 2 * cells]
        self.segments = whole[2 * cells :]
        self._whole = whole

    def present(self, cell: int) -> bool:
        """Tell whether the cell's bytes are there now."""
        return bool(self.words[cell] & PRESENT)

    def close(self) -> None:
        """Drop the mapping; the views are unusable afterwards."""
        self.words.release()
        self.sums.release()
        self.segments.release()
        self._whole.release()
        self._mmap.close()
