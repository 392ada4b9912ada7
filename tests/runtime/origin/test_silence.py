"""What a read does when its origin falls silent: once more, on a connection of its own."""

import asyncio
import contextlib
import random

import pytest
from aiohttp import web

from runtime.contract.plan import MountPlan
from runtime.errors import OriginUnavailable
from runtime.origin.base import Found, Timeouts, open_origin

DATA = random.Random(3).randbytes(3 << 20)
PATIENCE = Timeouts(
    stall_seconds=0.5, window_seconds=0.5, floor_bytes_per_second=1 << 20, backoff_seconds=0.01
)
SOON = 20
FOUND = Found("a.bin", len(DATA), "v")


class Server:
    """One object; ``silent`` connections take questions and answer nothing.

    The next ``drips`` answers send their first half at once and then a byte now and then.
    """

    def __init__(self):
        self.connections = []
        self.silent = set()
        self.ranges = []
        self.drips = 0
        self.ended = asyncio.Event()

    async def answer(self, request):
        connection = request.transport
        if connection not in self.connections:
            self.connections.append(connection)
        self.ranges.append(request.headers["Range"])
        if connection in self.silent:
            await self.ended.wait()
        first, last = map(int, self.ranges[-1].removeprefix("bytes=").split("-"))
        body = DATA[first : last + 1]
        response = web.StreamResponse(
            status=206,
            headers={"ETag": '"v"', "Content-Range": f"bytes {first}-{last}/{len(DATA)}"},
        )
        response.content_length = len(body)
        await response.prepare(request)
        if self.drips:
            self.drips -= 1
            await response.write(body[: len(body) // 2])
            with contextlib.suppress(ConnectionError):
                for at in range(len(body) // 2, len(body)):
                    if self.ended.is_set():
                        break
                    await response.write(body[at : at + 1])
                    await asyncio.sleep(0.02)
            return response
        await response.write(body)
        return response


@pytest.fixture
async def server():
    server = Server()
    app = web.Application()
    app.router.add_get("/a.bin", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    server.ended.set()
    await runner.cleanup()


@contextlib.asynccontextmanager
async def opened(server):
    origin = open_origin(MountPlan("train", server.url), "Cloud", {}, timeouts=PATIENCE)
    try:
        async with asyncio.timeout(SOON):
            yield origin
    finally:
        await origin.close()


async def read(origin, stop=None):
    stop = stop or len(DATA)
    blocks = origin.read("a.bin", size=len(DATA), version="v", start=0, stop=stop)
    return b"".join([bytes(block) async for block in blocks])


async def test_one_silence_is_survived_though_all_kept_connections_are_dead(server):
    async with opened(server) as origin:
        await asyncio.gather(*(read(origin) for _ in range(4)))
        kept = len(server.connections)
        server.silent = set(server.connections)
        server.ranges.clear()
        assert await read(origin) == DATA
        assert len(server.ranges) == 2  # one question was lost, not one for each connection
        assert await read(origin) == DATA
    assert kept > 1
    assert len(server.connections) == kept + 2


async def test_a_second_silence_is_believed_and_said(server):
    async with opened(server) as origin:
        await read(origin, 10)

        class All:
            def __contains__(self, _):
                return True

        server.silent = All()
        server.ranges.clear()
        with pytest.raises(OriginUnavailable) as caught:
            await read(origin)
    assert len(server.ranges) == 2
    assert str(caught.value) == (
        f"'a.bin' of the mount 'train' ({server.url}): the origin does not answer in time "
        "(0.5 s); check that this node can reach its endpoint"
    )


async def test_a_drip_is_left_and_the_rest_asked_for_anew(server):
    server.drips = 1
    async with opened(server) as origin:
        assert await read(origin) == DATA
    first, second = server.ranges
    assert first == f"bytes=0-{len(DATA) - 1}"
    resumed = int(second.removeprefix("bytes=").split("-")[0])
    assert len(DATA) // 2 <= resumed < len(DATA)
    assert len(server.connections) == 2


async def test_a_second_drip_is_believed_and_said(server):
    server.drips = 2
    async with opened(server) as origin:
        with pytest.raises(OriginUnavailable, match=r"sent \d+ bytes in .*check the connection"):
            await read(origin)
    assert len(server.ranges) == 2
