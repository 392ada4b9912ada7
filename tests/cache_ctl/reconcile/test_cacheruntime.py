"""What a CacheRuntime brings about: plans, assignments, labels, status."""

from __future__ import annotations

import pytest

from cache_ctl.api.kinds import (
    CACHE_RUNTIME,
    CACHE_WORKER,
    CONFIG_MAP,
    DATASET,
    NODE,
    NODE_POOL,
)
from cache_ctl.kube.cluster import ApplyConflict
from cache_ctl.kube.memory import MemoryCluster
from cache_ctl.reconcile.passes import Passes
from tests.support.control_world import ControlWorld, control_world
from tests.support.objects import (
    SPACE,
    cloud_node,
    dataset,
    edge_node,
    node,
    pool,
    prewarm,
    runtime,
)

CLOUD_PLAN = "edge.cn-hangzhou"
EAST_PLAN = "edge.pool.east"
BASIC_PLAN = "edge.local-basic"


@pytest.fixture
async def world():
    async with control_world() as made:
        await made.apply(
            cloud_node(1),
            cloud_node(2),
            pool("east", "private"),
            edge_node("east", 1),
            edge_node("east", 2),
            edge_node("east", 3),
            pool("stores", "basic"),
            edge_node("stores", 1),
            runtime(),
        )
        yield made


async def test_each_domain_gets_a_plan_and_basic_nodes_are_in_none(world):
    assert await world.members() == {
        CLOUD_PLAN: ["cloud-1", "cloud-2"],
        EAST_PLAN: ["east-1", "east-2", "east-3"],
        BASIC_PLAN: [],
    }


async def test_each_agent_is_told_its_plan_and_why(world):
    workers = await world.workers()

    assert workers["east-1"]["plan"] == EAST_PLAN
    assert workers["east-1"]["mode"] == "Distributed"
    assert workers["east-1"]["domain"] == "pool:east"
    assert workers["stores-1"]["plan"] == BASIC_PLAN
    assert workers["stores-1"]["mode"] == "LocalOnly"
    assert workers["stores-1"]["reason"] == "AckBasicPool"
    assert "domain" not in workers["stores-1"]


async def test_nodes_carry_two_labels_at_most(world):
    east = await world.get(NODE, "east-1")
    store = await world.get(NODE, "stores-1")

    def ours(body):
        labels = body["metadata"]["labels"].items()
        return {key: value for key, value in labels if key.startswith("cachectl.dev/")}

    assert ours(east) == {
        "cachectl.dev/network-class": "Dedicated",
        "cachectl.dev/network-domain": "pool.east",
    }
    assert ours(store) == {"cachectl.dev/network-class": "Basic"}


async def test_status_says_what_was_done(world):
    status = await world.status(CACHE_RUNTIME, "edge")

    assert status["planGeneration"] == 1
    assert status["replicas"] == 5
    assert status["selector"] == "cachectl.dev/runtime=edge"
    assert status["unclassifiedNodes"] == 0
    assert [(row["name"], row["mode"], row["nodes"]) for row in status["domains"]] == [
        ("cn-hangzhou", "Distributed", 2),
        ("local-basic", "LocalOnly", 1),
        ("pool:east", "Distributed", 3),
    ]
    assert await world.condition(CACHE_RUNTIME, "edge", "TopologyBuilt") == (
        "True",
        "PlansCurrent",
    )
    assert await world.condition(CACHE_RUNTIME, "edge", "AgentsAvailable") == (
        "False",
        "AgentsNotReady",
    )


async def test_the_runtime_is_ready_when_its_agents_are(world):
    for name in await world.workers():
        await world.report(name)
    await world.run()

    assert await world.condition(CACHE_RUNTIME, "edge", "AgentsAvailable") == (
        "True",
        "AllAgentsReady",
    )
    assert await world.condition(CACHE_RUNTIME, "edge", "Ready") == ("True", "RuntimeReady")


async def test_a_steady_state_writes_nothing(world):
    for name in await world.workers():
        await world.report(name)
    await world.run()
    before = world.cluster.writes

    await world.run(3 * 600)

    assert world.cluster.writes == before


async def test_a_heartbeat_of_a_node_brings_no_pass(world, monkeypatch):
    passes = []
    original = world.cluster.list

    async def counted(kind, **selection):
        passes.append(kind)
        return await original(kind, **selection)

    monkeypatch.setattr(world.cluster, "list", counted)
    body = await world.get(NODE, "east-1")
    body["status"]["conditions"][0]["lastHeartbeatTime"] = "2026-01-01T00:00:10Z"
    await world.cluster.apply_status(body, manager="kubelet")
    await world.run()

    assert CONFIG_MAP not in passes


async def test_a_node_that_joins_comes_into_its_domain_alone(world):
    before = await world.plans()
    await world.apply(edge_node("east", 4))
    after = await world.plans()

    assert [member.name for member in after[EAST_PLAN].members] == [
        "east-1",
        "east-2",
        "east-3",
        "east-4",
    ]
    assert after[EAST_PLAN].generation == before[EAST_PLAN].generation + 1
    assert after[CLOUD_PLAN] == before[CLOUD_PLAN]


async def test_a_node_that_leaves_is_out_of_its_plan_and_has_no_agent(world):
    await world.delete(NODE, "east-3")

    assert (await world.members())[EAST_PLAN] == ["east-1", "east-2"]
    assert "east-3" not in await world.workers()


async def test_the_last_peer_is_left_alone_with_a_reason(world):
    await world.delete(NODE, "cloud-2")

    assert CLOUD_PLAN not in await world.plans()
    assert (await world.workers())["cloud-1"]["reason"] == "SingleMember"


async def test_a_domain_that_comes_back_does_not_begin_below_its_last_generation(world):
    await world.delete(NODE, "cloud-2")
    await world.apply(cloud_node(2))

    plans = await world.plans()
    assert plans[CLOUD_PLAN].generation > 1


async def test_a_node_that_turns_basic_is_out_of_every_plan_in_one_pass(world):
    basic = {"cachectl.dev/network-class": "basic"}
    await world.cluster.apply(edge_node("east", 2, annotations=basic), manager="owner")
    await world.run(0.1)

    assert all("east-2" not in members for members in (await world.members()).values())
    worker = (await world.workers())["east-2"]
    assert (worker["networkClass"], worker["mode"]) == ("Basic", "LocalOnly")
    labels = (await world.get(NODE, "east-2"))["metadata"]["labels"]
    assert labels["cachectl.dev/network-class"] == "Basic"
    assert "cachectl.dev/network-domain" not in labels
    assert "Node:NetworkClassChanged" in await world.reasons()


async def test_a_node_that_turns_dedicated_peers_after_its_evidence_has_held(world):
    await world.apply(edge_node("stores", 1, labels={"alibabacloud.com/nodepool-id": "east"}))
    await world.run(57)
    assert "stores-1" not in (await world.members())[EAST_PLAN]

    await world.run(3)
    assert "stores-1" in (await world.members())[EAST_PLAN]


async def test_a_pool_that_vanishes_leaves_its_nodes_alone(world):
    await world.delete(NODE_POOL, "east")

    assert EAST_PLAN not in await world.plans()
    workers = await world.workers()
    assert {workers[f"east-{n}"]["networkClass"] for n in (1, 2, 3)} == {"Basic"}


async def test_an_unmarked_node_counts_as_unclassified(world):
    await world.apply(node("visitor", "10.9.9.9"))

    status = await world.status(CACHE_RUNTIME, "edge")
    assert status["unclassifiedNodes"] == 1
    assert "visitor" in str(status["conditions"])
    assert (await world.workers())["visitor"]["mode"] == "LocalOnly"


async def test_nodes_are_selected_by_label_and_taint(world):
    spec = runtime(nodes={"selector": {"matchLabels": {"cache": "yes"}}})
    await world.apply(
        spec,
        cloud_node(3, labels={"cache": "yes"}),
        cloud_node(4, labels={"cache": "yes"}),
        cloud_node(5, labels={"cache": "yes"}, taints=[{"key": "gpu", "effect": "NoSchedule"}]),
    )

    assert await world.members() == {CLOUD_PLAN: ["cloud-3", "cloud-4"]}
    assert set(await world.workers()) == {"cloud-3", "cloud-4"}
    labels = (await world.get(NODE, "east-1"))["metadata"]["labels"]
    assert "cachectl.dev/network-class" not in labels


async def test_a_node_has_one_agent_though_two_runtimes_select_it(world):
    await world.apply(runtime("second"))

    owners = {spec["runtimeRef"]["name"] for spec in (await world.workers()).values()}
    assert owners == {"edge"}
    assert await world.condition(CACHE_RUNTIME, "second", "TopologyBuilt") == (
        "False",
        "NoNodesSelected",
    )


async def test_when_the_older_runtime_goes_the_other_one_takes_over(world):
    await world.apply(runtime("second"))
    await world.delete(CACHE_RUNTIME, "edge", SPACE)

    owners = {spec["runtimeRef"]["name"] for spec in (await world.workers()).values()}
    assert owners == {"second"}
    assert set(await world.plans()) == {
        name.replace("edge", "second", 1) for name in (CLOUD_PLAN, EAST_PLAN, BASIC_PLAN)
    }


async def test_replicas_spread_the_role_cache_over_domains(world):
    await world.apply(runtime(replicas=2))

    plans = await world.plans()
    roles = {
        name: [member.role for member in plan.members].count("cache")
        for name, plan in plans.items()
        if plan.members
    }
    assert roles == {CLOUD_PLAN: 1, EAST_PLAN: 1}
    assert (await world.status(CACHE_RUNTIME, "edge"))["replicas"] == 2


async def test_three_quick_edits_end_in_the_last_spec(world):
    generation = (await world.plans())[EAST_PLAN].generation
    for quota in ("1Gi", "2Gi", "3Gi"):
        tier = {"medium": "SSD", "path": "/x", "quota": quota}
        await world.cluster.apply(runtime(tiers=[tier]), manager="owner")
    await world.run()

    plan = (await world.plans())[EAST_PLAN]
    assert [tier.quota for tier in plan.tiers] == [3 << 30]
    assert plan.generation == generation + 1


async def test_the_line_budget_is_the_pools_and_that_of_basic_nodes_their_own(world):
    bandwidth = {"perDomainLine": "80Mbit", "perBasicNode": "8Mbit"}
    await world.apply(runtime(bandwidth=bandwidth))

    plans = await world.plans()
    assert plans[EAST_PLAN].line_bytes_per_second == 10_000_000
    assert plans[BASIC_PLAN].line_bytes_per_second == 1_000_000
    assert plans[CLOUD_PLAN].line_bytes_per_second == 0


async def test_datasets_come_into_every_plan_without_their_secrets(world):
    mount = {
        "name": "train",
        "path": "/",
        "source": "oss://bucket/train",
        "endpoints": {"basic": "https://public"},
        "secretRef": {"name": "oss"},
    }
    await world.apply(
        dataset(
            mounts=[mount],
            refresh={"policy": "Interval", "intervalSeconds": 60},
            replicasPerDomain=2,
            localOnly={"policy": "Refuse"},
        )
    )

    for plan in (await world.plans()).values():
        (found,) = plan.datasets
        assert found.ref == f"{SPACE}/images"
        assert found.mounts[0].name == ""
        assert found.mounts[0].secret == f"{SPACE}.oss"
        assert found.mounts[0].endpoints.basic == "https://public"
        assert (found.refresh_seconds, found.copies, found.local_only) == (60, 2, "Refuse")


async def test_only_a_change_of_sources_or_the_annotation_asks_for_a_snapshot(world):
    async def request():
        return (await world.plans())[EAST_PLAN].datasets[0].snapshot_request

    await world.apply(dataset())
    first = await request()
    await world.apply(dataset(cachePolicy="Serving"))
    assert await request() == first

    body = dataset()
    body["metadata"]["annotations"] = {"cachectl.dev/refresh": "now"}
    await world.apply(body)
    asked = await request()
    assert asked != first

    await world.apply(dataset(mounts=[{"name": "train", "source": "oss://other/train"}]))
    assert await request() not in (first, asked)


async def test_a_dataset_that_goes_leaves_the_plans(world):
    await world.apply(dataset())
    await world.delete(DATASET, "images", SPACE)

    assert all(plan.datasets == () for plan in (await world.plans()).values())


async def test_prewarms_come_into_the_plans_they_target(world):
    await world.apply(dataset(), prewarm(target={"networkClasses": ["Dedicated", "Basic"]}))
    without = {name: len(plan.prewarms) for name, plan in (await world.plans()).items()}
    await world.apply(
        prewarm(target={"networkClasses": ["Dedicated", "Basic"]}, includeLocalOnly=True)
    )
    with_local = {name: len(plan.prewarms) for name, plan in (await world.plans()).items()}

    assert without == {CLOUD_PLAN: 0, EAST_PLAN: 1, BASIC_PLAN: 0}
    assert with_local == {CLOUD_PLAN: 0, EAST_PLAN: 1, BASIC_PLAN: 1}


async def test_a_plan_that_someone_deletes_or_edits_is_put_right(world):
    await world.delete(CONFIG_MAP, EAST_PLAN, SPACE)
    assert EAST_PLAN in await world.plans()

    broken = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": EAST_PLAN, "namespace": SPACE},
        "data": {"plan.json": "not a plan"},
    }
    await world.apply(broken)
    assert (await world.members())[EAST_PLAN] == ["east-1", "east-2", "east-3"]


async def test_a_deleted_runtime_takes_everything_with_it(world):
    await world.delete(CACHE_RUNTIME, "edge", SPACE)

    assert await world.cluster.get(CACHE_RUNTIME, "edge", SPACE) is None
    assert await world.plans() == {}
    assert await world.workers() == {}
    labels = (await world.get(NODE, "east-1"))["metadata"]["labels"]
    assert not [key for key in labels if key.startswith("cachectl.dev/")]


async def test_a_spec_that_cannot_be_read_keeps_the_last_plans_in_force(world):
    before = await world.plans()
    tier = {"medium": "SSD", "path": "/x", "quota": "1.3"}
    await world.apply(runtime(tiers=[tier]))

    assert await world.plans() == before
    assert await world.condition(CACHE_RUNTIME, "edge", "Ready") == ("False", "SpecInvalid")


async def test_a_node_that_is_away_keeps_its_place_for_its_grace(world):
    await world.apply(edge_node("east", 3, ready=False))
    assert "east-3" in (await world.members())[EAST_PLAN]

    await world.run(15 * 60)
    assert "east-3" not in (await world.members())[EAST_PLAN]
    assert (await world.workers())["east-3"]["reason"] == "NodeNotReady"


async def test_agents_of_absent_nodes_are_not_waited_for(world):
    await world.apply(edge_node("east", 3, ready=False))
    for name in await world.workers():
        if name != "east-3":
            await world.report(name)
    await world.run()

    assert (await world.condition(CACHE_RUNTIME, "edge", "Ready"))[0] == "True"


class FailingCluster(MemoryCluster):
    """A cluster that refuses plans for a while."""

    failing = True
    attempts = 0

    async def apply(self, body, *, manager, force=True):
        if body["kind"] == "ConfigMap":
            self.attempts += 1
            if self.failing:
                raise ApplyConflict("the API server is away")
        return await super().apply(body, manager=manager, force=force)


async def test_a_pass_that_fails_backs_off_and_then_catches_up():
    cluster = FailingCluster()
    async with control_world(cluster) as world:
        await world.apply(cloud_node(1), cloud_node(2), runtime())
        await world.run(30)
        early = cluster.attempts
        cluster.failing = False
        await world.run(60)

        assert 4 <= early <= 10
        assert await world.members() == {CLOUD_PLAN: ["cloud-1", "cloud-2"]}


async def test_nothing_is_planned_before_every_kind_was_heard_of():
    world = ControlWorld()
    world.cache.observe(CACHE_RUNTIME, await world.cluster.apply(runtime(), manager="owner"))
    async with Passes(world.cluster, world.cache, clock=world.clock):
        await world.run(10)

        assert await world.cluster.list(CACHE_WORKER) == []
        assert "status" not in await world.get(CACHE_RUNTIME, "edge")
