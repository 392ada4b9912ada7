"""What a runtime says of its agents' tiers and of what hinders them."""

from __future__ import annotations

import pytest

from cache_ctl.api.kinds import CACHE_RUNTIME
from tests.support.control_world import control_world
from tests.support.objects import cloud_node, runtime


@pytest.fixture
async def world():
    async with control_world() as made:
        await made.apply(cloud_node(1), cloud_node(2), runtime())
        yield made


def tier(state="Normal", message=""):
    return {
        "medium": "SSD",
        "path": "/t",
        "quota": 10,
        "used": 0,
        "state": state,
        "message": message,
    }


async def tiers_usable(world, *tiers):
    """Let both agents report, the second with these tiers; return the condition."""
    await world.report("cloud-1", tiers=[tier()])
    await world.report("cloud-2", tiers=list(tiers))
    await world.run()
    return await world.condition(CACHE_RUNTIME, "edge", "TiersUsable")


async def test_before_any_report_nothing_is_said_of_tiers(world):
    found = await world.condition(CACHE_RUNTIME, "edge", "TiersUsable")
    assert found == ("Unknown", "AgentsNotReady")


@pytest.mark.parametrize(
    ("tiers", "expected"),
    [
        ([tier()], ("True", "AllTiersUsable")),
        ([tier("Recovering", "/t: being looked at")], ("True", "AllTiersUsable")),
        ([tier(message="/t: too large")], ("False", "TierTooLarge")),
        ([tier("Full", "/t: full"), tier(message="/t: too large")], ("False", "TierFull")),
        ([tier("Full", "/t: full"), tier("Failed", "/t: broken")], ("False", "TierFailed")),
    ],
)
async def test_the_gravest_trouble_is_said_and_readiness_stays(world, tiers, expected):
    assert await tiers_usable(world, *tiers) == expected
    assert await world.condition(CACHE_RUNTIME, "edge", "Ready") == ("True", "RuntimeReady")


async def test_it_heals_with_the_next_report(world):
    await tiers_usable(world, tier("Failed", "/t: broken"))

    assert await tiers_usable(world, tier()) == ("True", "AllTiersUsable")


async def test_agents_that_cannot_do_all_of_their_plan_are_named(world):
    await world.report("cloud-1", tiers=[tier()])
    await world.report("cloud-2", tiers=[tier()], message="its port is taken")
    await world.run()

    found = await world.condition(CACHE_RUNTIME, "edge", "AgentsAvailable")
    assert found == ("False", "AgentsHindered")
    assert await world.condition(CACHE_RUNTIME, "edge", "Ready") == ("False", "AgentsHindered")


async def test_a_quota_below_one_chunk_is_refused(world):
    small = [{"medium": "SSD", "path": "/t", "quota": "4194303"}]
    await world.apply(runtime(tiers=small))
    assert await world.condition(CACHE_RUNTIME, "edge", "Ready") == ("False", "SpecInvalid")

    await world.apply(runtime(tiers=[{**small[0], "quota": "4Mi"}]))
    found = await world.condition(CACHE_RUNTIME, "edge", "TopologyBuilt")
    assert found == ("True", "PlansCurrent")
