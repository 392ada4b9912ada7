"""Filling a landing: from a peer, or from the origin. Both verify before they return."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from runtime.contract import protocol
from runtime.contract.units import checksum
from runtime.errors import (
    AccessDenied,
    CacheError,
    OriginLied,
    PeerLied,
    PeerMissing,
    PeerUnavailable,
    StaleVersion,
)
from runtime.origin.digest import check as check_digest
from runtime.peers.pool import UnitRedirect

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.agent.content import Content, Part
    from runtime.agent.counters import Counters
    from runtime.agent.flight import Flight
    from runtime.agent.landing import Landing
    from runtime.agent.line import Line
    from runtime.agent.planview import PlanView
    from runtime.contract.plan import Member
    from runtime.contract.route import Step
    from runtime.peers.pool import Peers, UnitReceived

log = logging.getLogger(__name__)

FIRST_BYTE_SECONDS: Final = 60.0
"""The head of an owner's answer may wait in its queue; whether it lives is probed meanwhile."""
PROBE_AFTER_SECONDS: Final = 2.0
PROBE_SECONDS: Final = 2.0
MEMBERS_AT_ONCE: Final = 16
"""Small objects fetched from the origin at once for one group."""
_IN_THREAD: Final = 256 * 1024
"""Verifying more than this leaves the event loop free."""


class PeerSource:
    """Units from the members of the domain."""

    def __init__(self, peers: Peers, counters: Counters, view: Callable[[], PlanView]) -> None:
        self._peers = peers
        self._counters = counters
        self._view = view

    async def fill(self, step: Step, flight: Flight, landing: Landing) -> None:
        """Fill the landing from the member that the step names, verified.

        Cells of a group that the member lacks are put into ``landing.absent``.

        Raises:
            PeerError: this member could not give it; the next may.
            CacheError: nobody can.
        """
        view = self._view()
        member = view.members.get(step.uid)
        if member is None:
            raise PeerUnavailable(f"member {step.uid} has left the plan")
        role: protocol.AskAs = "holder" if step.via == "holder" else "owner"
        target = _unit_target(flight, role)
        answer = await self._ask(member, target, landing)
        if isinstance(answer, UnitRedirect):
            answer = await self._follow(answer, member, flight, landing)
        await self._verify(flight, landing, answer)
        self._counters.peer_bytes += answer.length
        flight.content.dataset.peer_bytes += answer.length

    async def _follow(
        self, redirect: UnitRedirect, owner: Member, flight: Flight, landing: Landing
    ) -> UnitReceived:
        """Ask the member that the owner named, and the owner again if that one cannot."""
        self._counters.redirects_followed += 1
        try:
            holder = self._view().members[redirect.uid]
            answer = await self._ask(holder, _unit_target(flight, "holder"), landing)
        except (KeyError, PeerUnavailable, PeerMissing) as error:
            log.info("a redirect from %s to %s led nowhere: %s", owner.name, redirect.uid, error)
            if landing.filled:  # a reader may have seen bytes of it: start anew elsewhere
                raise PeerUnavailable(f"{redirect.uid} broke off: {error}") from error
            target = f"{_unit_target(flight, 'owner')}&redirected={quote(redirect.uid, safe='')}"
            answer = await self._ask(owner, target, landing)
        if isinstance(answer, UnitRedirect):
            raise PeerMissing(f"{owner.name} redirects in a circle")
        return answer

    async def _ask(
        self, member: Member, target: str, landing: Landing
    ) -> UnitReceived | UnitRedirect:
        """Exchange, and probe the member whenever nothing has moved for a while."""
        exchange = asyncio.ensure_future(
            self._peers.unit(
                member,
                target,
                landing.view,
                landing.reached,
                first_byte=FIRST_BYTE_SECONDS,
                stall=FIRST_BYTE_SECONDS,
            )
        )
        try:
            while True:
                before = landing.filled
                done, _ = await asyncio.wait([exchange], timeout=PROBE_AFTER_SECONDS)
                if done:
                    return exchange.result()
                if landing.filled == before:
                    await self._peers.probe(member, seconds=PROBE_SECONDS)
        except AccessDenied as error:  # its plan is not this agent's yet, or no longer
            raise PeerUnavailable(str(error)) from error
        finally:
            if not exchange.done():
                exchange.cancel()
                await asyncio.gather(exchange, return_exceptions=True)

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
    cell = "" if flight.whole else f"&cell={flight.cells[0]}"
    return (
        f"{protocol.UNIT}?dataset={quote(content.dataset.ref, safe='')}"
        f"&snapshot={content.catalog.meta.snapshot}&{content.query()}"
        f"&index={flight.unit}{cell}&as={role}"
    )


def _mismatches(flight: Flight, landing: Landing, sums: tuple[int, ...]) -> list[int]:
    return [
        cell
        for cell in flight.cells
        if (expected := sums[flight.index_of(cell)])
        and checksum(landing.view[slice(*flight.place(cell))]) != expected
    ]


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
        parts = list(content.parts(flight.unit, flight.cells))
        got = {part.cell for part in parts}
        landing.absent = tuple(cell for cell in flight.cells if cell not in got)
        slots = asyncio.Semaphore(MEMBERS_AT_ONCE)

        async def one(part: Part) -> None:
            async with slots:
                try:
                    await self._part(content, part, flight, landing)
                except CacheError as error:
                    self._note(error)
                    flight.failed[part.cell] = error
                    landing.absent += (part.cell,)

        if len(parts) == 1:
            await one(parts[0])
        else:
            async with asyncio.TaskGroup() as group:
                for part in parts:
                    group.create_task(one(part))
        if parts and len(flight.failed) == len(parts):
            raise flight.failed[parts[0].cell]

    async def _part(self, content: Content, part: Part, flight: Flight, landing: Landing) -> None:
        record = part.record
        dataset = content.dataset
        origin = dataset.origin(record.mount)
        start, stop = flight.place(part.cell)
        at = start
        blocks = origin.read(
            dataset.object_path(record.mount, record.path),
            size=record.size,
            version=record.version,
            start=part.start,
            stop=part.stop,
        )
        async with aclosing(blocks):
            async for block in blocks:
                count = len(block)
                if at + count > stop:
                    raise OriginLied(f"the origin sent too many bytes of {record.path}")
                landing.view[at : at + count] = block
                at += count
                self._counters.origin_bytes += count
                dataset.origin_bytes += count
                landing.advance(count)
                await self._line.take(count, flight.priority)
        if at != stop:
            raise OriginLied(f"the origin sent {at - start} of {stop - start} of {record.path}")
        if record.digest and part.start == 0 and part.stop == record.size:
            check_digest(record.digest, landing.view[start:stop])

    def _note(self, error: CacheError) -> None:
        self._counters.origin_failures += 1
        if isinstance(error, StaleVersion):
            self._counters.stale_objects += 1
