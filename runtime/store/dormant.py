"""Objects that rest in a tier since before this process and that nobody has used yet.

A unit in use costs hundreds of bytes of memory. A dormant object costs some forty for all its
units: a row in columns, in the order of the keys. Its blob and units are made when it is first
asked for, verified anew for a reader, or chosen to leave.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, Final, NamedTuple

from runtime.store.words import marked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.policy.evict import Name

_KEY: Final = 16
"""Bytes of a key; as text it has twice as many characters."""


class Row(NamedTuple):
    """What is known of a dormant object.

    ``overhead`` and ``charged`` are the bytes counted for its files and for its units, ``size``
    those of its present cells.
    """

    overhead: int
    charged: int
    size: int


class Dormant:
    """The dormant objects of one Dataset in one tier.

    ``count`` is the number of objects, ``cells`` that of their present cells; ``overhead``,
    ``charged`` and ``size`` are sums over their rows. Changes
    need the store's lock; ``keys`` and ``units`` may be walked without it, and pass over what
    leaves meanwhile.
    """

    def __init__(self) -> None:
        self.count = 0
        self.cells = 0
        self.overhead = 0
        self.charged = 0
        self.size = 0
        self._keys = bytearray()
        self._overheads = array("I")
        self._charges = array("q")  # 0: the object has left
        self._sizes = array("q")
        self._cells = array("I")
        self._partial: dict[int, bytes] = {}
        self._first = 0

    def add(self, key: str, row: Row, cells: bytes) -> None:
        """Take in an object; its key comes after all that are here.

        ``cells`` holds 1 for each present cell, of which there is one at least.
        """
        if 0 in cells:
            self._partial[len(self._cells)] = cells
        self._keys += bytes.fromhex(key)
        self._overheads.append(row.overhead)
        self._charges.append(row.charged)
        self._sizes.append(row.size)
        self._cells.append(len(cells))
        self.count += 1
        self.cells += cells.count(1)
        self.overhead += row.overhead
        self.charged += row.charged
        self.size += row.size

    def __contains__(self, key: str) -> bool:
        return self._index(key) >= 0

    def take(self, key: str) -> Row | None:
        """Let go of an object; None if it is not here."""
        index = self._index(key)
        if index < 0:
            return None
        row = Row(self._overheads[index], self._charges[index], self._sizes[index])
        self._charges[index] = 0
        partial = self._partial.pop(index, None)
        self.count -= 1
        self.cells -= self._cells[index] if partial is None else partial.count(1)
        self.overhead -= row.overhead
        self.charged -= row.charged
        self.size -= row.size
        return row

    def first(self) -> str | None:
        """Return the first key, None if nothing is here."""
        while self._first < len(self._charges):
            if self._charges[self._first]:
                return self._key(self._first).hex()
            self._first += 1
        return None

    def keys(self) -> Iterator[str]:
        """Yield every key."""
        for index, charged in enumerate(self._charges):
            if charged:
                yield self._key(index).hex()

    def units(self) -> Iterator[Name]:
        """Yield every unit that has its cell; a chunk of an object is a cell and a unit."""
        for index in range(len(self._charges)):
            cells = self._partial.get(index)
            if not self._charges[index]:
                continue  # looked at last, as an object that leaves loses this first
            key = self._key(index).hex()
            units = range(self._cells[index]) if cells is None else marked(cells)
            for unit in units:
                yield key, unit

    def _index(self, key: str) -> int:
        wanted = bytes.fromhex(key)
        index = bisect_left(range(len(self._charges)), wanted, key=self._key)
        here = index < len(self._charges) and self._key(index) == wanted
        return index if here and self._charges[index] else -1

    def _key(self, index: int) -> bytes:
        return bytes(self._keys[index * _KEY : (index + 1) * _KEY])
