"""What leaves a connection, in which order, and what is given back in every ending."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.serve.message import Answer, FileSpan, Request, Stream
from runtime.serve.service import Limits
from tests.support.wire import Wire, connected, serving

BLOB = os.urandom(3 << 20)
QUICK = Limits(request_seconds=0.2, idle_seconds=0.4, stalled_seconds=0.2, linger_seconds=0.2)


@pytest.fixture(scope="module", name="blob")
def _blob(tmp_path_factory):
    path = tmp_path_factory.mktemp("blob") / "blob"
    path.write_bytes(BLOB)
    fd = os.open(path, os.O_RDONLY)
    yield fd
    os.close(fd)


def echo(request):
    return Answer(200, (), (f"{request.method} {request.target} ".encode() + request.body,))


async def alone(server):
    """Wait until the server has no connection left."""
    async with asyncio.timeout(5):
        while server.counters.open_connections:  # noqa: ASYNC110 - a counter has no event
            await asyncio.sleep(0.01)


async def arriving(*pieces: bytes):
    for piece in pieces:
        await asyncio.sleep(0)
        yield piece


async def test_requests_sent_together_are_answered_in_order():
    async def slow_first(request):
        if request.target == "/0":
            await asyncio.sleep(0.02)
        return echo(request)

    async with serving(slow_first) as (_, port), connected(port) as wire:
        await wire.send(
            b"".join(
                f"POST /{n} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n{n % 10}".encode()
                for n in range(200)
            )
        )
        for n in range(200):
            assert (await wire.reply()).body == f"POST /{n} {n % 10}".encode()


async def test_http_1_0_is_answered_and_closed_unless_it_asks_to_stay():
    async with serving(echo) as (_, port), connected(port) as wire:
        await wire.send(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert (await wire.reply()).headers["connection"] == "keep-alive"
        await wire.send(b"GET /b HTTP/1.0\r\n\r\n")
        assert (await wire.reply()).headers["connection"] == "close"
        assert await wire.ended()


async def test_connection_close_is_said_and_done():
    async with serving(echo) as (_, port), connected(port) as wire:
        reply = await wire.ask("/", headers="Connection: close\r\n")

        assert reply.headers["connection"] == "close"
        assert await wire.ended()


async def test_head_has_the_length_and_not_the_body(blob):
    def route(request):
        if request.target == "/unopened":
            return Answer(200, head_length=77)
        return Answer(200, (), (FileSpan(blob, 0, 1000),))

    async with serving(route) as (_, port), connected(port) as wire:
        assert (await wire.ask("/", "HEAD")).headers["content-length"] == "1000"
        assert (await wire.ask("/unopened", "HEAD")).headers["content-length"] == "77"
        assert (await wire.ask("/")).body == BLOB[:1000]


async def test_304_has_no_length():
    async with (
        serving(lambda _: Answer(304, (("ETag", '"v"'),))) as (_, port),
        connected(port) as wire,
    ):
        for _ in range(2):
            reply = await wire.ask("/")
            assert (reply.status, reply.headers) == (304, {"etag": '"v"'})


async def test_a_client_that_waits_for_100_is_told_to_go_on():
    async with serving(echo) as (_, port), connected(port) as wire:
        await wire.send(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        )
        assert await wire.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await wire.send(b"ok")
        assert (await wire.reply()).body == b"POST / ok"


async def test_a_body_too_large_is_refused_instead_of_100():
    async with serving(echo) as (server, port), connected(port) as wire:
        await wire.send(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        assert (await wire.reply()).status == 413
        assert server.counters.bad_requests == 1


async def test_a_refusal_reaches_a_client_that_is_still_sending():
    async with serving(echo) as (_, port), connected(port) as wire:
        wire.writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n")
        wire.writer.write(bytes(4 << 20))
        assert (await wire.reply()).status == 413
        # What it still sends is read away: closing over it would reset the connection.
        await wire.writer.drain()
        wire.writer.write_eof()
        assert await wire.reader.read() == b""


@pytest.mark.parametrize("where", ["at once", "later"])
async def test_a_handlers_error_is_an_answer_and_the_connection_goes_on(where):
    def at_once(request):
        if request.target == "/bad":
            raise LookupError("no such thing")
        return echo(request)

    async def later(request):
        return at_once(request)

    async with (
        serving(at_once if where == "at once" else later) as (_, port),
        connected(port) as wire,
    ):
        bad = await wire.ask("/bad")
        assert (bad.status, bad.body) == (500, b"LookupError: no such thing")
        assert (await wire.ask("/good")).status == 200


async def test_work_called_off_elsewhere_is_an_answer_too():
    async def route(_):
        raise asyncio.CancelledError

    async with serving(route) as (_, port), connected(port) as wire:
        reply = await wire.ask("/")
        assert reply.status == 500
        assert b"NotCached" in reply.body


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\nb", "a\rb", "\u20ac"])
async def test_a_header_that_would_break_the_answer_never_leaves(value):
    async with (
        serving(lambda _: Answer(200, (("X", value),))) as (_, port),
        connected(port) as wire,
    ):
        reply = await wire.ask("/")
        assert (reply.status, "set-cookie" in reply.headers) == (500, False)


async def test_a_dripping_request_is_cut_off_in_time():
    limits = Limits(request_seconds=0.2)
    async with serving(echo, limits=limits) as (server, port), connected(port) as wire:

        async def drip():
            for byte in b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 100:
                await wire.send(bytes([byte]))
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        try:
            reply = await asyncio.wait_for(wire.reply(), 2)
        finally:
            dripping.cancel()
        assert reply.status == 408
        assert server.counters.requests == 0


async def test_a_dripping_body_is_cut_off_in_time():
    limits = Limits(request_seconds=0.2)
    async with serving(echo, limits=limits) as (_, port), connected(port) as wire:
        await wire.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
        assert (await asyncio.wait_for(wire.reply(), 2)).status == 408


async def test_an_idle_connection_is_closed_without_a_word():
    async with serving(echo, limits=QUICK) as (_, port), connected(port) as wire:
        assert (await wire.ask("/")).status == 200
        assert await wire.ended()


async def test_a_connection_that_a_route_holds_something_for_may_rest():
    def route(request):
        request.connection.lasting = True
        return echo(request)

    async with serving(route, limits=QUICK) as (_, port), connected(port) as wire:
        await wire.ask("/")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wire.reader.read(1), 3 * QUICK.idle_seconds)
        assert (await wire.ask("/")).status == 200


async def test_a_receiver_that_takes_nothing_is_cut_and_gives_back_what_it_held(blob):
    given_back = asyncio.Event()

    def route(_):
        spans = [FileSpan(blob, 0, len(BLOB)) for _ in range(20)]
        spans[-1].release = given_back.set
        return Answer(200, (), tuple(spans))

    async with serving(route, limits=QUICK) as (server, port):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(given_back.wait(), 5)
        assert server.counters.open_connections == 0
        sock.close()


async def test_the_handler_is_cancelled_when_its_client_hangs_up():
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def route(_):
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with serving(route) as (server, port):
        async with connected(port) as wire:
            await wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await started.wait()
        await asyncio.wait_for(cancelled.wait(), 5)
        assert server.counters.open_connections == 0


async def test_a_client_that_only_stopped_talking_still_gets_its_file(blob):
    whole = tuple(FileSpan(blob, 0, len(BLOB)) for _ in range(12))
    async with (
        serving(lambda _: Answer(200, (), whole)) as (_, port),
        connected(port) as wire,
    ):
        await wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        wire.writer.write_eof()
        assert (await wire.reply()).body == BLOB * 12
        assert await wire.ended()


async def test_small_parts_of_two_slow_receivers_do_not_mix(blob):
    """Both leave through one buffer, whose rest is kept when a socket takes no more."""
    size = 10_000
    count = 250

    def route(request):
        start = int(request.target[1:])
        return Answer(200, (), tuple(FileSpan(blob, start + n * size, size) for n in range(count)))

    async with serving(route) as (_, port):
        socks = [socket.socket() for _ in range(4)]
        for n, sock in enumerate(socks):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", port))
            sock.sendall(f"GET /{n} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 3)
        await asyncio.sleep(0.05)
        for n, sock in enumerate(socks):
            wire = Wire(*await asyncio.open_connection(sock=sock))
            for _ in range(3):
                assert (await wire.reply()).body == BLOB[n : n + size * count]
            await wire.close()


@st.composite
def spans(draw: st.DrawFn):
    offset = draw(st.integers(0, len(BLOB)))
    length = draw(
        st.one_of(
            st.integers(0, min(100, len(BLOB) - offset)),
            st.integers(0, min(200_000, len(BLOB) - offset)),
            st.integers(0, len(BLOB) - offset),
        )
    )
    return offset, length, draw(st.sampled_from(["span", "bytes", "view", "stream"]))


@settings(deadline=None, max_examples=60)
@given(made=st.lists(spans(), max_size=6), method=st.sampled_from(["GET", "HEAD"]))
def test_any_mixture_of_parts_arrives_as_it_was_and_is_given_back_once(blob, made, method):
    released: Counter[int] = Counter()

    def part(index, offset, length, kind):
        def release():
            released[index] += 1

        piece = BLOB[offset : offset + length]
        if kind == "span":
            return FileSpan(blob, offset, length, release)
        if kind == "stream":
            return Stream(arriving(piece[: length // 3], piece[length // 3 :]), length, release)
        return piece if kind == "bytes" else memoryview(piece)

    async def run():
        def route(_):
            return Answer(200, (), tuple(part(n, *one) for n, one in enumerate(made)))

        async with serving(route) as (server, port), connected(port) as wire:
            reply = await wire.ask("/", method)
            assert int(reply.headers["content-length"]) == sum(length for _, length, _ in made)
            await wire.ask("/", "HEAD")
            return reply.body, server.counters.requests

    body, requests = asyncio.run(run())

    expected = b"".join(BLOB[offset : offset + length] for offset, length, _ in made)
    assert body == (expected if method == "GET" else b"")
    assert requests == 2
    held = {n for n, (_, _, kind) in enumerate(made) if kind in ("span", "stream")}
    assert released == dict.fromkeys(held, 2)


class Held:
    """Parts that count how often they are given back."""

    def __init__(self, blob: int, short: int) -> None:
        self.released: Counter[str] = Counter()
        self.blob = blob
        self.short = short
        self.gate = asyncio.Event()

    def release(self, name):
        return lambda: self.released.update([name])

    async def broken(self):
        yield b"abc"
        raise OSError("the source broke")

    async def waiting(self):
        yield b"abc"
        await self.gate.wait()

    def answer(self, target: str) -> Answer:
        large = FileSpan(self.blob, 0, len(BLOB), self.release("large"))
        small = FileSpan(self.blob, 5, 100, self.release("small"))
        missing = FileSpan(self.short, 0, 100, self.release("missing"))
        beyond = FileSpan(self.short, 0, 1 << 20, self.release("beyond"))
        endless = tuple(
            FileSpan(self.blob, 0, len(BLOB), self.release(f"endless {n}")) for n in range(30)
        )
        parts = {
            "/short-small": (small, missing, large),
            "/short-large": (small, beyond, large),
            "/short-later": (large, missing, small),
            "/stream-breaks": (small, Stream(self.broken(), 6, self.release("stream")), large),
            "/stream-ends": (Stream(arriving(b"abc"), 6, self.release("stream")), large),
            "/stream-overflows": (Stream(arriving(b"abcdefg"), 6, self.release("stream")), large),
            "/stream-waits": (small, Stream(self.waiting(), 6, self.release("stream")), large),
            "/endless": endless,
            "/bad-header": (small, large),
        }[target]
        headers = (("X", "\r\n"),) if target == "/bad-header" else ()
        return Answer(200, headers, parts)


@pytest.fixture(name="held")
def _held(blob, tmp_path):
    path = tmp_path / "short"
    path.write_bytes(b"too short")
    fd = os.open(path, os.O_RDONLY)
    yield Held(blob, fd)
    os.close(fd)


@pytest.mark.parametrize(
    ("target", "status", "names"),
    [
        ("/short-small", 500, {"small", "missing", "large"}),
        ("/bad-header", 500, {"small", "large"}),
        ("/short-large", 200, {"small", "beyond", "large"}),
        ("/short-later", 200, {"small", "missing", "large"}),
        ("/stream-breaks", 200, {"small", "stream", "large"}),
        ("/stream-ends", 200, {"stream", "large"}),
        ("/stream-overflows", 200, {"stream", "large"}),
    ],
)
@pytest.mark.parametrize("late", [False, True], ids=["at once", "later"])
async def test_a_broken_answer_is_short_and_gives_everything_back_once(
    held, target, status, names, late
):
    async def later(request):
        return held.answer(request.target)

    handler = later if late else (lambda request: held.answer(request.target))
    async with serving(handler) as (server, port), connected(port) as wire:
        await wire.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        if status == 500:
            assert (await wire.reply()).status == 500
        else:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await wire.reply()
            assert server.counters.open_connections == 0

    assert held.released == dict.fromkeys(names, 1)


@pytest.mark.parametrize("target", ["/endless", "/stream-waits"])
@pytest.mark.parametrize("ending", ["client hangs up", "server closes"])
async def test_an_answer_that_is_cut_gives_everything_back_once(held, target, ending):
    expected = {part.release for part in held.answer(target).parts}
    async with serving(lambda request: held.answer(request.target)) as (server, port):
        async with connected(port) as wire:
            await wire.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await wire.reader.readexactly(100)
            if ending == "server closes":
                await server.close(grace=0)
        await alone(server)

    assert len(held.released) == len(expected)
    assert set(held.released.values()) == {1}


async def test_an_answer_that_was_ready_when_its_client_hung_up_is_given_back(blob):
    released = []
    ready: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    asked: asyncio.Future[Request] = asyncio.get_running_loop().create_future()

    def route(request):
        asked.set_result(request)
        return ready

    async with serving(route) as (_, port), connected(port) as wire:
        await wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        request = await asked
        await asyncio.sleep(0)
        ready.set_result(Answer(200, (), (FileSpan(blob, 0, 10, lambda: released.append(1)),)))
        request.connection.close()
        assert await wire.ended()

    assert released == [1]


async def test_what_a_route_registers_ends_with_the_connection_once():
    ended = []

    def route(request):
        request.connection.on_close(lambda: 1 / 0)
        request.connection.on_close(lambda: ended.append(request.target))
        return echo(request)

    async with serving(route) as (server, port):
        async with connected(port) as wire:
            await wire.ask("/a")
            await wire.ask("/b")
            assert ended == []
        await alone(server)

    assert ended == ["/a", "/b"]


async def test_a_stream_is_sent_as_it_arrives():
    more = asyncio.Event()

    async def chunks():
        yield b"first"
        await more.wait()
        yield memoryview(b"second")

    async with (
        serving(lambda _: Answer(200, (), (Stream(chunks(), 11),))) as (_, port),
        connected(port) as wire,
    ):
        await wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await wire.reader.readuntil(b"\r\n\r\n")
        assert await wire.reader.readexactly(5) == b"first"
        more.set()
        assert await wire.reader.readexactly(6) == b"second"
        assert (await wire.ask("/")).body == b"firstsecond"


async def test_a_pipelining_client_cannot_fill_the_memory():
    """Requests behind one that waits are left in the socket."""
    gate = asyncio.Event()

    async def route(request):
        await gate.wait()
        return echo(request)

    async with serving(route) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        wire = Wire(reader, writer)
        one = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n" + bytes(50000)
        for _ in range(400):
            writer.write(one)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.drain(), 0.3)
        gate.set()
        for _ in range(400):
            assert len((await wire.reply()).body) == 50007
        await wire.close()
