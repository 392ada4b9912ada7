"""What agents ask each other: who are you, what do you hold, give me this unit."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from runtime.agent.unitservice import Arriving, Asking, Elsewhere, Resting
from runtime.contract import protocol
from runtime.contract.layout import ObjectLayout
from runtime.contract.token import identity_proof
from runtime.errors import ConfigError, NoSuchPath, NotCached, PeerMissing
from runtime.serve.failures import sentence
from runtime.serve.message import Answer, FileSpan, Part, Stream
from runtime.serve.readers import JSON, number

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from runtime.agent.agent import Agent
    from runtime.agent.flight import Flight
    from runtime.serve.access import Access
    from runtime.serve.message import Request
    from runtime.store.places import Place

NEW_SNAPSHOT_SECONDS: Final = 5.0
"""Members take up a new snapshot one after the other, within so many seconds."""


class PeerRoutes:
    """Answers the members of this agent's domain."""

    def __init__(self, agent: Agent, access: Access) -> None:
        self._agent = agent
        self._access = access

    def identity(self, request: Request) -> Answer:
        """Prove who answers here; asked before any token is shown."""
        self._access.expected(request)
        nonce = request.query.get("nonce", "")
        view = self._agent.view
        if not view.distributed or not 16 <= len(nonce) <= 128:
            raise ConfigError("no peer is answered here")
        domain = view.plan.domain or ""
        me = self._agent.settings.uid
        proof = identity_proof(self._agent.keys, nonce, me, domain)
        body = {"node": me, "domain": domain, "proof": proof}
        return Answer(200, JSON, (json.dumps(body).encode(),))

    def head(self, request: Request) -> Answer:
        """Tell which snapshot this agent follows, or what keeps it from having one."""
        self._access.peer(request)
        dataset = self._agent.dataset(request.query.get("dataset", ""))
        head = dataset.head
        if head is None and dataset.listing is not None:
            return Answer(404, JSON, (json.dumps(asdict(dataset.listing)).encode(),))
        if head is None:
            raise NoSuchPath(f"{dataset.ref} has no snapshot here yet")
        return Answer(200, JSON, (head.encode().encode(),))

    def catalog(self, request: Request) -> Answer:
        """Send a catalog."""
        self._access.peer(request)
        dataset = self._agent.dataset(request.query.get("dataset", ""))
        try:
            fd = os.open(
                dataset.shelf.path(request.query.get("snapshot", "")), os.O_RDONLY | os.O_CLOEXEC
            )
        except (OSError, ConfigError) as error:
            raise NoSuchPath(f"{dataset.ref} has no such snapshot here") from error
        length = os.fstat(fd).st_size
        return Answer(200, (), (FileSpan(fd, 0, length, lambda: os.close(fd)),))

    def summary(self, request: Request) -> Answer:
        """Tell which units are held here, unless the asker knows."""
        self._access.peer(request)
        summary = self._agent.holdings.summary()
        if request.query.get("version") == str(summary.version):
            return Answer(304)
        return Answer(200, (), (summary.encode(),))

    async def unit(self, request: Request) -> Answer:
        """Send a unit, or tell who has it."""
        member = self._access.peer(request)
        asking = await self._asked(request, member.uid)
        if "suspect" in request.query:
            return await self._suspected(asking)
        match await self._agent.units.answer(asking):
            case Elsewhere(uid):
                answer = sentence(307, f"member {uid} has it")
                answer.headers += ((protocol.REDIRECT_HEADER, uid),)
                return answer
            case Resting():
                return self._resting(asking)
            case Arriving(flight):
                return await self._arriving(asking, flight)

    async def _asked(self, request: Request, requester: str) -> Asking:
        """Return what is asked for; an owner waits a little for a snapshot that is new to it."""
        loop = asyncio.get_running_loop()
        until = loop.time() + NEW_SNAPSHOT_SECONDS
        while True:
            try:
                return self._asking(request, requester)
            except PeerMissing:
                query = request.query
                sequence = number(request, "sequence", default=0)
                newer = self._agent.look_for(query.get("dataset", ""), sequence)
                if query.get("as") != "owner" or not newer or loop.time() > until:
                    raise
            await asyncio.sleep(0.1)

    def _asking(self, request: Request, requester: str) -> Asking:
        query = request.query
        try:
            content = self._agent.content(
                query.get("dataset", ""),
                query.get("snapshot", ""),
                key=query.get("key", ""),
                path=query.get("path", ""),
            )
        except (NoSuchPath, NotCached) as error:  # the asker is ahead of this agent, or behind
            raise PeerMissing(str(error)) from error
        role = query.get("as", "")
        unit = number(request, "index", default=-1)
        cell = number(request, "cell", default=-1) if "cell" in query else None
        if role not in ("holder", "owner") or not 0 <= unit < content.layout.units:
            raise ConfigError("a unit is asked for by its index and as=holder or as=owner")
        if cell is not None and cell not in content.layout.unit_cells(unit):
            raise ConfigError(f"cell {cell} is none of unit {unit}")
        return Asking(
            requester,
            content,
            unit,
            cell,
            "holder" if role == "holder" else "owner",
            query.get("redirected", ""),
        )

    async def _suspected(self, asking: Asking) -> Answer:
        """Look at what a peer found wrong; what is rotten is dropped, and fetched anew."""
        blob = self._agent.fetcher.blob(asking.content)
        for cell in asking.content.layout.unit_cells(asking.unit):
            if blob.present(cell) and not await asyncio.to_thread(blob.verify, cell):
                self._agent.counters.healed_cells += 1
        return Answer(204)

    def _resting(self, asking: Asking) -> Answer:
        """Send from the store; what the store lacks of a group is marked absent."""
        content, unit = asking.content, asking.unit
        blob = self._agent.fetcher.blob(content)
        cells = content.layout.unit_cells(unit)
        asked = [asking.cell] if asking.cell is not None else list(cells)
        parts: list[Part] = []
        sums: list[int] = []
        with ExitStack() as holds:
            if not holds.enter_context(blob.pin(unit)).held:
                raise PeerMissing(f"unit {content.unit_name(unit)} is not here any more")
            known = blob.sums(unit)
            for cell in asked:
                start, stop = content.layout.cell_range(cell)
                place = blob.locate(cell)
                sums.append(known[cell - cells.start] if place is not None else 0)
                if place is None:
                    parts.append(bytes(stop - start))
                elif not _extend(parts, place):
                    parts.append(FileSpan(*place))
            if not any(sums):
                raise PeerMissing(f"unit {content.unit_name(unit)} is not here any more")
            blob.touch(unit)
            sent = holds.pop_all()
        parts.append(Stream(_trailer(sums), 8 * len(sums), sent.close))
        return self._unit_answer(asking, parts, len(sums))

    async def _arriving(self, asking: Asking, flight: Flight) -> Answer:
        """Send what is on its way, or lies in transit."""
        if asking.cell is not None or not isinstance(asking.content.layout, ObjectLayout):
            return await self._from_transit(asking, flight)
        size = flight.size

        async def chunks() -> AsyncGenerator[bytes | memoryview, None]:
            rooted = asking.role == "holder"
            async for view in flight.stream(0, size, verified=False, rooted=rooted):
                yield view
            for value in await flight.trailer():
                yield protocol.UNIT_SUM.pack(value)

        return self._unit_answer(asking, [Stream(chunks(), size + 8)], 1)

    async def _from_transit(self, asking: Asking, flight: Flight) -> Answer:
        landing = flight.landing
        if landing is None:
            raise PeerMissing(f"unit {flight.name} is not here any more")
        if asking.cell is not None and flight.whole:
            start, stop = flight.place(asking.cell)
            sums = [flight.sums.get(asking.cell, 0)]
        else:
            start, stop = 0, flight.size
            sums = await flight.trailer()
        data = bytes(landing.view[start:stop])
        trailer = b"".join(protocol.UNIT_SUM.pack(value) for value in sums)
        return self._unit_answer(asking, [data, trailer], len(sums))

    def _unit_answer(self, asking: Asking, parts: list[Part], cells: int) -> Answer:
        counters = self._agent.counters
        counters.served_units += 1
        counters.served_unit_bytes += (
            asking.content.layout.unit_range(asking.unit)[1]
            - asking.content.layout.unit_range(asking.unit)[0]
            if asking.cell is None
            else asking.content.layout.cell_range(asking.cell)[1]
            - asking.content.layout.cell_range(asking.cell)[0]
        )
        return Answer(200, ((protocol.CELLS_HEADER, str(cells)),), tuple(parts))


def _extend(parts: list[Part], place: Place) -> bool:
    """Let the last part reach over these bytes too, where they follow it in its file."""
    last = parts[-1] if parts else None
    if (
        not isinstance(last, FileSpan)
        or last.fd != place.fd
        or last.offset + last.length != place.offset
    ):
        return False
    last.length += place.length
    return True


async def _trailer(sums: list[int]) -> AsyncGenerator[bytes | memoryview, None]:
    yield b"".join(protocol.UNIT_SUM.pack(value) for value in sums)
