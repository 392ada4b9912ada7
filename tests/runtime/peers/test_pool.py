"""Exchanges with peers that behave, and with peers that do not."""

from __future__ import annotations

import asyncio
import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.contract import protocol
from runtime.errors import (
    AccessDenied,
    PeerLied,
    PeerMismatch,
    PeerMissing,
    PeerUnavailable,
    StaleVersion,
)
from runtime.peers.pool import UnitReceived, UnitRedirect
from runtime.serve.message import Answer, FileSpan
from tests.support.peering import (
    Asker,
    answer,
    honest,
    member,
    plan,
    scripted,
    unit_answer,
)
from tests.support.wire import serving

UNIT = os.urandom(4 << 20)


def there_at(port: int):
    return member(port, address="127.0.0.1")


async def test_a_unit_arrives_in_the_buffer_with_its_checksums(tmp_path):
    (tmp_path / "blob").write_bytes(UNIT)
    fd = os.open(tmp_path / "blob", os.O_RDONLY)
    sums = tuple(range(1, 100))

    def route(request):
        assert request.headers["cachectl-from"] == "uid-me"
        trailer = b"".join(map(protocol.UNIT_SUM.pack, sums))
        headers = ((protocol.CELLS_HEADER, "99"), (protocol.NODE_HEADER, "uid-b"))
        return Answer(200, headers, (FileSpan(fd, 0, len(UNIT)), trailer))

    async with serving(honest(route)) as (server, port):
        asker = Asker(there_at(port))
        for _ in range(5):
            found, buffer, progress = await asker.unit(there_at(port), len(UNIT))
            assert found == UnitReceived(sums, len(UNIT))
            assert buffer == UNIT
            assert progress == sorted(progress)
            assert progress[-1] == len(UNIT)
        assert len(asker.dialled) == 1
        assert server.counters.requests == 6
        await asker.peers.close()
    os.close(fd)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 1 << 20),
    st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=50),
    st.integers(0, 1000),
    st.lists(st.integers(1, 1 << 20), max_size=5),
)
def test_units_of_any_size_arrive_however_they_are_cut(size, sums, spare, cuts):
    async def send(peer, head, writer):
        data = unit_answer(UNIT[:size], *sums)
        for cut in cuts:
            writer.write(data[:cut])
            data = data[cut:]
            await asyncio.sleep(0.001)
        writer.write(data)

    async def run():
        async with scripted(send) as (peer, there):
            asker = Asker(there)
            for _ in range(2):
                found, buffer, progress = await asker.unit(there, size + spare)
                assert found == UnitReceived(tuple(sums), size)
                assert buffer == UNIT[:size] + bytes(spare)
                assert (progress or [0])[-1] == size
            assert peer.connections == 1
            await asker.peers.close()

    asyncio.run(run())


async def test_a_redirect_names_the_member_and_keeps_the_connection():
    async def redirect(peer, head, writer):
        writer.write(answer(b"there", status=307, headers="Cachectl-Redirect: uid-c\r\n"))

    async with scripted(redirect) as (peer, there):
        asker = Asker(there)
        for _ in range(3):
            found, _, _ = await asker.unit(there, 10)
            assert found == UnitRedirect("uid-c")

    assert peer.connections == 1


@pytest.mark.parametrize(
    ("status", "error", "connections"),
    [
        (404, PeerMissing, 1),
        (401, AccessDenied, 1),
        (403, AccessDenied, 1),
        (409, StaleVersion, 1),
        (503, PeerUnavailable, 1),
        (500, PeerUnavailable, 1),
        (206, PeerUnavailable, 1),
        (307, PeerUnavailable, 1),
        (421, PeerMismatch, 2),
    ],
)
async def test_a_peers_error_is_ours_and_only_a_mismatch_costs_the_connection(
    status, error, connections
):
    async def refuse(peer, head, writer):
        writer.write(answer(b"it says\x1b[1m why\n", status=status))

    async with scripted(refuse) as (peer, there):
        asker = Asker(there)
        for _ in range(2):
            with pytest.raises(error) as caught:
                await asker.unit(there, 10)
        if error is not PeerMismatch:
            assert str(caught.value).endswith("it says [1m why")

    assert peer.connections == connections


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(unit_answer(b"x" * 11, 1), id="longer than the buffer"),
        pytest.param(answer(b"x" * 10), id="no cells"),
        pytest.param(answer(b"", headers="Cachectl-Cells: 1\r\n"), id="shorter than its trailer"),
        pytest.param(answer(b"x" * 18, headers="Cachectl-Cells: -1\r\n"), id="negative cells"),
        pytest.param(answer(b"x" * 18, headers="Cachectl-Cells: 0\r\n"), id="zero cells"),
        pytest.param(
            answer(b"", length=10**12, headers="Cachectl-Cells: 99999999\r\n"), id="vast cells"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", id="no length"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="chunked"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", id="2 lengths"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", id="more than its length"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", id="interim answer"),
        pytest.param(b"nonsense\r\n\r\n", id="no HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40_000, id="endless head"),
    ],
)
async def test_an_answer_that_contradicts_itself_is_a_lie_and_costs_the_connection(data):
    async def lie(peer, head, writer):
        writer.write(data)

    async with scripted(lie) as (peer, there):
        asker = Asker(there)
        for _ in range(2):
            with pytest.raises(PeerLied):
                await asker.unit(there, 10)

    assert peer.connections == 2


async def test_another_node_in_an_answer_is_a_mismatch():
    async def other(peer, head, writer):
        writer.write(unit_answer(b"x", 1, headers="Cachectl-Node: uid-c\r\n"))

    async with scripted(other) as (_, there):
        with pytest.raises(PeerMismatch):
            await Asker(there).unit(there, 1)


@pytest.mark.parametrize("sent", [0, 1, 100, 70_000, (1 << 20) + 3])
async def test_a_body_that_ends_midway_is_an_error_and_not_a_short_unit(sent):
    async def hang_up(peer, head, writer):
        whole = unit_answer(UNIT[: 1 << 20], 5)
        start = whole.index(b"\r\n\r\n") + 4
        writer.write(whole[: start + sent])
        await writer.drain()
        writer.close()

    async with scripted(hang_up) as (peer, there):
        asker = Asker(there)
        for _ in range(2):
            with pytest.raises(PeerUnavailable, match="lost"):
                await asker.unit(there, 1 << 20)

    assert peer.connections == 2


async def test_a_peer_that_stalls_midway_is_given_up_after_the_stall():
    async def stall(peer, head, writer):
        writer.write(unit_answer(UNIT, 5)[:100_000])

    async with scripted(stall) as (_, there):
        asker = Asker(there)
        begun = time.monotonic()
        with pytest.raises(PeerUnavailable, match=r"no byte for 0\.2 s"):
            await asker.unit(there, len(UNIT), stall=0.2)
        assert 0.2 <= time.monotonic() - begun < 2


async def test_a_slow_peer_is_no_stall_and_its_bytes_are_not_held_back():
    """Bytes far below the kernel's low-water mark are seen while they arrive."""
    pieces = 12
    size = pieces * 50_000

    async def drip(peer, head, writer):
        data = unit_answer(UNIT[:size], 5)
        for start in range(0, len(data), 50_000):
            writer.write(data[start : start + 50_000])
            await asyncio.sleep(0.03)

    async with scripted(drip) as (_, there):
        asker = Asker(there)
        found, buffer, progress = await asker.unit(there, size, stall=0.25)

    assert found == UnitReceived((5,), size)
    assert buffer == UNIT[:size]
    assert len(progress) >= pieces // 3


async def test_connections_to_a_member_are_shared_and_bounded():
    at_once = highest = 0

    async def slow(request):
        nonlocal at_once, highest
        at_once += 1
        highest = max(highest, at_once)
        await asyncio.sleep(0.01)
        at_once -= 1
        return Answer(200, (), (request.target.encode(),))

    async with serving(honest(slow)) as (server, port):
        there = there_at(port)
        asker = Asker(there, per_member=3)
        replies = await asyncio.gather(
            *(asker.peers.get(there, f"/{n}", timeout=10) for n in range(30))
        )
        assert [body for _, _, body in replies] == [f"/{n}".encode() for n in range(30)]
        assert highest == 3
        assert server.counters.open_connections == 3
        await asker.peers.close()


async def test_waiting_for_a_free_connection_ends_in_time():
    async def never(peer, head, writer):
        await asyncio.Event().wait()

    async with scripted(never) as (_, there):
        asker = Asker(there, per_member=1)
        first = asyncio.create_task(asker.peers.get(there, "/", timeout=60))
        await asyncio.sleep(0.05)
        with pytest.raises(PeerUnavailable, match="in use"):
            await asker.unit(there, 10, first_byte=0.1)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


async def test_a_kept_connection_that_the_peer_ended_is_replaced_unnoticed():
    """Whether the end was seen while idle, or only as the question was sent."""

    async def one_each(peer, head, writer):
        writer.write(answer(b"ok"))
        if peer.connections % 2:
            await writer.drain()
            writer.close()
        else:
            peer.script = then_hang_up

    async def then_hang_up(peer, head, writer):
        peer.script = one_each
        writer.close()

    async with scripted(one_each) as (peer, there):
        asker = Asker(there)
        for _ in range(6):
            assert (await asker.peers.get(there, "/", timeout=5))[0] == 200
        assert 3 <= peer.connections <= 6


async def test_a_question_is_repeated_once_and_not_for_ever():
    async def hang_up(peer, head, writer):
        if peer.heard.count(b"GET /v1/head") == 1:
            writer.write(answer(b"ok"))
        else:
            writer.close()

    async with scripted(hang_up) as (peer, there):
        asker = Asker(there)
        await asker.peers.get(there, "/v1/head", timeout=5)
        with pytest.raises(PeerUnavailable):
            await asker.peers.get(there, "/v1/head", timeout=5)

    assert peer.heard.count(b"GET /v1/head") == 3


async def test_a_cancelled_exchange_closes_its_connection_and_leaves_the_buffer_alone():
    started, gate = asyncio.Event(), asyncio.Event()

    async def pause(peer, head, writer):
        data = unit_answer(b"\xff" * 200_000, 5)
        writer.write(data[:100_000])
        await gate.wait()
        writer.write(data[100_000:])
        await writer.drain()

    async with scripted(pause) as (peer, there):
        asker = Asker(there)
        buffer = bytearray(200_000)
        task = asyncio.create_task(
            asker.peers.unit(
                there,
                "/",
                memoryview(buffer),
                lambda _: started.set(),
                first_byte=5,
                stall=5,
            )
        )
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        left = bytes(buffer)
        gate.set()
        await asyncio.sleep(0.05)
        assert buffer == left
        await asker.peers.get(there, "/", timeout=5)
        assert peer.connections == 2


async def test_a_cancelled_question_is_not_answered_to_the_next_one():
    async def half(peer, head, writer):
        writer.write(answer(b"first" if peer.connections == 1 else b"other", length=10))
        if peer.connections > 1:
            writer.write(b"other")

    async with scripted(half) as (peer, there):
        asker = Asker(there)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await asker.peers.get(there, "/", timeout=5)
        assert (await asker.peers.get(there, "/", timeout=5))[2] == b"otherother"
        assert peer.connections == 2


async def test_an_error_of_the_receiver_ends_the_exchange():
    async def send(peer, head, writer):
        writer.write(unit_answer(UNIT, 5))

    def full(_):
        raise OSError("no room")

    async with scripted(send) as (peer, there):
        asker = Asker(there)
        for _ in range(2):
            with pytest.raises(OSError, match="no room"):
                await asker.peers.unit(
                    there, "/", memoryview(bytearray(len(UNIT))), full, first_byte=5, stall=5
                )
        assert peer.connections == 2


@pytest.mark.parametrize("change", ["left", "moved", "domain", "none"])
async def test_a_member_that_left_or_moved_is_let_go_of_at_once(change):
    asked = asyncio.Event()

    async def never(request):
        if request.path == "/busy":
            asked.set()
            await asyncio.Event().wait()
        return Answer(200)

    async with serving(honest(never)) as (server, port):
        there = there_at(port)
        asker = Asker(there)
        busy = asyncio.create_task(asker.peers.get(there, "/busy", timeout=60))
        await asked.wait()
        await asker.peers.get(there, "/idle", timeout=5)
        assert server.counters.open_connections == 2
        asker.peers.follow(
            {
                "left": plan(generation=2),
                "moved": plan(member(port, address="127.0.0.5"), generation=2),
                "domain": plan(there, generation=2, domain="pool-z"),
                "none": None,
            }[change]
        )
        with pytest.raises(PeerUnavailable):
            await busy
        async with asyncio.timeout(5):
            while server.counters.open_connections:  # noqa: ASYNC110 - a counter has no event
                await asyncio.sleep(0.01)


async def test_a_new_generation_of_the_plan_keeps_the_warm_connections():
    async with serving(honest(lambda _: Answer(200))) as (server, port):
        there = there_at(port)
        asker = Asker(there)
        await asker.peers.get(there, "/", timeout=5)
        asker.peers.follow(plan(there, member(9, "uid-new"), generation=2))
        await asker.peers.get(there, "/", timeout=5)
        assert len(asker.dialled) == 1
        assert server.counters.open_connections == 1
        await asker.peers.close()


async def test_get_is_bounded_in_size_and_in_time():
    async def drip(peer, head, writer):
        if b"/large" in head:
            writer.write(answer(b"", length=1000))
            return
        writer.write(answer(b"", length=100))
        for _ in range(100):
            writer.write(b"x")
            await asyncio.sleep(0.02)

    async with scripted(drip) as (_, there):
        asker = Asker(there)
        with pytest.raises(PeerLied, match="at most 10"):
            await asker.peers.get(there, "/large", timeout=5, limit=10)
        with pytest.raises(PeerUnavailable, match="in full"):
            await asker.peers.get(there, "/slow", timeout=0.2)


async def test_an_answer_that_never_has_a_body_needs_no_length():
    async with serving(honest(lambda _: Answer(304))) as (_, port):
        asker = Asker(there_at(port))
        for _ in range(2):
            status, _, body = await asker.peers.get(there_at(port), "/v1/summary", timeout=5)
            assert (status, body) == (304, b"")
        assert len(asker.dialled) == 1
        await asker.peers.close()


async def test_a_probe_tells_whether_a_member_answers_and_leaves_nothing_open():
    async with serving(honest(lambda _: Answer(200))) as (server, port):
        asker = Asker(there_at(port))
        await asker.peers.probe(there_at(port), seconds=5)
        async with asyncio.timeout(5):
            while server.counters.open_connections:  # noqa: ASYNC110 - a counter has no event
                await asyncio.sleep(0.01)
    with pytest.raises(PeerUnavailable):
        await asker.peers.probe(there_at(port), seconds=1)


async def test_a_catalog_is_written_to_the_file_in_blocks(tmp_path):
    catalog = os.urandom((3 << 20) + 17)

    async def send(peer, head, writer):
        writer.write(
            answer(catalog) if b"whole" in head else answer(catalog[:-1], length=len(catalog))
        )
        if b"short" in head:
            writer.close()

    async with scripted(send) as (_, there):
        asker = Asker(there)
        with (tmp_path / "whole").open("wb") as file:
            length = await asker.peers.download(there, "/whole", file.fileno(), stall=5)
        with (tmp_path / "short").open("wb") as file, pytest.raises(PeerUnavailable):
            await asker.peers.download(there, "/short", file.fileno(), stall=5)

    assert length == len(catalog)
    assert (tmp_path / "whole").read_bytes() == catalog
