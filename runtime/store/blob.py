"""One blob in the store: which cells are here, where, and their verified bytes.

**Readers in this process** pin a unit, then ``locate`` cells and send them: while pinned, neither
the unit's bytes nor the descriptors go away, whatever is dropped or evicted meanwhile.
**Readers in other processes** hold descriptors and the map, and no lease: they compare a cell's
word before and after reading.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runtime.contract.cellmap import PRESENT
from runtime.contract.layout import ObjectLayout
from runtime.contract.units import SEGMENT, checksum
from runtime.errors import NotCached
from runtime.store.places import BlobFiles, Pin, Place, Span

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runtime.contract.cellmap import CellMap
    from runtime.contract.layout import Layout
    from runtime.store.core import Core
    from runtime.store.pair import FilePair
    from runtime.store.room import Room
    from runtime.store.tier import Resident, Tier


class Blob:
    """A blob; made by ``Store.blob``. Every method may be called from any thread.

    After a machine crash, the first question about a unit reads and verifies its cells; ask
    ``suspect`` and call ``vet`` in a thread to keep that off the event loop.
    """

    def __init__(self, core: Core, room: Room, layout: Layout, dataset: str) -> None:
        self.layout = layout
        self.dataset = dataset
        self.units: dict[int, Resident] = {}
        self.pairs: dict[Tier, FilePair] = {}
        self.dropped = False
        self._core = core
        self._room = room

    # -- presence ------------------------------------------------------------------------------

    def present(self, cell: int) -> bool:
        """Tell whether a cell's bytes are here."""
        unit = self.layout.unit_of(cell)
        with self._core.lock:
            resident = self._resident(unit)
            if resident is None or not resident.count:
                return False
            if resident.count == len(self.layout.unit_cells(unit)):
                return True
            return bool(self._words(resident, cell, cell + 1)[0] & PRESENT)

    def missing(self, unit: int) -> list[int]:
        """Return the cells of a unit that are not here, also those being filled now."""
        cells = self.layout.unit_cells(unit)
        with self._core.lock:
            resident = self._resident(unit)
            if resident is None or not resident.count:
                return list(cells)
            if resident.count == len(cells):
                return []
            words = self._words(resident, cells.start, cells.stop)
        return [cell for cell, word in zip(cells, words, strict=True) if not word & PRESENT]

    def complete(self, unit: int) -> bool:
        """Tell whether every cell of a unit is here."""
        with self._core.lock:
            resident = self._resident(unit)
            return resident is not None and resident.count == len(self.layout.unit_cells(unit))

    def sums(self, unit: int) -> list[int]:
        """Return the checksum of each cell of a unit, 0 for those that are not here."""
        cells = self.layout.unit_cells(unit)
        with self._core.lock:
            resident = self._resident(unit)
            words = self._words(resident, cells.start, cells.stop) if resident else []
            if resident is None or not words:
                return [0] * len(cells)
            sums = resident.pair.map.sums[cells.start : cells.stop].tolist()
        pairs = zip(sums, words, strict=True)
        return [total if word & PRESENT else 0 for total, word in pairs]

    def touch(self, unit: int) -> None:
        """Note a read of a unit, for the order of eviction."""
        with self._core.lock:
            resident = self.units.get(unit)
            if resident is not None and not resident.spare:
                resident.pair.tier.policy(self.dataset).touch(resident.name)

    def _words(self, resident: Resident, start: int, stop: int) -> list[int]:
        """Return the words of cells; none are present where the medium fails."""
        try:
            words = resident.pair.map.words
        except OSError as error:
            resident.pair.tier.failed(error)
            return [0] * (stop - start)
        return words[start:stop].tolist()

    def _resident(self, unit: int) -> Resident | None:
        resident = self.units.get(unit)
        if resident is not None and resident.doubted:
            self.vet(unit)
            resident = self.units.get(unit)
        return resident

    # -- places --------------------------------------------------------------------------------

    def pin(self, unit: int) -> Pin:
        """Return what keeps a unit's bytes and descriptors while it is entered."""
        return Pin(self, unit)

    def pin_resident(self, unit: int) -> Resident | None:
        """Begin a pin; ``pin`` is the way to call it."""
        with self._core.lock:
            resident = self._resident(unit)
            if resident is not None and self._acquire(resident.pair):
                resident.pins += 1
                return resident
            return None

    def unpin_resident(self, resident: Resident) -> None:
        """End a pin."""
        with self._core.lock:
            resident.pins -= 1
        self._room.release(resident.pair)
        with self._core.lock:
            if self.units.get(resident.name[1]) is resident:
                self._room.settle(resident, set())  # its cells may have been dropped meanwhile
            self._room.enforce(resident.pair.tier)

    def _acquire(self, pair: FilePair) -> bool:
        try:
            pair.acquire()
        except OSError as error:
            pair.tier.failed(error)
            return False
        return True

    def locate(self, cell: int) -> Place | None:
        """Return where a cell's bytes lie, None if they are not here.

        Call it with the cell's unit pinned, and use the place no longer than that: without a pin
        the number of the descriptor may be another file's by the time it is used.
        """
        with self._core.lock:
            resident = self.units.get(self.layout.unit_of(cell))
            if resident is None or not self.present(cell):
                return None
            if not resident.pins:
                raise RuntimeError("locate needs the unit pinned")
            start, stop = self.layout.cell_range(cell)
            return Place(resident.pair.data_fd, start, stop - start)

    @contextmanager
    def files(self) -> Iterator[tuple[BlobFiles, ...]]:
        """Give the blob's files, for passing their descriptors to a reader in another process.

        They are valid inside the ``with`` block; a reader gets descriptors of its own by
        SCM_RIGHTS. Nothing can be written through them.
        """
        with self._core.lock:
            held = [pair for pair in self.pairs.values() if self._acquire(pair)]
        try:
            with self._core.lock:
                files = tuple(BlobFiles(p.tier.number, p.data_fd, p.map_fd) for p in held)
            yield files
        finally:
            for pair in held:
                self._room.release(pair)

    def lend(self) -> BlobFiles:
        """Return descriptors of the caller's own of the one tier that has the whole blob.

        Nothing of the blob is punched or written as long as the first of them, a copy of it, or a
        mapping of it is open anywhere: the kernel keeps the hold, also over an agent's restart.

        Raises:
            NotCached: the blob is not wholly in one tier.
            NoRoom: as much of that tier is lent as may be.
        """
        with self._core.lock:
            for pair in self.pairs.values():
                if not all(word & PRESENT for word in self._words_of(pair)):
                    continue
                self._room.check_may_lend(pair)
                try:
                    return BlobFiles(pair.tier.number, *pair.lend())
                except OSError as error:
                    pair.tier.failed(error)
        raise NotCached(
            "the object is not wholly in one tier of this node, so it cannot be mapped; read it"
        )

    def _words_of(self, pair: FilePair) -> list[int]:
        opened = self._opened(pair)
        return opened[0].words.tolist() if opened is not None else [0]

    # -- verified bytes ------------------------------------------------------------------------

    def verified_read(self, cell: int, start: int = 0, stop: int | None = None) -> bytes | None:
        """Return bytes ``start`` to ``stop`` of a cell, compared with their checksums.

        A chunk of an object is verified by the segments that the range touches, a member of a pack
        as a whole. None: the cell is not here, or was corrupt, and has been dropped and counted.
        Reads without the lock, so it belongs into a thread where the bytes may be cold.
        """
        cell_start, cell_stop = self.layout.cell_range(cell)
        size = cell_stop - cell_start
        stop = size if stop is None else min(stop, size)
        if start >= stop:
            return b"" if self.present(cell) else None
        span = self.span(cell, start, stop)
        low, high = span.low, span.high
        data = self._checked(cell, low, high, thorough=False)
        if data is None or (low, high) == (start, stop):
            return data
        return data[start - low : stop - low]

    def span(self, cell: int, start: int, stop: int) -> Span:
        """Return what to read to have bytes ``start`` to ``stop`` of a cell verified."""
        cell_start, cell_stop = self.layout.cell_range(cell)
        size = cell_stop - cell_start
        low, high = 0, size
        if isinstance(self.layout, ObjectLayout):
            low = start // SEGMENT * SEGMENT
            high = min(-(-stop // SEGMENT) * SEGMENT, size)
        unit = self.layout.unit_of(cell)
        whole = (low, high) == (0, size)
        return Span(cell, unit, start, stop, low, high, cell_start + low, whole)

    def glance(self, span: Span) -> bytes | None:
        """Return a span's bytes, verified, and note the read; None: ask ``verified_read``.

        For few bytes: they are read within one turn of the lock, so that nothing needs to be held.
        Nothing is dropped or vetted here.
        """
        cell, unit, start, stop, low, high, offset, whole = span
        with self._core.lock:
            resident = self.units.get(unit)
            if resident is None or not resident.count or resident.doubted:
                return None
            pair = resident.pair
            try:
                cells, fd = pair.opened()
                if not cells.words[cell] & PRESENT:
                    return None
                data = os.pread(fd, high - low, offset)
            except OSError:
                return None
            if whole:
                if len(data) != high or checksum(data) != cells.sums[cell]:
                    return None
            elif not pair.matches(cell, self._size(cell), (low, high), data, thorough=False):
                return None
            if not resident.spare:
                pair.tier.policy(self.dataset).touch(resident.name)
        return data if stop - start == high - low else data[start - low : stop - low]

    def collect(self, wanted: Sequence[tuple[int, memoryview]]) -> list[int]:
        """Fill each buffer with all of a cell's bytes, verified, and note the reads.

        Return the indexes of those that are not here or do not match: ask ``verified_read``, which
        drops what is corrupt. For few bytes, as ``glance``: the lock is held all the time.
        """
        layout = self.layout
        lacking: list[int] = []
        read: list[int] = []
        with self._core.lock:
            opened = [one for pair in self.pairs.values() if (one := self._opened(pair))]
            for index, (cell, into) in enumerate(wanted):
                for cells, fd in opened:
                    if cells.words[cell] & PRESENT:
                        if _fill(fd, into, layout.cell_range(cell)[0], cells.sums[cell]):
                            read.append(cell)
                        else:
                            lacking.append(index)
                        break
                else:
                    lacking.append(index)
            self._touch_all(read)
        return lacking

    def _opened(self, pair: FilePair) -> tuple[CellMap, int] | None:
        try:
            return pair.opened()
        except OSError as error:
            pair.tier.failed(error)
            return None

    def _touch_all(self, cells: Sequence[int]) -> None:
        """Note reads, where any policy makes something of them."""
        if not any(pair.tier.policy(self.dataset).yields for pair in self.pairs.values()):
            return
        for unit in {self.layout.unit_of(cell) for cell in cells}:
            self.touch(unit)

    def verify(self, cell: int) -> bool:
        """Read a cell and compare it with all its checksums.

        False: the cell is not here, or was corrupt, and has been dropped and counted.
        """
        return self._checked(cell, 0, self._size(cell), thorough=True) is not None

    def _checked(self, cell: int, low: int, high: int, *, thorough: bool) -> bytes | None:
        """Read and compare ``low`` to ``high`` of a cell, which begin and end with segments."""
        unit = self.layout.unit_of(cell)
        self.vet(unit)
        with self._core.lock:
            resident = self.units.get(unit)
            if resident is None or not resident.count or not self._acquire(resident.pair):
                return None
        pair = resident.pair
        try:
            word = pair.mapped.words[cell]
            if not word & PRESENT:
                return None
            data = self._read(pair, cell, low, high)
            if not pair.matches(cell, self._size(cell), (low, high), data, thorough=thorough):
                with self._core.lock:
                    self._room.drop_cell(resident, cell, word)
                return None
            return data
        finally:
            self._room.release(pair)

    def _size(self, cell: int) -> int:
        start, stop = self.layout.cell_range(cell)
        return stop - start

    def _read(self, pair: FilePair, cell: int, low: int, high: int) -> bytes:
        """Read bytes of a cell; those that the medium refuses are missing, and do not match."""
        start, _ = self.layout.cell_range(cell)
        try:
            data = pair.read(start + low, start + high)
        except OSError as error:
            with self._core.lock:
                pair.tier.failed(error)
            return b""
        return data

    # -- after a machine crash -----------------------------------------------------------------

    def suspect(self, unit: int) -> bool:
        """Tell whether a unit is from before a machine crash and not verified yet."""
        resident = self.units.get(unit)
        return resident is not None and bool(resident.doubted)

    def vet(self, unit: int) -> None:
        """Verify a suspect unit: cells that match become present, the others are dropped."""
        if not self.suspect(unit):
            return
        with self._core.lock:
            resident = self.units.get(unit)
            if resident is None or not resident.doubted or not self._acquire(resident.pair):
                return
            resident.pins += 1
        pair = resident.pair
        good: list[int] = []
        bad: list[int] = []
        for cell in resident.doubted:
            size = self._size(cell)
            data = self._read(pair, cell, 0, size)
            matches = pair.matches(cell, size, (0, size), data, thorough=True)
            (good if matches else bad).append(cell)
        with self._core.lock:
            resident.pins -= 1
            if resident.doubted and not pair.dead:
                self._acquit(resident, good, len(bad))
        self._room.release(pair)

    def _acquit(self, resident: Resident, good: list[int], bad: int) -> None:
        resident.doubted = ()
        self._core.fault("vet.before-publish")
        resident.pair.publish(good)
        self._core.counters.corrupt_cells += bad
        ranges = (self.layout.cell_range(cell) for cell in good)
        size = sum(stop - start for start, stop in ranges)
        resident.pair.tier.count(resident, len(good), size)
        if not good and not resident.busy:
            self._room.take(resident)


def _fill(fd: int, into: memoryview, offset: int, total: int) -> bool:
    """Fill a buffer from a file; return whether it is full and has this checksum."""
    try:
        return os.preadv(fd, (into,), offset) == len(into) and checksum(into) == total
    except OSError:
        return False
