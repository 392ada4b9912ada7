"""Raw HTTP over real sockets, for tests of the server and of the peers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from runtime.serve.message import Answer, Handler
from runtime.serve.server import HttpServer
from runtime.serve.service import Limits


def told(error: Exception) -> Answer:
    """Turn a handler's error into an answer that a test can read."""
    return Answer(500, (), (f"{type(error).__name__}: {error}".encode(),))


@contextlib.asynccontextmanager
async def serving(
    handler: Handler, *, limits: Limits | None = None
) -> AsyncIterator[tuple[HttpServer, int]]:
    server = HttpServer(handler, on_error=told, limits=limits)
    port = await server.listen_tcp("127.0.0.1", 0)
    try:
        yield server, port
    finally:
        await server.close(grace=0)


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


class Wire:
    """A client that sends exactly the bytes it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def ask(self, target: str, method: str = "GET", headers: str = "") -> Reply:
        await self.send(f"{method} {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
        return await self.reply(bodiless=method == "HEAD")

    async def reply(self, *, bodiless: bool = False) -> Reply:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head[:-4].split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        length = 0 if bodiless else int(headers.get("content-length", "0"))
        return Reply(int(first.split(" ")[1]), headers, await self.reader.readexactly(length))

    async def ended(self) -> bool:
        """Wait for the server to end the connection; False when it sends more instead."""
        try:
            return await asyncio.wait_for(self.reader.read(1), 5) == b""
        except ConnectionError:
            return True

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[Wire]:
    wire = Wire(*await asyncio.open_connection("127.0.0.1", port))
    try:
        yield wire
    finally:
        await wire.close()
