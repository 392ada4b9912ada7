"""Answers that a server is given for the bytes of a request, without a handler."""

from __future__ import annotations

import asyncio

from runtime.serve.message import Answer
from runtime.serve.server import HttpServer
from tests.support.wire import told

ASK = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
BODY = bytes(range(250)) * 40_000
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)


def remembered(data):
    return (HEAD, BODY) if data == ASK else None


def handled(request):
    return Answer(200, (), (b"handled",))


async def sent(server):
    while not server.counters.bytes_sent:  # noqa: ASYNC110 - a counter has no event
        await asyncio.sleep(0)


async def test_a_reader_that_is_slow_gets_all_of_it_and_the_next_answers_in_order():
    server = HttpServer(handled, on_error=told, remembered=remembered)
    port = await server.listen_tcp("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 16)
    writer.write(ASK)
    # Nothing is read yet, so the answer is stuck when this arrives.
    await sent(server)
    writer.write(b"GET /y HTTP/1.1\r\nHost: h\r\n\r\n")

    assert await reader.readexactly(len(HEAD) + len(BODY)) == HEAD + BODY
    assert (await reader.readuntil(b"handled")).endswith(b"handled")
    writer.write(ASK)
    assert await reader.readexactly(len(HEAD) + len(BODY)) == HEAD + BODY
    assert server.counters.requests == 3
    writer.close()
    await server.close()


async def test_a_client_that_leaves_in_the_middle_is_forgotten():
    server = HttpServer(handled, on_error=told, remembered=remembered)
    port = await server.listen_tcp("127.0.0.1", 0)
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(ASK)
    await sent(server)
    writer.transport.abort()
    while server.counters.open_connections:  # noqa: ASYNC110 - a counter has no event
        await asyncio.sleep(0)
    await server.close()
