"""A Dataset's status: what its runtime's agents made of it."""

from __future__ import annotations

import pytest

from cache_ctl.api.kinds import CACHE_RUNTIME, DATASET
from cache_ctl.reconcile.dataset_decision import STARTING_SECONDS
from tests.support.control_world import control_world
from tests.support.objects import SPACE, cloud_node, dataset, edge_node, pool, runtime

REF = f"{SPACE}/images"
WHOLE = 900


@pytest.fixture
async def world():
    async with control_world() as made:
        await made.apply(
            cloud_node(1),
            cloud_node(2),
            pool("east", "private"),
            edge_node("east", 1),
            edge_node("east", 2),
            pool("stores", "basic"),
            edge_node("stores", 1),
            edge_node("stores", 2),
            runtime(),
            dataset(),
        )
        yield made


def share(**numbers):
    return {"dataset": REF, "snapshot": "s1", "files": 9, "bytes": WHOLE, **numbers}


async def all_report(world, **shares):
    """Let every agent report; ``shares`` by node with underscores for hyphens."""
    for name in await world.workers():
        numbers = shares.get(name.replace("-", "_"), {})
        await world.report(name, datasets=[share(**numbers)])
    await world.run()


async def condition(world, kind):
    return await world.condition(DATASET, "images", kind)


async def test_before_any_report_nothing_is_claimed(world):
    assert await condition(world, "Ready") == ("False", "SnapshotPending")
    assert await condition(world, "SnapshotTaken") == ("False", "SnapshotPending")
    assert await condition(world, "Placed") == ("False", "AgentsBehindPlan")
    assert await condition(world, "Warm") == ("Unknown", "SnapshotPending")


async def test_when_all_agents_have_the_snapshot_it_is_taken_and_shown(world):
    await all_report(world)

    status = await world.status(DATASET, "images")
    assert await condition(world, "SnapshotTaken") == ("True", "SnapshotCurrent")
    assert await condition(world, "Placed") == ("True", "AgentsFollowPlan")
    assert await condition(world, "Ready") == ("True", "DatasetReady")
    assert await condition(world, "Warm") == ("False", "PartlyCached")
    snapshot = status["snapshot"]
    assert (snapshot["id"], snapshot["files"], snapshot["bytes"]) == ("s1", 9, WHOLE)
    assert snapshot["takenAt"].endswith("Z")


async def test_a_domain_keeps_one_copy_and_each_basic_node_its_own(world):
    await all_report(
        world,
        cloud_1={"ownedBytes": 400, "spareBytes": 300, "originBytes": 400, "peerBytes": 300},
        cloud_2={"ownedBytes": 500, "originBytes": 500},
        east_1={"ownedBytes": 450, "originBytes": 450, "peerBytes": 200},
        stores_1={"ownedBytes": WHOLE, "originBytes": WHOLE},
    )

    status = await world.status(DATASET, "images")
    rows = {row["name"]: row for row in status["domains"]}
    assert set(rows) == {"cn-hangzhou", "pool:east", "local-basic"}
    assert rows["cn-hangzhou"]["cachedPercent"] == 100
    assert rows["pool:east"]["cachedPercent"] == 50
    assert (rows["local-basic"]["nodes"], rows["local-basic"]["cachedPercent"]) == (2, 50)
    assert rows["local-basic"]["mode"] == "LocalOnly"
    assert status["originBytes"] == 400 + 500 + 450 + WHOLE
    assert status["lineBytesSaved"] == 200
    assert status["hitRatio"] == f"{100 * 500 // (500 + 400 + 500 + 450)}%"
    assert status["cached"] == {"bytes": 900 + 450 + 900, "percent": 100 * 2250 // 3600}


async def test_it_is_warm_when_every_distributed_domain_holds_all(world):
    await all_report(
        world,
        cloud_1={"ownedBytes": 400},
        cloud_2={"ownedBytes": 500},
        east_1={"ownedBytes": WHOLE},
    )

    assert await condition(world, "Warm") == ("True", "AllBytesCached")


async def test_an_agents_error_is_shown_with_its_node(world):
    await all_report(world)
    await world.report("stores-1", datasets=[share(error="the endpoint refuses the key")])
    await world.run()

    assert await condition(world, "SnapshotTaken") == ("False", "SnapshotFailed")
    status = await world.status(DATASET, "images")
    message = next(c["message"] for c in status["conditions"] if c["type"] == "SnapshotTaken")
    assert "stores-1: the endpoint refuses the key" in message
    assert await condition(world, "Ready") == ("True", "DatasetReady")


async def test_an_agent_behind_its_plan_is_named(world):
    await all_report(world)
    await world.report("east-2", datasets=[share()], planGeneration=0)
    await world.run()

    assert await condition(world, "Placed") == ("False", "AgentsBehindPlan")


async def test_a_missing_runtime_is_said_and_forgotten_when_it_comes(world):
    other = dataset("other", runtimeRef={"name": "nowhere"})
    await world.apply(other)
    assert await world.condition(DATASET, "other", "Ready") == ("False", "RuntimeMissing")

    await world.apply(runtime("nowhere"))
    assert (await world.condition(DATASET, "other", "Ready"))[1] != "RuntimeMissing"


async def test_another_namespace_needs_the_runtimes_leave(world):
    await world.apply(dataset("guest", namespace="training"))
    denied = await world.condition(DATASET, "guest", "Ready", "training")
    refs = [d.ref for plan in (await world.plans()).values() for d in plan.datasets]
    await world.apply(runtime(allowedNamespaces={"from": "All"}))
    allowed = await world.condition(DATASET, "guest", "Ready", "training")

    assert denied == ("False", "NamespaceNotAllowed")
    assert "training/guest" not in refs
    assert allowed[1] != "NamespaceNotAllowed"
    for plan in (await world.plans()).values():
        assert "training/guest" in [item.ref for item in plan.datasets]


async def test_a_selector_lets_in_namespaces_by_their_labels(world):
    selector = {"matchLabels": {"team": "vision"}}
    spec = runtime(allowedNamespaces={"from": "Selector", "selector": selector})
    await world.apply(spec, dataset("guest", namespace="training"))
    before = await world.condition(DATASET, "guest", "Ready", "training")
    labels = {"team": "vision"}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "training"}}
    space["metadata"]["labels"] = labels
    await world.apply(space)
    after = await world.condition(DATASET, "guest", "Ready", "training")

    assert before[1] == "NamespaceNotAllowed"
    assert after[1] != "NamespaceNotAllowed"


async def test_events_tell_of_flips_only(world):
    await all_report(world)
    await all_report(world, cloud_1={"ownedBytes": 1})
    await all_report(world, cloud_1={"ownedBytes": 2})

    told = [item for item in await world.reasons() if item.startswith("Dataset:")]
    assert sorted(told) == [
        "Dataset:DatasetReady",
        "Dataset:SnapshotCurrent",
    ]


async def test_a_cause_that_two_conditions_name_is_told_once(world):
    await world.apply(dataset("other", runtimeRef={"name": "nowhere"}))

    told = [item for item in await world.reasons() if item == "Dataset:RuntimeMissing"]
    assert len(told) == 1


async def test_the_transition_time_moves_on_flips_only(world):
    async def times():
        status = await world.status(DATASET, "images")
        return {item["type"]: item["lastTransitionTime"] for item in status["conditions"]}

    await all_report(world)
    first = await times()
    await world.run(60)
    await all_report(
        world,
        cloud_1={"ownedBytes": 900},
        east_1={"ownedBytes": 900},
    )
    second = await times()

    assert second["Ready"] == first["Ready"]
    assert second["Warm"] > first["Warm"]


async def test_a_deleted_runtime_is_missing(world):
    await all_report(world)
    await world.delete(CACHE_RUNTIME, "edge", SPACE)

    assert await condition(world, "Ready") == ("False", "RuntimeMissing")


async def said(world, kind):
    status = await world.status(DATASET, "images")
    return next(item["message"] for item in status["conditions"] if item["type"] == kind)


async def test_what_an_agent_cannot_list_is_said_by_its_own_reason(world):
    trouble = {"snapshot": "", "reason": "OriginRefused", "error": "the origin answers 403"}
    await world.report("stores-1", datasets=[share(**trouble)])
    await world.run()

    assert await condition(world, "SnapshotTaken") == ("False", "OriginRefused")
    assert await condition(world, "OriginReachable") == ("False", "OriginRefused")
    assert await condition(world, "Ready") == ("False", "OriginRefused")
    assert "stores-1: the origin answers 403" in await said(world, "OriginReachable")


async def test_fetches_that_fail_leave_the_snapshot_and_readiness_alone(world):
    failing = {"originReason": "OriginUnreachable", "originError": "no connection"}
    await all_report(world, east_1=failing)

    assert await condition(world, "OriginReachable") == ("False", "OriginUnreachable")
    assert "1 of 6 agents cannot fetch; east-1: no connection" in await said(
        world, "OriginReachable"
    )
    assert await condition(world, "SnapshotTaken") == ("True", "SnapshotCurrent")
    assert await condition(world, "Ready") == ("True", "DatasetReady")

    await all_report(world)
    assert await condition(world, "OriginReachable") == ("True", "OriginAnswers")


async def test_agents_that_are_all_down_are_the_reason_and_not_their_old_snapshot(world):
    await all_report(world)
    for name in await world.workers():
        await world.report(name, ready=False, message="the disk is gone", datasets=[share()])
    await world.run()

    assert await condition(world, "Ready") == ("False", "AgentsNotReady")
    assert "cloud-1 (the disk is gone)" in await said(world, "Ready")


@pytest.mark.parametrize(
    ("quota", "expected"),
    [(WHOLE // 2, "PartlyCached"), (WHOLE // 2 - 1, "TiersTooSmall")],
)
async def test_a_dataset_larger_than_its_domain_s_tiers_is_said(world, quota, expected):
    for name in await world.workers():
        size = quota if name.startswith("cloud") else WHOLE
        tier = {"medium": "SSD", "path": "/t", "quota": size, "used": 0, "state": "Normal"}
        await world.report(name, datasets=[share()], tiers=[tier])
    await world.run()

    assert await condition(world, "Warm") == ("False", expected)
    assert ("cn-hangzhou: the tiers hold" in await said(world, "Warm")) == (
        expected == "TiersTooSmall"
    )


async def test_the_first_readers_wait_for_every_agent_that_is_about_to_serve(world):
    names = sorted(await world.workers())
    for name in names[:-2]:
        await world.report(name, datasets=[share()])
    await world.report(names[-2], ready=False, datasets=[share(snapshot="")])
    await world.run()
    waiting = await condition(world, "Ready")
    await world.report(names[-2], datasets=[share()])
    await world.run()
    silent = await condition(world, "Ready")
    await world.run(STARTING_SECONDS)

    assert waiting == ("False", "SnapshotPending")
    assert silent == ("False", "SnapshotPending")
    assert await condition(world, "Ready") == ("True", "DatasetReady")


async def test_an_agent_that_joins_takes_nothing_from_readers_that_are_there(world):
    await all_report(world)
    await world.apply(cloud_node(3))
    await world.report("cloud-3", ready=False, datasets=[share(snapshot="")])
    await world.run()

    assert await condition(world, "Ready") == ("True", "DatasetReady")


async def test_an_agent_that_says_why_it_has_none_is_not_waited_for(world):
    await all_report(world, stores_1={"snapshot": "", "error": "no way to the endpoint"})

    assert await condition(world, "Ready") == ("True", "DatasetReady")
