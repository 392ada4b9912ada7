"""Agents reduced to what peers see of them: one that is honest, and one that does as scripted."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import parse_qs, urlsplit

from runtime.contract import protocol
from runtime.contract.plan import Member, Plan
from runtime.contract.token import Keys, identity_proof
from runtime.peers.dial import Dialler
from runtime.peers.pool import Peers
from runtime.serve.message import Answer, Handler, Request

DOMAIN = "pool-a"
RUNTIME = "ns/cache"
KEYS = Keys.derive(b"m" * 32, DOMAIN)
ME = Member("uid-me", "me", "127.0.0.1", 1)


def member(port: int, uid: str = "uid-b", address: str = "127.0.0.2") -> Member:
    return Member(uid, uid.removeprefix("uid-"), address, port)


def plan(*others: Member, generation: int = 1, domain: str = DOMAIN) -> Plan:
    return Plan(generation, RUNTIME, "Dedicated", "Distributed", domain, (ME, *others))


class Asker:
    """This side: its pool, and what it dialled."""

    def __init__(self, *others: Member, keys: Keys = KEYS, per_member: int = 8) -> None:
        self.dialled: list[tuple[str, bool]] = []
        self.dialler = Dialler(
            me=ME.uid,
            source_address="127.0.0.1",
            keys=keys,
            runtime=RUNTIME,
            on_dial=lambda address, allowed: self.dialled.append((address, allowed)),
        )
        self.peers = Peers(self.dialler, per_member=per_member)
        self.peers.follow(plan(*others))

    async def unit(self, other: Member, size: int, *, first_byte: float = 5, stall: float = 5):
        """Ask for a unit; return what came of it, the buffer, and the reports of progress."""
        buffer = bytearray(size)
        progress: list[int] = []
        found = await self.peers.unit(
            other,
            "/v1/unit?name=x",
            memoryview(buffer),
            progress.append,
            first_byte=first_byte,
            stall=stall,
        )
        return found, buffer, progress


def proof(nonce: str, *, uid: str = "uid-b", domain: str = DOMAIN, keys: Keys = KEYS) -> bytes:
    """Return the body of an identity's answer."""
    signed = identity_proof(keys, nonce, uid, domain)
    return json.dumps({"node": uid, "domain": domain, "proof": signed}).encode()


def honest(handler: Handler, *, uid: str = "uid-b") -> Handler:
    """Let a handler answer for a node that can prove itself and knows its callers."""

    def route(request: Request) -> Answer | Awaitable[Answer]:
        if request.headers["cachectl-expect-node"] != uid:
            return Answer(421)
        if request.path == protocol.IDENTITY:
            return Answer(200, (), (proof(request.query["nonce"], uid=uid),))
        return handler(request)

    return route


Script = Callable[["Scripted", bytes, asyncio.StreamWriter], Awaitable[None]]


class Scripted:
    """A listener that proves itself as told to, then does what its script says."""

    def __init__(self, script: Script, identity: Callable[[str], bytes]) -> None:
        self.script = script
        self.identity = identity
        self.connections = 0
        self.heard = b""
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                self.heard += head
                target = urlsplit(head.split(b" ")[1].decode())
                if target.path == protocol.IDENTITY:
                    writer.write(self.identity(parse_qs(target.query)["nonce"][0]))
                else:
                    await self.script(self, head, writer)
        writer.close()


def answer(
    body: bytes, *, status: int = 200, length: int | None = None, headers: str = ""
) -> bytes:
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status} x\r\n{headers}Content-Length: {size}\r\n\r\n".encode() + body


def unit_answer(body: bytes, *sums: int, headers: str = "") -> bytes:
    trailer = b"".join(protocol.UNIT_SUM.pack(value) for value in sums)
    return answer(body + trailer, headers=f"Cachectl-Cells: {len(sums)}\r\n{headers}")


@contextlib.asynccontextmanager
async def scripted(
    script: Script, *, identity: Callable[[str], bytes] = lambda nonce: answer(proof(nonce))
) -> AsyncIterator[tuple[Scripted, Member]]:
    peer = Scripted(script, identity)
    server = await asyncio.start_server(peer.serve, "127.0.0.2", 0)
    try:
        yield peer, member(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for writer in peer.writers:
            writer.transport.abort()
        await server.wait_closed()
        await asyncio.sleep(0)
