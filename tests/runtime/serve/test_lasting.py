"""Connections that hold something may rest; others are ended when they idle."""

from __future__ import annotations

import asyncio

from runtime.serve.failures import answer_of
from runtime.serve.message import Answer
from runtime.serve.server import HttpServer
from runtime.serve.service import Limits


async def test_only_a_connection_that_holds_something_outlives_the_idle_time(tmp_path):
    def handler(request):
        request.connection.lasting = request.path == "/hold"
        return Answer(200, (), (b"ok",))

    server = HttpServer(handler, on_error=answer_of, limits=Limits(idle_seconds=0.3))
    path = str(tmp_path / "s")
    await server.listen_unix(path)
    held, _ = ends = await asyncio.open_unix_connection(path)
    idle, idle_writer = await asyncio.open_unix_connection(path)
    for reader, writer, target in ((held, ends[1], b"/hold"), (idle, idle_writer, b"/other")):
        writer.write(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"ok")

    assert await asyncio.wait_for(idle.read(), 10) == b""
    ends[1].write(b"GET /again HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b"200" in await held.readline()
    for writer in (ends[1], idle_writer):
        writer.close()
    await server.close()
