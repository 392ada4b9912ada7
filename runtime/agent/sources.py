"""Filling a landing: from a peer, or from the origin. Both verify before they return."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from runtime.agent.content import Part
from runtime.agent.mounts import origin_version
from runtime.contract import protocol
from runtime.contract.units import checksum
from runtime.errors import (
    AccessDenied,
    CacheError,
    NoSuchPath,
    OriginLied,
    OriginUnavailable,
    PeerBrokeOff,
    PeerError,
    PeerLied,
    PeerMissing,
    PeerUnavailable,
    StaleVersion,
)
from runtime.origin.digest import check as check_digest
from runtime.peers.pool import UnitRedirect

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.agent.content import Content
    from runtime.agent.counters import Counters
    from runtime.agent.dataset import Dataset
    from runtime.agent.flight import Flight
    from runtime.agent.health import Health
    from runtime.agent.landing import Landing
    from runtime.agent.line import Line
    from runtime.agent.planview import PlanView
    from runtime.contract.plan import Member
    from runtime.contract.route import Step
    from runtime.origin.base import Origin
    from runtime.peers.pool import Peers, UnitReceived

log = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 600.0
"""An owner's answer may wait in its queue for the line; whether it lives is probed meanwhile."""
PROBE_AFTER_SECONDS: Final = 2.0
PROBE_SECONDS: Final = 30.0
"""A probe is ended then; a member that is silent is left out long before (see ``health``)."""
TELL_SECONDS: Final = 2.0
AT_ONCE: Final = 6
"""Units asked of one member at a time; its other connections are for short questions."""
OLDER_PLAN_SECONDS: Final = 5.0
"""A member that refuses this agent may not have the plan yet: it is asked again for this long."""
MEMBERS_AT_ONCE: Final = 16
"""Small objects fetched from the origin at once for one group."""
_IN_THREAD: Final = 256 * 1024
"""Verifying more than this leaves the event loop free."""


class PeerSource:
    """Units from the members of the domain."""

    def __init__(
        self, peers: Peers, health: Health, counters: Counters, view: Callable[[], PlanView]
    ) -> None:
        self._peers = peers
        self._health = health
        self._counters = counters
        self._view = view
        self._turns: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(AT_ONCE)
        )

    async def fill(self, step: Step, flight: Flight, landing: Landing) -> None:
        """Fill the landing from the member that the step names, verified.

        Cells of a group that the member lacks are put into ``landing.absent``.

        Raises:
            PeerError: this member could not give it; the next may.
            CacheError: nobody can.
        """
        member = self._view().members.get(step.uid)
        if member is None:
            raise PeerUnavailable(f"member {step.uid} has left the plan")
        role: protocol.AskAs = "holder" if step.via == "holder" else "owner"
        async with self._turns[step.uid]:
            landing.begin()
            answer = await self._ask(member, _unit_target(flight, role), landing)
        giver = member
        if isinstance(answer, UnitRedirect):
            giver, answer = await self._follow(answer, member, flight, landing)
        try:
            await self._verify(flight, landing, answer)
        except PeerLied:
            await self._tell(giver, flight)
            raise
        self._counters.peer_bytes += answer.length
        flight.content.dataset.peer_bytes += answer.length

    async def _follow(
        self, redirect: UnitRedirect, owner: Member, flight: Flight, landing: Landing
    ) -> tuple[Member, UnitReceived]:
        """Ask the member that the owner named, and the owner again if that one cannot."""
        self._counters.redirects_followed += 1
        giver = self._view().members.get(redirect.uid, owner)
        try:
            if giver is owner:
                answer: UnitReceived | UnitRedirect = redirect
            else:
                answer = await self._ask(giver, _unit_target(flight, "holder"), landing)
        except PeerError as error:
            log.info("a redirect from %s to %s led nowhere: %s", owner.name, redirect.uid, error)
            if landing.filled:  # a reader may have seen bytes of it: start anew elsewhere
                raise PeerBrokeOff(f"{redirect.uid} broke off: {error}") from error
            answer = redirect
        if isinstance(answer, UnitRedirect):
            target = f"{_unit_target(flight, 'owner')}&redirected={quote(redirect.uid, safe='')}"
            giver, answer = owner, await self._ask(owner, target, landing)
        if isinstance(answer, UnitRedirect):
            raise PeerMissing(f"{owner.name} redirects in a circle")
        return giver, answer

    async def _ask(
        self, member: Member, target: str, landing: Landing
    ) -> UnitReceived | UnitRedirect:
        """Exchange; a member whose plan is older than this agent's is asked again for a while."""
        loop = asyncio.get_running_loop()
        until = loop.time() + OLDER_PLAN_SECONDS
        while True:
            try:
                return await self._exchange(member, target, landing)
            except AccessDenied as error:
                if loop.time() > until:
                    raise PeerUnavailable(str(error)) from error
            await asyncio.sleep(OLDER_PLAN_SECONDS / 10)

    async def _exchange(
        self, member: Member, target: str, landing: Landing
    ) -> UnitReceived | UnitRedirect:
        """Exchange once, and have the member probed whenever nothing has moved for a while."""
        exchange = asyncio.ensure_future(
            self._peers.unit(
                member,
                target,
                landing.view,
                landing.reached,
                first_byte=PATIENCE_SECONDS,
                stall=PATIENCE_SECONDS,
            )
        )
        try:
            while True:
                before = landing.filled
                done, _ = await asyncio.wait([exchange], timeout=PROBE_AFTER_SECONDS)
                if done:
                    return exchange.result()
                if landing.filled != before:
                    self._health.answered(member.uid)
                    continue
                if member.uid in self._health.down():
                    raise PeerUnavailable(f"peer {member.name} does not answer its probes")
                self._health.failed(member.uid)
        finally:
            exchange.cancel()
            await asyncio.gather(exchange, return_exceptions=True)

    async def _tell(self, member: Member, flight: Flight) -> None:
        """Tell a member that what it gave is rotten, so that it drops it and heals too."""
        with suppress(CacheError):
            target = f"{_unit_target(flight, 'holder')}&suspect=1"
            await self._peers.get(member, target, timeout=TELL_SECONDS)

    async def _verify(self, flight: Flight, landing: Landing, answer: UnitReceived) -> None:
        if answer.length != flight.size or len(answer.sums) != flight.answer_cells:
            raise PeerLied(
                f"unit {flight.name} has {flight.size} bytes; the peer sent {answer.length}"
            )
        wrong = (
            await asyncio.to_thread(_mismatches, flight, landing, answer.sums)
            if flight.size > _IN_THREAD
            else _mismatches(flight, landing, answer.sums)
        )
        if wrong:
            raise PeerLied(f"cells {wrong[:5]} of unit {flight.name} do not match their checksums")
        absent = [cell for cell in flight.cells if not answer.sums[flight.index_of(cell)]]
        if len(absent) == len(flight.cells):
            raise PeerMissing(f"the peer has none of the cells of unit {flight.name}")
        landing.absent = tuple(absent)


def _unit_target(flight: Flight, role: protocol.AskAs) -> str:
    content = flight.content
    head, snapshot = content.dataset.head, content.catalog.meta.snapshot
    followed = head is not None and head.snapshot == snapshot
    sequence = f"&sequence={head.sequence}" if head is not None and followed else ""
    cell = "" if flight.whole else f"&cell={flight.cells[0]}"
    return (
        f"{protocol.UNIT}?dataset={quote(content.dataset.ref, safe='')}"
        f"&snapshot={snapshot}{sequence}&{content.query()}"
        f"&index={flight.unit}{cell}&as={role}"
    )


def _mismatches(flight: Flight, landing: Landing, sums: tuple[int, ...]) -> list[int]:
    return [
        cell
        for cell in flight.cells
        if (expected := sums[flight.index_of(cell)])
        and checksum(landing.view[slice(*flight.place(cell))]) != expected
    ]


@dataclass(slots=True)
class _Filling:
    """A part on its way into ``start`` to ``stop`` of a landing, ``done`` bytes of it there."""

    part: Part
    start: int
    stop: int
    done: int = 0


class OriginSource:
    """Units from the Dataset's own origin, over the line."""

    def __init__(self, line: Line, counters: Counters) -> None:
        self._line = line
        self._counters = counters

    async def fill(self, flight: Flight, landing: Landing) -> None:
        """Fill the landing; a cell whose object cannot be had gets its error in ``failed``.

        Raises:
            CacheError: none of the cells can be had.
        """
        content = flight.content
        troubles = content.dataset.fetching
        parts = list(content.parts(flight.unit, flight.cells))
        gone = {*flight.cells}.difference(part.cell for part in parts)
        landing.absent = tuple(gone)
        for cell in gone:
            flight.failed[cell] = StaleVersion("this snapshot has the object no longer")
        slots = asyncio.Semaphore(MEMBERS_AT_ONCE)

        async def one(part: Part) -> None:
            async with slots:
                try:
                    await self._part(content, part, flight, landing)
                except CacheError as error:
                    self._note(error)
                    troubles.failed(error)
                    flight.failed[part.cell] = error
                    landing.absent += (part.cell,)
                else:
                    troubles.worked()

        if len(parts) == 1:
            await one(parts[0])
        else:
            async with asyncio.TaskGroup() as group:
                for part in parts:
                    group.create_task(one(part))
        if parts and len(flight.failed) == len(parts):
            raise flight.failed[parts[0].cell]

    async def _part(self, content: Content, part: Part, flight: Flight, landing: Landing) -> None:
        """Fetch a part from the first of its sources that has this version.

        Readers may have seen the bytes that came, so that another try only adds to them.
        """
        dataset = content.dataset
        sources = dataset.sources_of(part.record)
        filling = _Filling(part, *flight.place(part.cell))
        retried = False
        while True:
            source = sources.pop(0)
            try:
                await self._read(source, dataset, filling, flight, landing)
            except (StaleVersion, NoSuchPath):
                if not sources or filling.done:
                    raise
            except OriginUnavailable:
                # When its mount or its secret was edited meanwhile, it is open in another way now.
                now = dataset.sources_of(part.record)
                if retried or source in now:
                    raise
                retried, sources = True, now
            else:
                return

    async def _read(
        self,
        source: tuple[Origin, str],
        dataset: Dataset,
        filling: _Filling,
        flight: Flight,
        landing: Landing,
    ) -> None:
        origin, path = source
        part, start, stop = filling.part, filling.start, filling.stop
        record = part.record
        blocks = origin.read(
            path,
            size=record.size,
            version=origin_version(record),
            start=part.start + filling.done,
            stop=part.stop,
        )
        async with aclosing(blocks):
            async for block in blocks:
                count = len(block)
                at = start + filling.done
                if at + count > stop:
                    raise OriginLied(f"the origin sent too many bytes of {record.path}")
                landing.view[at : at + count] = block
                filling.done += count
                self._counters.origin_bytes += count
                dataset.origin_bytes += count
                landing.advance(count)
                await self._line.take(count, flight.priority)
        if filling.done != stop - start:
            raise OriginLied(
                f"the origin sent {filling.done} of {stop - start} bytes of {record.path}"
            )
        if record.digest and part.start == 0 and part.stop == record.size:
            check_digest(record.digest, landing.view[start:stop])

    def _note(self, error: CacheError) -> None:
        self._counters.origin_failures += 1
        if isinstance(error, StaleVersion):
            self._counters.stale_objects += 1
