"""What is announced: made beside the event loop, and only when the store has changed."""

from __future__ import annotations

import asyncio
import threading

import pytest

from runtime.agent import holdings as holdings_module
from runtime.agent.holdings import Holdings
from runtime.contract.units import Unit
from runtime.store.store import Store
from tests.support.store import DATASET, MIB, an_object, fill, tier


class Watched(Store):
    """A store that tells when it is asked what it holds, and may keep the asker waiting."""

    asked: asyncio.Semaphore
    gate: threading.Event

    def held(self):
        loop.call_soon_threadsafe(self.asked.release)
        self.gate.wait(10)
        return super().held()


loop: asyncio.AbstractEventLoop


@pytest.fixture(name="store")
async def _store(tmp_path, monkeypatch):
    global loop  # noqa: PLW0603 - of the one test that runs
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(holdings_module, "EVERY_SECONDS", 0.01)
    store = Watched.open((tier(tmp_path / "tier", 8 * MIB),), boot_id="boot")
    store.asked, store.gate = asyncio.Semaphore(0), threading.Event()
    store.gate.set()
    yield store
    store.close(sync=False)


@pytest.fixture(name="holdings")
async def _holdings(store):
    holdings = Holdings(store)
    task = asyncio.create_task(holdings.run())
    yield holdings
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def put(store: Store, number: int) -> str:
    layout = an_object(number)
    assert fill(store, store.blob(layout, dataset=DATASET, policy="Epoch"))
    return str(Unit(layout.key, 0))


async def newer(holdings: Holdings, version: int):
    async with asyncio.timeout(10):
        while holdings.summary().version == version:  # noqa: ASYNC110 - a version has no event
            await asyncio.sleep(0.005)
    return holdings.summary()


async def test_what_comes_is_announced_under_a_new_version(store, holdings):
    empty = await newer(holdings, holdings.summary().version)
    unit = put(store, 1)
    assert unit not in empty
    summary = await newer(holdings, empty.version)
    assert unit in summary
    assert summary.version > empty.version


async def test_the_last_summary_is_given_at_once_while_the_next_is_made(store, holdings):
    before = await newer(holdings, holdings.summary().version)
    await store.asked.acquire()
    store.gate.clear()
    unit = put(store, 1)
    await asyncio.wait_for(store.asked.acquire(), 10)

    assert holdings.summary() is before

    store.gate.set()
    assert unit in await newer(holdings, before.version)


async def test_a_quiet_store_is_not_asked(store, holdings):
    before = await newer(holdings, holdings.summary().version)
    await store.asked.acquire()
    await asyncio.sleep(0.1)
    assert store.asked.locked()
    assert holdings.summary() is before


async def test_an_agent_that_starts_anew_does_not_repeat_versions(store):
    assert Holdings(store).summary().version != Holdings(store).summary().version


async def until(condition) -> None:
    """Wait until a condition that another thread makes true holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the thread tells nobody
            await asyncio.sleep(0.01)


async def test_a_unit_that_was_being_written_when_the_summary_was_made_is_announced_later(store):
    holdings = Holdings(store)
    task = asyncio.create_task(holdings.run())
    layout = an_object(7, cells=1)
    name = str(Unit(layout.key, 0))
    blob = store.blob(layout, dataset=DATASET, policy="Epoch")
    with store.reserve(blob, [0], spare=False) as reservation:
        before = holdings.summary().version
        await until(lambda: holdings.summary().version != before)
        assert name not in holdings.summary()
        reservation.write(0, bytes(layout.size))
        assert reservation.commit()

    await until(lambda: name in holdings.summary())
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
