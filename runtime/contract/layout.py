"""How a blob is divided into cells and units; made from a catalog, never guessed."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.contract.cellmap import MapHeader

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class ObjectLayout:
    """A large object: every chunk is one cell and one unit."""

    key: str
    size: int
    chunk: int

    @property
    def header(self) -> MapHeader:
        """Return the map header of this blob."""
        return MapHeader.for_object(self.key, self.size, self.chunk)

    @property
    def cells(self) -> int:
        """Number of cells."""
        return -(-self.size // self.chunk)

    @property
    def units(self) -> int:
        """Number of units."""
        return self.cells

    def cell_range(self, cell: int) -> tuple[int, int]:
        """Return the cell's bytes in the blob as ``(start, stop)``."""
        start = cell * self.chunk
        return start, min(start + self.chunk, self.size)

    def unit_cells(self, unit: int) -> range:
        """Return the cells of a unit."""
        return range(unit, unit + 1)

    def unit_range(self, unit: int) -> tuple[int, int]:
        """Return the unit's bytes in the blob as ``(start, stop)``."""
        return self.cell_range(unit)

    def unit_of(self, cell: int) -> int:
        """Return the unit that a cell belongs to."""
        return cell


class PackLayout:
    """A pack: every member is a cell, every group of members a unit.

    ``offsets`` and ``sizes`` are per member; ``groups`` holds the first member of each group.
    A group's first offset is a multiple of ``units.ALIGN``; members of a group follow each other
    without gaps.
    """

    __slots__ = ("groups", "key", "offsets", "size", "sizes")

    def __init__(
        self, key: str, offsets: Sequence[int], sizes: Sequence[int], groups: Sequence[int]
    ) -> None:
        self.key = key
        self.offsets = array("Q", offsets)
        self.sizes = array("I", sizes)
        self.groups = array("I", groups)
        self.size = self.offsets[-1] + self.sizes[-1]

    @property
    def header(self) -> MapHeader:
        """Return the map header of this blob."""
        return MapHeader.for_pack(self.key, self.size, self.cells)

    @property
    def cells(self) -> int:
        """Number of cells."""
        return len(self.offsets)

    @property
    def units(self) -> int:
        """Number of units."""
        return len(self.groups)

    def cell_range(self, cell: int) -> tuple[int, int]:
        """Return the cell's bytes in the blob as ``(start, stop)``."""
        start = self.offsets[cell]
        return start, start + self.sizes[cell]

    def unit_cells(self, unit: int) -> range:
        """Return the cells of a unit."""
        last = self.groups[unit + 1] if unit + 1 < len(self.groups) else len(self.offsets)
        return range(self.groups[unit], last)

    def unit_range(self, unit: int) -> tuple[int, int]:
        """Return the unit's bytes in the blob as ``(start, stop)``."""
        cells = self.unit_cells(unit)
        last = cells[-1]
        return self.offsets[cells[0]], self.offsets[last] + self.sizes[last]

    def unit_of(self, cell: int) -> int:
        """Return the unit that a cell belongs to."""
        return bisect_right(self.groups, cell) - 1


Layout = ObjectLayout | PackLayout
