"""Listeners: who is let in, how they open and close, and a server in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import random
import socket
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import pytest

from runtime.errors import ConfigError
from runtime.serve.descriptors import recv_with_fds
from runtime.serve.message import Answer, FileSpan
from runtime.serve.server import HttpServer
from runtime.serve.service import Limits
from tests.support.wire import Wire, connected, serving, told

ROOT = Path(__file__).parents[3]


def hello(request):
    return Answer(200, (), (f"{request.peer} {request.peer_uid}".encode(),))


@pytest.fixture(name="path")
def _path(tmp_path):
    return str(tmp_path / "agent.sock")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def asked(path: str) -> Wire:
    return Wire(*await asyncio.open_unix_connection(path))


async def test_a_server_listens_on_nothing_until_asked():
    server = HttpServer(hello, on_error=told)
    assert (server.counters.open_connections, server._tcp, server._unix) == (0, {}, {})
    await server.close()


async def test_callers_are_known_by_address_on_tcp_and_by_user_on_a_unix_socket(path):
    async with serving(hello) as (server, port):
        await server.listen_unix(path)
        async with connected(port) as wire:
            assert (await wire.ask("/")).body == b"127.0.0.1 None"
        wire = await asked(path)
        assert (await wire.ask("/")).body == f"None {os.getuid()}".encode()
        await wire.close()


async def test_a_caller_is_refused_by_its_address_before_anything_is_read():
    seen = []

    def on_accept(address):
        seen.append(address)
        return address != "127.0.0.9"

    server = HttpServer(hello, on_error=told)
    port = await server.listen_tcp("127.0.0.1", 0, on_accept=on_accept)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.9", 0))
    assert await Wire(reader, writer).ended()
    writer.close()
    async with connected(port) as wire:
        assert (await wire.ask("/")).status == 200

    assert seen == ["127.0.0.9", "127.0.0.1"]
    assert server.counters.refused_connections == 1
    await server.close()


async def test_a_caller_above_the_limit_is_told_so():
    async with serving(hello, limits=Limits(connections=2)) as (server, port):
        async with connected(port) as one, connected(port) as two:
            await one.ask("/")
            await two.ask("/")
            async with connected(port) as three:
                reply = await three.reply()
                assert (reply.status, b"connections" in reply.body) == (503, True)
                assert await three.ended()
            assert (await one.ask("/")).status == 200
        while server.counters.open_connections:  # noqa: ASYNC110 - a counter has no event
            await asyncio.sleep(0.01)
        async with connected(port) as wire:
            assert (await wire.ask("/")).status == 200


async def test_a_socket_file_nobody_answers_on_is_replaced(path):
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(path)
    dead.close()
    server = HttpServer(hello, on_error=told)

    await server.listen_unix(path, mode=0o660)

    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o660
    wire = await asked(path)
    assert (await wire.ask("/")).status == 200
    await wire.close()
    await server.close()
    assert not Path(path).exists()


async def test_a_living_socket_or_another_file_is_left_alone(path, tmp_path):
    first, second = (HttpServer(hello, on_error=told) for _ in range(2))
    await first.listen_unix(path)
    with pytest.raises(ConfigError, match="another process answers"):
        await second.listen_unix(path)
    file = tmp_path / "file"
    file.write_text("kept")
    with pytest.raises(ConfigError, match="not a socket"):
        await second.listen_unix(str(file))
    with pytest.raises(ConfigError, match="too long"):
        await second.listen_unix(str(tmp_path / ("x" * 200)))

    assert file.read_text() == "kept"
    wire = await asked(path)
    assert (await wire.ask("/")).status == 200
    await wire.close()
    await first.close()


async def test_closing_leaves_another_servers_socket_file(path):
    first, second = (HttpServer(hello, on_error=told) for _ in range(2))
    await first.listen_unix(path)
    Path(path).unlink()
    await second.listen_unix(path)

    await first.close()

    assert Path(path).exists()
    await second.close()


@pytest.mark.parametrize("host", ["localhost", "192.0.2.1", "", "127.0.0.1:80"])
async def test_an_address_that_is_not_ours_is_a_clear_error(host):
    server = HttpServer(hello, on_error=told)
    with pytest.raises(ConfigError, match="listen on"):
        await server.listen_tcp(host, 0)


async def test_a_taken_port_is_a_clear_error():
    async with serving(hello) as (_, port):
        with pytest.raises(ConfigError, match=f"127.0.0.1 port {port}"):
            await HttpServer(hello, on_error=told).listen_tcp("127.0.0.1", port)


async def test_each_listener_closes_alone_with_its_connections(path):
    async with serving(hello) as (server, port):
        await server.listen_unix(path)
        local = await asked(path)
        await local.ask("/")
        async with connected(port) as remote:
            await remote.ask("/")
            await server.close_tcp(port)
            assert await remote.ended()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        assert (await local.ask("/")).status == 200
        assert await server.listen_tcp("127.0.0.1", port) == port
        await local.close()


async def test_closing_finishes_the_answers_under_way():
    gate, asked_for = asyncio.Event(), asyncio.Event()

    async def slow(request):
        asked_for.set()
        await gate.wait()
        return hello(request)

    async with serving(slow) as (server, port), connected(port) as busy, connected(port) as idle:
        await busy.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asked_for.wait()
        closing = asyncio.create_task(server.close(grace=5))
        assert await idle.ended()
        assert not closing.done()
        gate.set()
        reply = await busy.reply()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert await busy.ended()
        await busy.close()
        await asyncio.wait_for(closing, 5)


async def test_closing_cuts_what_does_not_finish_in_time():
    async def never(_):
        return await asyncio.get_running_loop().create_future()

    async with serving(never) as (server, port), connected(port) as wire:
        await wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        while not server.counters.requests:  # noqa: ASYNC110 - a counter has no event
            await asyncio.sleep(0.01)
        await asyncio.wait_for(server.close(grace=0.05), 2)
        assert await wire.ended()


async def test_open_files_ride_on_the_first_byte_of_their_answer(path, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"passed")
    kept = os.open(file, os.O_RDONLY)

    def route(request):
        given = tuple(os.dup(kept) for _ in range(3))
        return Answer(200, (), (request.target.encode(),), fds=given, close_fds=True)

    server = HttpServer(route, on_error=told)
    await server.listen_unix(path)

    def client():
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            for target in (b"/one", b"/two"):
                sock.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
                data, fds = recv_with_fds(sock, 4096)
                assert data.endswith(target)
                assert [os.pread(fd, 10, 0) for fd in fds] == [b"passed"] * 3
                assert not any(os.get_inheritable(fd) for fd in fds)
                for fd in fds:
                    os.close(fd)

    before = open_files()
    await asyncio.to_thread(client)
    await server.close()
    assert open_files() <= before
    os.close(kept)


async def test_open_files_never_leave_by_tcp(tmp_path):
    (tmp_path / "file").touch()
    given = os.open(tmp_path / "file", os.O_RDONLY)
    answer = Answer(200, fds=(given,), close_fds=True)
    async with serving(lambda _: answer) as (_, port), connected(port) as wire:
        assert (await wire.ask("/")).status == 500
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(given)


def test_lost_open_files_are_an_error_not_a_short_list(monkeypatch):
    left, right = socket.socketpair(socket.AF_UNIX)
    with left, right, Path(os.devnull).open("rb") as file:
        monkeypatch.setattr("runtime.serve.descriptors.MAX_FDS", 1)
        socket.send_fds(left, [b"x"], [file.fileno()] * 3)
        before = open_files()
        with pytest.raises(OSError, match="lost on the way"):
            recv_with_fds(right, 10)
        assert open_files() == before


async def test_a_mapped_standard_client_gets_every_range(tmp_path):
    data = os.urandom(1 << 20)
    (tmp_path / "blob").write_bytes(data)
    fd = os.open(tmp_path / "blob", os.O_RDONLY)

    def route(request):
        start, stop = int(request.query["start"]), int(request.query["stop"])
        return Answer(200, (), (FileSpan(fd, start, stop - start),))

    async with serving(route) as (_, port), aiohttp.ClientSession() as session:
        for _ in range(50):
            start, stop = sorted(random.sample(range(len(data)), 2))
            url = f"http://127.0.0.1:{port}/x?start={start}&stop={stop}"
            async with session.get(url) as reply:
                assert await reply.read() == data[start:stop]
    os.close(fd)


@pytest.fixture(name="process", scope="module")
def _process(tmp_path_factory):
    path = tmp_path_factory.mktemp("served") / "blob"
    data = os.urandom(8 << 20)
    path.write_bytes(data)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.blob_server", str(path)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ) as process:
        yield int(process.stdout.readline()), data
        process.terminate()


def test_64_clients_at_once_get_their_own_bytes(process):
    port, data = process
    start = threading.Barrier(64)

    def client(seed):
        chance = random.Random(seed)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.connect()
        start.wait()
        for _ in range(8):
            offset = chance.randrange(len(data))
            length = min(chance.choice([1, 4096, 70_000, 1 << 20]), len(data) - offset)
            connection.request("GET", f"/{offset}/{length}")
            reply = connection.getresponse()
            assert (reply.status, reply.read()) == (200, data[offset : offset + length])
        connection.close()

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(client, range(64)))


def test_hostile_clients_do_not_disturb_others(process):
    port, data = process

    def raw(*pieces):
        sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        for piece in pieces:
            sock.sendall(piece)
        return sock

    hostile = [
        raw(b"\x16\x03\x01" + os.urandom(200)),
        raw(b"GET /" + b"a" * 20_000),
        raw(b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 20_000),
        raw(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"),
        raw(b"GET /0/8388608 HTTP/1.1\r\nHost: x\r\n\r\n" * 50),
        raw(b"G"),
    ]
    with connected_blocking(port) as connection:
        connection.request("GET", "/5/100000")
        assert connection.getresponse().read() == data[5:100_005]
    first_lines = [sock.makefile("rb").readline().split()[1] for sock in hostile[:4]]
    for sock in hostile:
        sock.close()

    assert first_lines == [b"400", b"414", b"431", b"413"]


def connected_blocking(port):
    return contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10))
