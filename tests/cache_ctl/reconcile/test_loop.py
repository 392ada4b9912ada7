"""One loop per object: coalescing, backing off, never two passes at once."""

from __future__ import annotations

import asyncio
import logging

import pytest

from cache_ctl.reconcile.loop import Again, Gone, Loops, Pace
from tests.support.turned_clock import TurnedClock, quiet

KEY = ("space", "name")
PACE = Pace(resync=100.0, backoff_first=1.0, backoff_most=8.0)


class Passes:
    """Counts passes and ends them as told."""

    def __init__(self, clock):
        self.clock = clock
        self.times = []
        self.outcome = Again()
        self.error = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.running = 0

    async def __call__(self, key):
        assert self.running == 0, "two passes over one object at once"
        self.running += 1
        self.times.append(self.clock.monotonic() - 1000.0)
        await self.gate.wait()
        self.running -= 1
        if self.error is not None:
            raise self.error
        return self.outcome


@pytest.fixture
def clock():
    return TurnedClock()


@pytest.fixture
def passes(clock):
    return Passes(clock)


@pytest.fixture
async def loops(clock, passes):
    made = Loops("Thing", passes, clock=clock, pace=PACE, jitter=lambda: 1.0)
    yield made
    await made.close()


async def test_wakes_that_come_together_become_one_pass(loops, passes, clock):
    for _ in range(3):
        loops.wake(KEY, within=0.5)
    await clock.advance(1)

    assert passes.times == [0.5]


async def test_the_earliest_wake_decides(loops, passes, clock):
    loops.wake(KEY, within=5)
    loops.wake(KEY, within=1)
    await clock.advance(10)

    assert passes.times == [1.0]


async def test_a_wake_during_a_pass_brings_another(loops, passes, clock):
    passes.gate.clear()
    loops.wake(KEY)
    await quiet()
    loops.wake(KEY)
    loops.wake(KEY)
    passes.gate.set()
    await clock.advance(0)

    assert len(passes.times) == 2


async def test_objects_do_not_wait_for_each_other(loops, passes, clock):
    passes.gate.clear()
    loops.wake(KEY)
    await quiet()
    passes.running = 0
    loops.wake(("space", "other"))
    await quiet()

    assert len(passes.times) == 2


async def test_a_failing_object_backs_off_and_events_cannot_hurry_it(loops, passes, clock, caplog):
    passes.error = RuntimeError("the cluster is away")
    with caplog.at_level(logging.WARNING):
        loops.wake(KEY)
        for _ in range(40):
            await clock.advance(0.5)
            loops.wake(KEY)

    assert passes.times == [0.0, 1.0, 3.0, 7.0, 15.0]
    assert "the cluster is away" in caplog.text


async def test_after_a_success_the_backoff_begins_anew(loops, passes, clock):
    passes.error = RuntimeError("no")
    loops.wake(KEY)
    await clock.advance(3.5)
    passes.error = None
    await clock.advance(10)
    passes.error = RuntimeError("no")
    loops.wake(KEY)
    await clock.advance(1.5)

    assert passes.times == [0.0, 1.0, 3.0, 7.0, 13.5, 14.5]


async def test_a_pass_may_ask_for_the_next_one(loops, passes, clock):
    passes.outcome = Again(7.0)
    loops.wake(KEY)
    await clock.advance(20)

    assert passes.times == [0.0, 7.0, 14.0]


async def test_without_any_wake_an_object_is_looked_at_again(loops, passes, clock):
    loops.wake(KEY)
    await clock.advance(250)

    assert passes.times == [0.0, 100.0, 200.0]


async def test_the_loop_of_a_vanished_object_ends_and_can_begin_again(loops, passes, clock):
    passes.outcome = Gone()
    loops.wake(KEY)
    await clock.advance(500)
    assert passes.times == [0.0]
    assert not loops._slots

    loops.wake(KEY)
    await clock.advance(0)
    assert passes.times == [0.0, 500.0]


async def test_after_close_nothing_is_woken(loops, passes, clock):
    await loops.close()
    loops.wake(KEY)
    await clock.advance(1)

    assert passes.times == []


def test_jitter_spreads_the_backoff_between_half_and_whole():
    assert PACE.backoff(1, 0.0) == 0.5
    assert PACE.backoff(1, 1.0) == 1.0
    assert PACE.backoff(50, 1.0) == 8.0
