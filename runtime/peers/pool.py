"""Warm connections to the members of the plan, and the three exchanges made over them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from runtime.contract import protocol
from runtime.errors import (
    AccessDenied,
    CacheError,
    OriginLied,
    OriginRefused,
    OriginUnavailable,
    PeerLied,
    PeerMismatch,
    PeerMissing,
    PeerUnavailable,
    StaleVersion,
)
from runtime.peers.connection import ConnectionLost, PeerConnection, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from runtime.contract.plan import Member, Plan
    from runtime.peers.dial import Dialler

PER_MEMBER: Final = 8
"""Connections to one member at most; further exchanges wait for one."""
MAX_BODY: Final = 64 << 20
MAX_CELLS: Final = 1 << 20
BLOCK: Final = 1 << 20
SENTENCE_BYTES: Final = 4 << 10

_NODE: Final = protocol.NODE_HEADER.lower()
_REDIRECT: Final = protocol.REDIRECT_HEADER.lower()
_CELLS: Final = protocol.CELLS_HEADER.lower()
_CODE: Final = protocol.CODE_HEADER.lower()
_TOLD: Final[Mapping[str, type[CacheError]]] = {
    kind.__name__: kind
    for kind in (OriginUnavailable, OriginRefused, OriginLied, StaleVersion, PeerMissing)
}
"""Errors that a peer met and that are passed on as they are."""


@dataclass(frozen=True, slots=True)
class UnitReceived:
    """A unit's bytes are in the buffer. ``sums`` has one checksum a cell, 0 where it is absent.

    Nothing is verified yet: that is the caller's, from ``sums`` and what it knows of the unit.
    """

    sums: tuple[int, ...]
    length: int


@dataclass(frozen=True, slots=True)
class UnitRedirect:
    """Another member has the unit, or is receiving it: ask that one, once."""

    uid: str


@dataclass(slots=True)
class _Lane:
    """The connections to one member at one address."""

    slots: asyncio.Semaphore
    idle: list[PeerConnection] = field(default_factory=list)
    all: set[PeerConnection] = field(default_factory=set)
    gone: bool = False

    def take(self) -> PeerConnection | None:
        """Return a warm connection, the one used last first."""
        while self.idle:
            connection = self.idle.pop()
            if connection.reusable:
                return connection
            self.drop(connection)
        return None

    def drop(self, connection: PeerConnection) -> None:
        """End a connection."""
        connection.close()
        self.all.discard(connection)

    def give_back(self, connection: PeerConnection) -> None:
        """Take back a connection; one that is not between two exchanges ends."""
        if connection.reusable and not self.gone:
            self.idle.append(connection)
        else:
            self.drop(connection)

    def close(self) -> None:
        """End all of them, those in use too."""
        self.gone = True
        self.idle.clear()
        for connection in self.all:
            connection.close()
        self.all.clear()


class Peers:
    """The other agents of this domain.

    Every exchange raises one of ``PeerUnavailable`` (no connection, too slow, 5xx),
    ``PeerMissing`` (404), ``PeerMismatch`` (another node or domain answers, or the plan does not
    allow the connection), ``PeerLied`` (an answer that contradicts itself), ``AccessDenied``
    (401, 403) or ``StaleVersion`` (409); an ``OriginError`` that a peer met is raised as such.
    A cancelled or failed exchange closes its connection.
    All seconds are of the loop's monotonic clock.
    """

    def __init__(self, dialler: Dialler, *, per_member: int = PER_MEMBER) -> None:
        self._dialler = dialler
        self._per_member = per_member
        self._domain: str | None = None
        self._lanes: dict[tuple[str, str, int], _Lane] = {}

    def follow(self, plan: Plan | None) -> None:
        """Take a plan in force: connections to members that left or moved are closed at once."""
        self._dialler.follow(plan)
        domain = None if plan is None else plan.domain
        keep = set()
        if plan is not None and domain == self._domain:
            keep = {_lane_key(member) for member in plan.members if self._dialler.allows(member)}
        self._domain = domain
        for key in [key for key in self._lanes if key not in keep]:
            self._lanes.pop(key).close()

    async def unit(
        self,
        member: Member,
        target: str,
        into: memoryview,
        progress: Callable[[int], None],
        *,
        first_byte: float,
        stall: float,
    ) -> UnitReceived | UnitRedirect:
        """Receive a unit straight into ``into``, which may be longer than the unit.

        ``progress`` is called with the number of bytes that are in place, as they arrive; an
        exception from it ends the exchange. ``first_byte`` seconds are given to the answer's
        head, with connecting and waiting for a free connection; then ``stall`` seconds to each
        next byte.
        """
        async with self._asked(member, target, _in(first_byte)) as (connection, reply):
            if reply.status == 307 and reply.headers.get(_REDIRECT):
                await _sentence(connection, reply, stall)
                return UnitRedirect(reply.headers[_REDIRECT])
            if reply.status != 200:
                raise _refusal(member, reply, await _sentence(connection, reply, stall))
            cells = _cells(member, reply)
            length = reply.length - cells * protocol.UNIT_SUM.size
            if not 0 <= length <= len(into):
                raise PeerLied(
                    f"peer {member.name} announced a unit of {length} bytes in {cells} cells; at "
                    f"most {len(into)} bytes were expected"
                )
            await connection.receive(into[:length], stall=stall, progress=progress)
            trailer = bytearray(reply.length - length)
            await connection.receive(memoryview(trailer), stall=stall)
            sums = tuple(value for (value,) in protocol.UNIT_SUM.iter_unpack(trailer))
            return UnitReceived(sums, length)

    async def get(
        self,
        member: Member,
        target: str,
        *,
        timeout: float,  # noqa: ASYNC109 - part of what is asked: it also bounds the dialling
        limit: int = MAX_BODY,
    ) -> tuple[int, dict[str, str], bytes]:
        """Return an answer's status, headers (lower-case names) and body, whatever the status."""
        deadline = _in(timeout)
        async with (
            _by(deadline, f"peer {member.name} did not answer in full within {timeout:g} s"),
            self._asked(member, target, deadline) as (connection, reply),
        ):
            if reply.length > limit:
                raise PeerLied(
                    f"peer {member.name} announced {reply.length} bytes; at most {limit} were "
                    "expected"
                )
            body = bytearray(reply.length)
            await connection.receive(memoryview(body), stall=timeout)
            return reply.status, reply.headers, bytes(body)

    async def download(self, member: Member, target: str, to_fd: int, *, stall: float) -> int:
        """Write an answer's body to an open file from its current offset; return its length."""
        async with self._asked(member, target, _in(stall)) as (connection, reply):
            if reply.status != 200:
                raise _refusal(member, reply, await _sentence(connection, reply, stall))
            block = memoryview(bytearray(min(BLOCK, reply.length)))
            left = reply.length
            while left:
                part = block[: min(left, BLOCK)]
                await connection.receive(part, stall=stall)
                await asyncio.to_thread(_write_all, to_fd, part)
                left -= len(part)
            return reply.length

    async def probe(self, member: Member, *, seconds: float) -> None:
        """Find out whether a member answers at all, beside the connections that are in use."""
        connection = await self._dialler.dial(member, deadline=_in(seconds))
        connection.close()

    async def close(self) -> None:
        """Close every connection."""
        for lane in self._lanes.values():
            lane.close()
        self._lanes.clear()

    @contextlib.asynccontextmanager
    async def _asked(
        self, member: Member, target: str, deadline: float
    ) -> AsyncIterator[tuple[PeerConnection, Reply]]:
        """Lend a connection on which ``target`` was asked for, and take it back."""
        lane = self._lane(member)
        async with _by(deadline, f"all connections to peer {member.name} are in use"):
            await lane.slots.acquire()
        try:
            connection, reply = await self._reply(lane, member, target, deadline)
            try:
                yield connection, reply
            except PeerLied:
                connection.close()
                raise
            finally:
                # An error that was told in a whole answer leaves the connection as good as new.
                lane.give_back(connection)
        finally:
            lane.slots.release()

    async def _reply(
        self, lane: _Lane, member: Member, target: str, deadline: float
    ) -> tuple[PeerConnection, Reply]:
        """Ask on a warm connection, or on a new one.

        A kept connection may have been ended by the peer just as it was used: then, and only
        then, the question is asked once more.
        """
        request = self._dialler.request(member, target)
        connection = lane.take()
        if connection is not None:
            try:
                return connection, await _ask(connection, member, request, deadline)
            except ConnectionLost as error:
                lane.drop(connection)
                if not error.untouched or lane.gone:
                    raise
            except BaseException:
                lane.drop(connection)
                raise
        connection = await self._dialled(lane, member, deadline)
        try:
            return connection, await _ask(connection, member, request, deadline)
        except BaseException:
            lane.drop(connection)
            raise

    def _lane(self, member: Member) -> _Lane:
        self._dialler.permit(member)
        key = _lane_key(member)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(asyncio.Semaphore(self._per_member))
        return lane

    async def _dialled(self, lane: _Lane, member: Member, deadline: float) -> PeerConnection:
        connection = await self._dialler.dial(member, deadline=deadline)
        if lane.gone:
            connection.close()
            raise PeerUnavailable(f"peer {member.name} left the plan while it was being asked")
        lane.all.add(connection)
        return connection


def _lane_key(member: Member) -> tuple[str, str, int]:
    return member.uid, member.address, member.port


def _in(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


@contextlib.asynccontextmanager
async def _by(deadline: float, otherwise: str) -> AsyncIterator[None]:
    """Bound what is done inside by the deadline; raise PeerUnavailable when it passes."""
    try:
        async with asyncio.timeout_at(deadline):
            yield
    except TimeoutError as error:
        raise PeerUnavailable(otherwise) from error


async def _ask(
    connection: PeerConnection, member: Member, request: bytes, deadline: float
) -> Reply:
    reply = await connection.ask(request, deadline=deadline)
    if reply.status == 421 or reply.headers.get(_NODE, member.uid) != member.uid:
        raise PeerMismatch(f"another node than {member.name} answers at {member.address}")
    return reply


async def _sentence(connection: PeerConnection, reply: Reply, stall: float) -> str:
    """Return what an error's body says, as one line; a long one is left unread."""
    if reply.length > SENTENCE_BYTES:
        return ""
    body = bytearray(reply.length)
    await connection.receive(memoryview(body), stall=stall)
    return " ".join(
        "".join(c if c.isprintable() else " " for c in body.decode(errors="replace")).split()
    )


def _refusal(member: Member, reply: Reply, sentence: str) -> CacheError:
    """Return the error that an answer stands for: the origin's or the object's own, if told so."""
    text = f"peer {member.name} answers {reply.status}" + (f": {sentence}" if sentence else "")
    told = _TOLD.get(reply.headers.get(_CODE, ""))
    if told is not None:
        return told(sentence or text)
    match reply.status:
        case 404:
            return PeerMissing(text)
        case 401 | 403:
            return AccessDenied(text)
        case 409:
            return StaleVersion(text)
        case _:
            return PeerUnavailable(text)


def _cells(member: Member, reply: Reply) -> int:
    text = reply.headers.get(_CELLS, "")
    cells = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
    if not 0 < cells <= MAX_CELLS:
        raise PeerLied(f"peer {member.name} announced {text[:20]!r} cells in a unit")
    return cells


def _write_all(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]
