"""An agent that starts over full tiers: it serves while it looks, and fills when it knows."""

from __future__ import annotations

import asyncio

import pytest

from runtime.agent.prewarm import Prewarm
from runtime.agent.recovery import SLICE, recover
from runtime.contract.plan import PrewarmPlan
from runtime.store.store import Store
from tests.support.store import DATASET, KIB, an_object, fill, right, tier


@pytest.fixture
def store(tmp_path):
    plan = tier(tmp_path / "tier", 1 << 30)
    before = Store.open((plan,), boot_id="boot")
    for number in range(SLICE + 5):
        layout = an_object(number, cells=1, chunk=4 * KIB)
        assert fill(before, before.blob(layout, dataset=DATASET, policy="Epoch"))
    before.close(sync=False)
    store = Store.open((plan,), boot_id="boot", at_once=0)
    yield store
    store.close(sync=False)


async def test_all_is_found_while_readers_are_served(store):
    task = asyncio.create_task(recover(store))
    layout = an_object(SLICE + 4, cells=1, chunk=4 * KIB)
    assert right(store.blob(layout, dataset=DATASET, policy="Epoch"), 0)
    await task
    assert not store.recovering
    assert len(list(store.held())) == SLICE + 5


async def test_a_closed_store_ends_it(store):
    task = asyncio.create_task(recover(store))
    await asyncio.sleep(0)
    store.close(sync=False)
    await asyncio.wait_for(task, 10)


async def test_a_prewarm_waits_until_tiers_admit():
    ready, asked = asyncio.Event(), asyncio.Event()
    prewarm = Prewarm(
        PrewarmPlan("ns", "warm", "uid", DATASET),
        dataset=asked.set,
        fetcher=None,
        view=None,
        ready=ready.wait,
    )
    task = asyncio.create_task(prewarm.run())
    await asyncio.sleep(0.01)
    assert not asked.is_set()
    ready.set()
    await asyncio.wait_for(task, 10)
    assert asked.is_set()
