"""Whose waits count as an origin's slowness, and how every wait ends when the origin is closed."""

import asyncio
import contextlib
import random

import pytest

from runtime.contract.plan import MountPlan
from runtime.errors import OriginUnavailable
from runtime.origin.base import Timeouts, open_origin

KIB = 1 << 10
MIB = 1 << 20
DATA = random.Random(11).randbytes(4 * MIB)
STALL = 0.5
"""An origin may not take longer over an answer or a block; readers here take longer."""
HANG = 7
"""How long a stalled origin hangs; a wait that ends ``SOON`` has not sat it out."""
SOON = 6
PATIENT = Timeouts(stall_seconds=60, backoff_seconds=0.01)
MANIFEST = "manifest.jsonl"
CLOSED = "this origin was closed, as the plan changed"


@contextlib.asynccontextmanager
async def opened(url, *, manifest=MANIFEST, **timeouts):
    options = {"manifest": manifest} if manifest else {}
    patience = Timeouts(**timeouts) if timeouts else PATIENT
    client = open_origin(MountPlan("train", url, options=options), "Cloud", {}, timeouts=patience)
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
async def found(origin):
    (origin.root / "big").write_bytes(DATA)
    async with opened(origin.url) as client:
        [found] = await client.list()
    origin.heads()
    return found


def reading(client, found, start=0, stop=None):
    stop = found.size if stop is None else stop
    blocks = client.read(found.path, size=found.size, version=found.version, start=start, stop=stop)
    return contextlib.aclosing(blocks)


async def read(client, found, start=0, stop=None, *, pause=None):
    """Return a range's bytes, awaiting ``pause`` after each block."""
    got = []
    async with reading(client, found, start, stop) as blocks:
        async for block in blocks:
            got.append(bytes(block))
            if pause:
                await pause(len(block))
    return b"".join(got)


async def asked(origin, *, seconds=SOON):
    """Wait until the origin was asked for something."""
    async with asyncio.timeout(seconds):
        while not (heads := await asyncio.to_thread(origin.heads)):
            pass
    return heads


class TestSlowReaders:
    async def test_are_not_the_origins_fault_on_a_kept_connection_either(self, origin, found):
        async def pause(_):
            await asyncio.sleep(1.2 * STALL)

        async with opened(origin.url, stall_seconds=STALL, connections=1, tries=1) as client:
            assert await read(client, found) == DATA
            # The last block is one that filled the client's buffer, so that it had stopped reading
            # when the body ended: its timers are prone to run on then.
            for size in (800 * KIB, 840 * KIB, 880 * KIB, 920 * KIB):
                assert await read(client, found, 0, size, pause=pause) == DATA[:size]

    async def test_may_be_many_and_wait_long_for_a_connection(self, origin, found):
        line = asyncio.Lock()
        begun = asyncio.get_running_loop().time()

        async def budget(count):
            async with line:
                await asyncio.sleep(count / (16 * MIB))

        spans = [(n * 1000, n * 1000 + MIB // 2) for n in range(64)]
        async with opened(origin.url, stall_seconds=STALL, connections=4, tries=1) as client:
            results = await asyncio.gather(
                *(read(client, found, *span, pause=budget) for span in spans)
            )
        assert results == [DATA[start:stop] for start, stop in spans]
        assert asyncio.get_running_loop().time() - begun > 3 * STALL
        assert len(origin.heads()) == 64

    async def test_that_give_up_waiting_leave_the_connection_to_others(self, origin, found):
        async with opened(origin.url, stall_seconds=STALL, connections=1) as client:
            async with reading(client, found) as blocks:
                await anext(blocks)
                waiting = asyncio.create_task(read(client, found, 0, 10))
                await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.wait([waiting])
            assert waiting.cancelled()
            async with asyncio.timeout(SOON):
                assert await read(client, found, 0, 10) == DATA[:10]


class TestSlowOrigins:
    @pytest.mark.parametrize(
        ("kind", "manifest"), [("stall", ""), ("stall", "list.json"), ("pause", "list.json")]
    )
    async def test_are_given_up_in_listings_too(self, origin, found, kind, manifest):
        (origin.root / "list.json").write_text('[{"path": "big"}]' + " " * 1000)
        origin.fault(kind, seconds=HANG)
        async with opened(origin.url, manifest=manifest, stall_seconds=STALL) as client:
            with pytest.raises(OriginUnavailable, match="in time"):
                async with asyncio.timeout(SOON):
                    await client.list()

    async def test_are_given_up_on_a_kept_connection(self, origin, found):
        async with opened(origin.url, stall_seconds=STALL, connections=1) as client:
            await read(client, found)
            origin.fault("pause", seconds=HANG)
            with pytest.raises(OriginUnavailable, match="in time"):
                async with asyncio.timeout(SOON):
                    await read(client, found)


class TestClosedOrigins:
    @pytest.mark.parametrize("used", [False, True])
    @pytest.mark.parametrize("manifest", [MANIFEST, ""])
    async def test_refuse_and_ask_nothing(self, origin, found, manifest, used):
        async with opened(origin.url, manifest=manifest) as client:
            if used:
                await read(client, found, 0, 10)
        origin.heads()
        with pytest.raises(OriginUnavailable, match=CLOSED):
            await read(client, found)
        with pytest.raises(OriginUnavailable, match=CLOSED):
            await client.list()
        assert origin.heads() == []

    async def test_may_be_closed_twice(self, origin, found):
        async with opened(origin.url) as client:
            await read(client, found, 0, 10)
            await client.close()

    async def test_end_reads_that_wait_for_an_answer(self, origin, found):
        origin.fault("stall", seconds=HANG)
        async with opened(origin.url) as client:
            task = asyncio.create_task(read(client, found))
            await asked(origin)
        await ends_closed(task, origin)

    async def test_end_reads_that_wait_for_more_of_a_body(self, origin, found):
        origin.fault("pause", seconds=HANG)
        come = 0

        async def note(count):
            nonlocal come
            come += count
            if come == len(DATA) // 2:
                half.set()

        half = asyncio.Event()
        async with opened(origin.url) as client:
            task = asyncio.create_task(read(client, found, pause=note))
            await asyncio.wait_for(half.wait(), SOON)
            origin.heads()
        await ends_closed(task, origin)

    async def test_end_reads_that_wait_for_a_connection(self, origin, found):
        async with (
            opened(origin.url, connections=1, stall_seconds=60) as client,
            reading(client, found) as blocks,
        ):
            await anext(blocks)
            task = asyncio.create_task(read(client, found))
            origin.heads()
            await asyncio.sleep(0)
            await client.close()
            await ends_closed(task, origin)

    async def test_end_reads_whose_reader_pauses(self, origin, found):
        async with opened(origin.url) as client, reading(client, found) as blocks:
            await anext(blocks)
            origin.heads()
            await client.close()
            with pytest.raises(OriginUnavailable, match=CLOSED):
                await anext(blocks)
        assert origin.heads() == []

    async def test_end_reads_that_are_about_to_try_again(self, origin, found):
        origin.fault("status", status=503)
        async with opened(origin.url, backoff_seconds=0.2, tries=10) as client:
            task = asyncio.create_task(read(client, found))
            await asked(origin)
            await asyncio.sleep(0.05)  # the answer is here, the pause has begun
        await ends_closed(task, origin)

    @pytest.mark.parametrize("manifest", [MANIFEST, ""])
    async def test_end_listings(self, origin, found, manifest):
        origin.fault("stall", seconds=HANG)
        async with opened(origin.url, manifest=manifest) as client:
            task = asyncio.create_task(client.list())
            await asked(origin)
        await ends_closed(task, origin)


async def ends_closed(task, origin):
    with pytest.raises(OriginUnavailable, match=CLOSED):
        async with asyncio.timeout(SOON):
            await task
    assert origin.heads() == []
