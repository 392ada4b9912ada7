"""The line's budget and the room for flights."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.agent.line import DEMAND, PREWARM, Line, share_of
from runtime.agent.planview import PlanView
from runtime.agent.room import Room
from runtime.contract.plan import Member, Plan


async def test_bytes_pass_at_the_rate():
    line = Line()
    line.set_rate(10 << 20)
    started = time.monotonic()
    for _ in range(8):
        await line.take(512 << 10, DEMAND)

    assert time.monotonic() - started >= 0.25


async def test_a_reader_goes_before_a_prewarm_that_waits():
    line = Line()
    line.set_rate(10 << 20)
    await line.take(1 << 20, PREWARM)
    order: list[int] = []

    async def take(priority: int) -> None:
        await line.take(512 << 10, priority)
        order.append(priority)

    async with asyncio.TaskGroup() as group:
        for priority in (PREWARM, PREWARM, PREWARM, DEMAND):
            group.create_task(take(priority))
            await asyncio.sleep(0)

    assert order.index(DEMAND) <= 1


async def test_one_that_gives_up_waiting_lets_the_next_pass():
    line = Line()
    line.set_rate(1 << 20)
    await line.take(1 << 20, DEMAND)
    first = asyncio.create_task(line.take(1, DEMAND))
    second = asyncio.create_task(line.take(1, DEMAND))
    await asyncio.sleep(0)
    first.cancel()

    await asyncio.wait_for(second, 5)


@pytest.mark.parametrize("rate", [100 << 20, 0])
async def test_who_waits_passes_as_soon_as_the_budget_allows_it(rate):
    line = Line()
    line.set_rate(1)
    waiting = asyncio.create_task(line.take(1 << 20, DEMAND))
    behind = asyncio.create_task(line.take(1, PREWARM))
    await asyncio.sleep(0)

    line.set_rate(rate)

    await asyncio.wait_for(asyncio.gather(waiting, behind), 60)


def view(budget: int, weights: list[float], me: int = 0) -> PlanView:
    members = tuple(
        Member(f"n{i}", f"n{i}", "a", 1, weight=weight, role="cache" if weight else "client")
        for i, weight in enumerate(weights)
    )
    plan = Plan(1, "s/r", "Dedicated", "Distributed", "d", members, line_bytes_per_second=budget)
    return PlanView(plan, f"n{me}")


@pytest.mark.parametrize(("weights", "share"), [([1.0, 1.0], 500.0), ([1.0, 3.0], 250.0)])
def test_a_domain_s_budget_is_shared_by_weight_among_owners(weights, share):
    assert share_of(view(1000, weights)) == share


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=2, max_size=8))
def test_all_shares_together_are_the_budget(weights):
    shares = [share_of(view(1000, weights, me)) for me in range(len(weights))]

    assert sum(shares) == pytest.approx(1000)
    assert min(shares) > 0


def test_no_budget_is_no_limit():
    assert share_of(view(0, [1.0, 1.0])) == 0


@given(st.lists(st.integers(1, 150), min_size=1, max_size=30))
def test_room_is_never_passed_but_by_one_unit_alone(sizes):
    async def use() -> None:
        room = Room(100)
        inside: list[int] = []

        async def one(size: int) -> None:
            await room.enter(size)
            inside.append(size)
            assert sum(inside) <= 100 or inside == [size]
            await asyncio.sleep(0)
            inside.remove(size)
            room.leave(size)

        await asyncio.gather(*(one(size) for size in sizes))
        assert not inside

    asyncio.run(use())


async def test_one_that_gives_up_waiting_for_room_leaves_it_to_others():
    room = Room(10)
    await room.enter(10)
    waiting = asyncio.create_task(room.enter(10))
    other = asyncio.create_task(room.enter(5))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0)
    room.leave(10)

    await asyncio.wait_for(other, 1)
