"""The read path: what is here is used, what is missing is fetched once for all who ask."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from runtime.agent.flight import Flight
from runtime.agent.landing import BufferPool, Landing
from runtime.agent.line import DEMAND
from runtime.agent.race import Race
from runtime.agent.room import Room
from runtime.agent.transit import Transit
from runtime.contract.units import MIB, checksum
from runtime.errors import (
    CacheError,
    NoRoom,
    PeerBrokeOff,
    PeerLied,
    PeerMismatch,
    PeerMissing,
    PeerUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runtime.agent.content import Content
    from runtime.agent.counters import Counters
    from runtime.agent.dataset import Dataset
    from runtime.agent.health import Health
    from runtime.agent.planview import PlanView
    from runtime.agent.sources import OriginSource, PeerSource
    from runtime.contract.route import Step
    from runtime.store.blob import Blob
    from runtime.store.reservation import Reservation
    from runtime.store.store import Store

log = logging.getLogger(__name__)

MEMBERS_FIRST: Final = 8
"""Up to so many members of a group are answered on their own before the group is fetched."""
FROM_PEERS_BYTES: Final = 128 * MIB
FROM_ORIGIN_BYTES: Final = 128 * MIB
"""Room for units on their way. Askings of peers and of the origin have rooms of their own: an
owner's fetch for others must never wait behind its own askings of those others."""


class Fetcher:
    """Brings cells to this node."""

    def __init__(  # noqa: PLR0913 - the parts that the agent is put together from
        self,
        store: Store,
        *,
        peers: PeerSource,
        origin: OriginSource,
        health: Health,
        counters: Counters,
        view: Callable[[], PlanView],
        serves: Callable[[Dataset], bool],
        holders: Callable[[str], set[str]],
    ) -> None:
        self._store = store
        self._peers = peers
        self._origin = origin
        self._health = health
        self._counters = counters
        self._view = view
        self._serves = serves
        self._holders = holders
        self._pool = BufferPool(keep_bytes=64 * MIB)
        self._peer_room = Room(FROM_PEERS_BYTES)
        self._origin_room = Room(FROM_ORIGIN_BYTES)
        self._flights: dict[str, Flight] = {}
        self._transit = Transit()
        self._background: set[asyncio.Task[None]] = set()
        self._relieving: asyncio.Future[None] | None = None

    def blob(self, content: Content) -> Blob:
        """Return the store's blob of a content."""
        plan = content.dataset.plan
        return self._store.blob(content.layout, dataset=plan.ref, policy=plan.cache_policy)

    def missing(self, content: Content, unit: int) -> list[int]:
        """Return the cells of a unit that this snapshot has and this node has not."""
        absent = self.blob(content).missing(unit)
        return [part.cell for part in content.parts(unit, absent)] if absent else []

    async def ensure(
        self, content: Content, cells: Sequence[int], *, priority: int = DEMAND
    ) -> bool:
        """Bring cells into the store; tell whether all of them are there.

        False means that they were had but not admitted: they are to be read through.

        Raises:
            CacheError: why one of the cells cannot be had.
        """
        wanted: dict[int, list[int]] = {}
        for cell in cells:
            wanted.setdefault(content.layout.unit_of(cell), []).append(cell)
        found = await asyncio.gather(
            *(self._ensure_unit(content, unit, own, priority) for unit, own in wanted.items()),
            return_exceptions=True,
        )
        for result in found:
            if isinstance(result, BaseException):
                raise result
        return all(found)

    async def _ensure_unit(
        self, content: Content, unit: int, cells: Sequence[int], priority: int
    ) -> bool:
        blob = self.blob(content)
        if blob.suspect(unit):
            await asyncio.to_thread(blob.vet, unit)
        if all(blob.present(cell) for cell in cells):
            self._counters.local_units += 1
            blob.touch(unit)
            return True
        # A peer may lack a part of a group; what is left is then asked for cell by cell.
        for singly in (False, True):
            flights = self.flights(content, unit, cells, priority=priority, singly=singly)
            for flight in flights:
                await flight.landed()
                for cell in cells:
                    if cell in flight.failed:
                        raise flight.failed[cell]
            landed = {cell for flight in flights for cell in flight.sums}
            if landed.issuperset(cell for cell in cells if not blob.present(cell)):
                break
        if not all(blob.present(cell) for cell in cells):
            return False
        self._follow_with_group(content, unit)
        return True

    def _follow_with_group(self, content: Content, unit: int) -> None:
        """Fetch the rest of a group of which a member was read."""
        if len(content.layout.unit_cells(unit)) > 1:
            self.fetch_in_background(content, unit)

    def fetch_in_background(self, content: Content, unit: int) -> None:
        """Start the fetch of what is missing of a unit, unless it is under way."""
        name = content.unit_name(unit)
        if self.under_way(name) is None and (cells := self._free(content, unit)):
            flight = self._launch(content, unit, name, cells, DEMAND, whole=True)
            assert flight.task is not None
            self._background.add(flight.task)
            flight.task.add_done_callback(self._background.discard)

    def flights(
        self,
        content: Content,
        unit: int,
        cells: Sequence[int],
        *,
        priority: int = DEMAND,
        singly: bool = False,
    ) -> list[Flight]:
        """Start or join what brings the missing ones of ``cells`` of a unit.

        No cell is ever in two flights. Few members of a group, or all with ``singly``, fly on
        their own and are answered first. None fly when all are here.
        """
        blob = self.blob(content)
        absent = [cell for cell in cells if not blob.present(cell)]
        if not absent:
            return []
        if len(content.layout.unit_cells(unit)) == 1:
            return [self._whole_flight(content, unit, priority)]
        joined: dict[str, Flight] = {}
        whole = self.under_way(content.unit_name(unit))
        left: list[int] = []
        for cell in absent:
            known = (
                whole
                if whole is not None and cell in whole.cells and not (singly and whole.done)
                else self.under_way(self._cell_name(content, unit, cell))
            )
            if known is None:
                left.append(cell)
            else:
                joined[known.name] = known
        self._counters.shared_flights += len(joined)
        few = priority == DEMAND and len(left) <= MEMBERS_FIRST
        if left and (singly or few or whole is not None):
            new = [self._cell_flight(content, unit, cell, priority) for cell in left]
        else:
            new = [self._whole_flight(content, unit, priority)] if left else []
        return [*joined.values(), *new]

    def _free(self, content: Content, unit: int) -> list[int]:
        """Return the missing cells of a unit that no flight of their own brings."""
        return [
            cell
            for cell in self.missing(content, unit)
            if self._cell_name(content, unit, cell) not in self._flights
        ]

    def _whole_flight(self, content: Content, unit: int, priority: int) -> Flight:
        name = content.unit_name(unit)
        known = self.under_way(name)
        if known is not None:
            self._counters.shared_flights += 1
            known.priority = min(known.priority, priority)
            return known
        cells = self._free(content, unit)
        return self._launch(content, unit, name, cells, priority, whole=True)

    @staticmethod
    def _cell_name(content: Content, unit: int, cell: int) -> str:
        return f"{content.unit_name(unit)}:{cell}"

    def _cell_flight(self, content: Content, unit: int, cell: int, priority: int) -> Flight:
        name = self._cell_name(content, unit, cell)
        return self._launch(content, unit, name, [cell], priority, whole=False)

    def under_way(self, name: str) -> Flight | None:
        """Return the fetch of this name that is under way, or that lies in transit."""
        return self._flights.get(name) or self._transit.get(name)

    def _launch(
        self,
        content: Content,
        unit: int,
        name: str,
        cells: Sequence[int],
        priority: int,
        *,
        whole: bool,
    ) -> Flight:
        def rested(stop: int) -> bytes | None:
            return self.blob(content).verified_read(cells[0], 0, stop)

        flight = Flight(
            content, unit, cells, name=name, whole=whole, priority=priority, rested=rested
        )
        self._flights[name] = flight
        flight.start(self._fly(flight))
        assert flight.task is not None
        flight.task.add_done_callback(_retrieve)
        return flight

    async def _fly(self, flight: Flight) -> None:
        try:
            race = Race(
                flight, lambda step, to: self._ask(flight, step, to), self._told, self._pool
            )
            try:
                landing = await race.run(self._steps(flight))
            finally:
                self._counters.hedges += race.hedges
            try:
                await _sum_up(flight, landing)
                await self._admit(flight, landing)
            except BaseException:
                flight.unwatch(landing)
                landing.release()
                raise
            self._settle(flight, landing)
        finally:
            del self._flights[flight.name]

    def _steps(self, flight: Flight) -> tuple[Step, ...]:
        name = flight.content.unit_name(flight.unit)
        return self._view().steps(name, holders=self._holders(name), down=self._health.down())

    async def _ask(self, flight: Flight, step: Step, landing: Landing) -> None:
        room = self._origin_room if step.via == "origin" else self._peer_room
        await room.enter(flight.size)
        try:
            if step.via == "origin":
                landing.begin()
                await self._origin.fill(flight, landing)
            else:
                await self._peers.fill(step, flight, landing)
        finally:
            room.leave(flight.size)

    def _told(self, step: Step, error: CacheError | None) -> None:
        counters = self._counters
        if step.uid:
            if isinstance(error, PeerBrokeOff):
                pass  # it was another than the member of this step
            elif isinstance(error, (PeerUnavailable, PeerMismatch)):
                self._health.failed(step.uid)
            else:
                self._health.answered(step.uid)
        if error is None:
            name = f"{step.via}_units"
            setattr(counters, name, getattr(counters, name) + 1)
        elif isinstance(error, PeerMissing):
            counters.peer_misses += 1
        elif isinstance(error, PeerLied):
            counters.peer_lies += 1
            log.warning("%s", error)
        elif step.uid:
            counters.peer_failures += 1
            log.info("asking %s failed: %s", step.uid, error)

    async def _admit(self, flight: Flight, landing: Landing) -> None:
        """Write what landed into the store, if the store takes it."""
        content = flight.content
        cells = list(flight.sums)
        if not cells or content.dataset.bypasses or not self._serves(content.dataset):
            return
        name = content.unit_name(flight.unit)
        spare = not self._view().owns(name, content.dataset.plan.copies)
        try:
            reservation = self._store.reserve(self.blob(content), cells, spare=spare)
            if reservation is None:
                return
            with reservation:
                await asyncio.to_thread(_write, reservation, flight, landing, cells)
                flight.admitted = reservation.commit() or not reservation.cells
        except NoRoom as error:
            log.warning("unit %s is not kept: %s", flight.name, error)
        if self._store.pressed:
            self._relieve()

    def _relieve(self) -> None:
        """Bring a tier above its high watermark down to the low one, off the event loop."""
        if self._relieving is not None and not self._relieving.done():
            return

        def relieve() -> None:
            while self._store.relieve():
                pass

        self._relieving = asyncio.ensure_future(asyncio.to_thread(relieve))

    def _settle(self, flight: Flight, landing: Landing) -> None:
        """Keep what the store did not admit for a while, for those who will read it through."""
        if flight.admitted:
            flight.unwatch(landing)
            landing.release()
            return
        self._counters.read_through_units += 1
        self._transit.keep(flight, landing)

    async def close(self) -> None:
        """Cancel what is under way."""
        tasks: list[asyncio.Future[None]] = [
            flight.task for flight in self._flights.values() if flight.task is not None
        ]
        for task in tasks:
            task.cancel()
        if self._relieving is not None:
            tasks.append(self._relieving)
        await asyncio.gather(*tasks, return_exceptions=True)


async def _sum_up(flight: Flight, landing: Landing) -> None:
    """Note which cells landed, and their checksums."""
    absent = {*landing.absent, *flight.failed}

    def sums() -> dict[int, int]:
        return {
            cell: checksum(landing.view[slice(*flight.place(cell))])
            for cell in flight.cells
            if cell not in absent
        }

    flight.sum_up(await asyncio.to_thread(sums))


def _write(
    reservation: Reservation, flight: Flight, landing: Landing, cells: Sequence[int]
) -> None:
    for cell in cells:
        start, stop = flight.place(cell)
        reservation.write(cell, landing.view[start:stop])


def _retrieve(task: asyncio.Task[None]) -> None:
    """Look at a flight's end, so that one nobody waited for is not reported as lost."""
    if not task.cancelled():
        task.exception()
