"""Room for cells, held while their bytes are written, published at once or given back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.contract.units import checksum
from runtime.errors import NoRoom

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from runtime.store.blob import Blob
    from runtime.store.core import Core
    from runtime.store.room import Room
    from runtime.store.tier import Resident


class Reservation:
    """A right to fill ``cells`` of a blob; made by ``Store.reserve``.

    ``cells`` are those asked for that were neither here nor being filled by another reservation.
    As a context manager it gives back what was not committed. Writes still under way when it ends
    count for nothing, and the room is given back when the last of them ends; a blob that is
    dropped meanwhile takes them into its old files, which are gone.
    """

    def __init__(
        self, core: Core, room: Room, blob: Blob, grants: Mapping[int, tuple[Resident, set[int]]]
    ) -> None:
        self.blob = blob
        self.cells = frozenset(cell for _, cells in grants.values() for cell in cells)
        self._core = core
        self._room = room
        self._grants = grants
        self._written: set[int] = set()
        self._inside = 0
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.abort()

    def write(self, cell: int, data: bytes | bytearray | memoryview) -> int:
        """Write a cell's bytes and checksums; return the checksum of the cell.

        Heavy; from any thread, different cells at once. The bytes must not change meanwhile. Cells
        that are not in ``cells`` are only summed.

        Raises:
            NoRoom: the medium is full or failed; abort, and read through.
            ValueError: ``data`` is not as long as the cell.
        """
        view = memoryview(data).cast("B")
        start, stop = self.blob.layout.cell_range(cell)
        if len(view) != stop - start:
            raise ValueError(f"cell {cell} has {stop - start} bytes, {len(view)} were given")
        with self._core.lock:
            if self._closed or cell not in self.cells:
                return checksum(view)
            resident, _ = self._grants[self.blob.layout.unit_of(cell)]
            if resident.pair.dead or self._core.closed:
                return checksum(view)
            self._inside += 1
        try:
            total = resident.pair.write_cell(cell, start, view)
        except OSError as error:
            tier = resident.pair.tier
            with self._core.lock:
                tier.failed(error)
            raise NoRoom(f"tier {tier.path} cannot take more bytes: {error.strerror}") from error
        else:
            with self._core.lock:
                self._written.add(cell)
            return total
        finally:
            self._leave()

    def _leave(self) -> None:
        with self._core.lock:
            self._inside -= 1
            ended = self._closed and not self._inside
        if ended:
            self._settle()

    def commit(self) -> bool:
        """Publish the cells that were written.

        False: nothing was published, as the blob was dropped meanwhile or this had ended before.
        """
        published = False
        with self._core.lock:
            if self._closed or self._core.closed:
                return False
            for resident, cells in self._grants.values():
                written = sorted(cells & self._written)
                if written and not resident.pair.dead:
                    self._publish(resident, written)
                    published = True
        self.abort()
        return published

    def _publish(self, resident: Resident, written: list[int]) -> None:
        self._core.fault("fill.before-publish")
        resident.pair.publish(written)
        self._core.fault("fill.after-publish")
        self._core.counters.fills += 1
        ranges = (self.blob.layout.cell_range(cell) for cell in written)
        size = sum(stop - start for start, stop in ranges)
        resident.pair.tier.count(resident, len(written), size)
        resident.pair.tier.worked()

    def abort(self) -> None:
        """End it, giving back what was not published."""
        with self._core.lock:
            if self._closed or self._core.closed:
                return
            self._closed = True
            ended = not self._inside
        if ended:
            self._settle()

    def _settle(self) -> None:
        for resident, cells in self._grants.values():
            with self._core.lock:
                self._room.settle(resident, cells)
            self._room.release(resident.pair)
            with self._core.lock:
                self._room.enforce(resident.pair.tier)
