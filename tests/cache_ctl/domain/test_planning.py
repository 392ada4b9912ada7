"""Plans: deterministic, steady, weighted, and numbered so that they only grow."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache_ctl.domain.classify import classify
from cache_ctl.domain.facts import (
    AgentFacts,
    LinkRule,
    PlanningFacts,
    PrewarmFacts,
    RuntimeFacts,
    TopologyOptions,
)
from cache_ctl.domain.observe import cluster_facts
from cache_ctl.domain.planning import plan, weight_of
from cache_ctl.errors import InvalidDegree
from runtime.contract.codec import dumps, loads
from runtime.contract.ownership import Ownership
from runtime.contract.plan import DatasetPlan, MountPlan, Plan, PrewarmPlan, TierPlan
from runtime.contract.units import GIB, SLOTS
from tests.support.clusters import fleet, planning, runtime

MIXED = fleet({"p": 3, "q": 2, "alone": 1}, cloud=3, basic=2)
DATASET = DatasetPlan("ml", "images", "uid-d", (MountPlan("train", "oss://bucket/train"),))
PREWARM = PrewarmPlan("ml", "warm", "uid-w", "ml/images")
NAME = "edge-cache.{}".format


def planned(objects, **fields):
    return plan(*planning(objects, **fields))


def test_there_is_a_plan_for_every_domain_and_for_every_class_of_the_rest():
    plans = planned(MIXED).plans

    found = {name: (p.mode, p.network_class, p.domain, len(p.members)) for name, p in plans.items()}
    assert found == {
        NAME("cloud"): ("Distributed", "Cloud", "cloud", 3),
        NAME("pool.p"): ("Distributed", "Dedicated", "pool:p", 3),
        NAME("pool.q"): ("Distributed", "Dedicated", "pool:q", 2),
        NAME("local-basic"): ("LocalOnly", "Basic", None, 0),
        NAME("local-dedicated"): ("LocalOnly", "Dedicated", None, 0),
    }  # fmt: skip


def test_every_node_with_an_agent_follows_one_plan():
    result = planned(MIXED)

    assert result.followed["uid-p-0"] == NAME("pool.p")
    assert result.followed["uid-alone-0"] == NAME("local-dedicated")
    assert result.followed["uid-shop-1"] == NAME("local-basic")
    assert len(result.followed) == 11


def test_a_node_without_an_agent_is_in_no_plan():
    result = planned(fleet({"p": 3}), runtime=runtime((), agents=(
        AgentFacts("uid-p-0"), AgentFacts("uid-p-2", role="client", port=7))))  # fmt: skip
    (only,) = result.plans.values()

    assert [(m.name, m.role, m.port, m.weight) for m in only.members] == [
        ("p-0", "cache", 19600, 1.0),
        ("p-2", "client", 7, 0.0),
    ]


def test_a_domain_of_clients_alone_is_local_only():
    agents = tuple(AgentFacts(f"uid-p-{i}", role="client") for i in range(2))
    result = planned(fleet({"p": 2}), runtime=runtime((), agents=agents))

    assert list(result.plans) == [NAME("local-dedicated")]
    assert {item.reason for item in result.topology.local_only} == {"NoCacheMember"}


def test_a_member_that_is_absent_for_too_long_gives_up_its_share():
    result = planned(fleet({"p": 3}), absent=frozenset({"uid-p-1"}))

    assert [m.name for m in result.plans[NAME("pool.p")].members] == ["p-0", "p-2"]
    assert [(item.node, item.reason) for item in result.topology.local_only] == [
        ("p-1", "NodeNotReady")
    ]


def test_the_datasets_and_tiers_are_in_every_plan():
    tiers = (TierPlan("Memory", "/m", GIB), TierPlan("SSD", "/s", 10 * GIB))
    facts = cluster_facts(MIXED)
    plans = planned(MIXED, datasets=(DATASET,), runtime=runtime(facts.nodes, tiers=tiers)).plans

    assert all(p.datasets == (DATASET,) and p.tiers == tiers for p in plans.values())


@pytest.mark.parametrize(
    ("prewarm", "names"),
    [
        (PrewarmFacts(PREWARM), ["cloud", "pool.p", "pool.q"]),
        (PrewarmFacts(PREWARM, network_classes=frozenset({"Cloud"})), ["cloud"]),
        (PrewarmFacts(PREWARM, domains=frozenset({"pool:q"})), ["pool.q"]),
        (PrewarmFacts(PREWARM, domains=frozenset({"pool:q"}), include_local_only=True), ["pool.q"]),
        (PrewarmFacts(PREWARM, network_classes=frozenset({"Basic"}), include_local_only=True),
         ["local-basic"]),
        (PrewarmFacts(PREWARM, include_local_only=True),
         ["cloud", "local-basic", "local-dedicated", "pool.p", "pool.q"]),
    ],
    ids=["all", "by-class", "by-domain", "domain-has-no-local-nodes", "local-of-a-class", "local"],
)  # fmt: skip
def test_a_prewarm_is_in_the_plans_that_it_is_for(prewarm, names):
    plans = planned(MIXED, prewarms=(prewarm,)).plans

    assert [name for name, p in plans.items() if p.prewarms] == [NAME(name) for name in names]


@pytest.mark.parametrize(
    ("allowed", "links", "budgets"),
    [
        (0, (), {"pool.p": 0, "pool.q": 0, "local-dedicated": 0}),
        (600, (), {"pool.p": 600, "pool.q": 600, "local-dedicated": 600}),
        (600, (LinkRule("p", "cloud", bandwidth=90),),
         {"pool.p": 90, "pool.q": 600, "local-dedicated": 600}),
        (0, (LinkRule("q", "origin", bandwidth=50), LinkRule("alone", "cloud", bandwidth=7)),
         {"pool.p": 0, "pool.q": 50, "local-dedicated": 7}),
    ],
)  # fmt: skip
def test_a_pool_draws_what_the_runtime_allows_and_the_line_has(allowed, links, budgets):
    facts = cluster_facts(MIXED)
    used = runtime(facts.nodes, line_bytes_per_second=allowed, basic_bytes_per_second=20)
    plans = planned(MIXED, runtime=used, links=links).plans

    rates = {name: p.line_bytes_per_second for name, p in plans.items()}
    assert {name: rates[NAME(name)] for name in budgets} == budgets
    assert rates[NAME("cloud")] == 0
    assert rates[NAME("local-basic")] == 20


def test_nodes_that_are_alone_behind_one_line_divide_it():
    objects = [
        *fleet({"p": 4}),
        {
            "apiVersion": "apps.openyurt.io/v1beta2",
            "kind": "NodePool",
            "metadata": {
                "name": "p",
                "annotations": {
                    "alibabacloud.com/interconnection-mode": "private",
                    "alibabacloud.com/pool-nodes-connected": "false",
                },
            },
        },
    ]
    nodes = cluster_facts(objects).nodes
    plans = planned(objects, runtime=runtime(nodes, line_bytes_per_second=1000)).plans

    assert plans[NAME("local-dedicated")].line_bytes_per_second == 250


def test_a_domain_and_the_nodes_beside_it_divide_their_line():
    nodes = cluster_facts(fleet({"p": 4})).nodes
    used = runtime(nodes, line_bytes_per_second=1000)
    plans = planned(fleet({"p": 4}), runtime=used, absent=frozenset({"uid-p-0"})).plans

    assert plans[NAME("pool.p")].line_bytes_per_second == 750
    assert plans[NAME("local-dedicated")].line_bytes_per_second == 250


def test_a_budget_is_never_rounded_down_to_unlimited():
    nodes = cluster_facts(fleet({"p": 4})).nodes
    used = runtime(nodes, line_bytes_per_second=1)
    plans = planned(fleet({"p": 4}), runtime=used, absent=frozenset({"uid-p-0"})).plans

    assert {p.line_bytes_per_second for p in plans.values()} == {1}


TIERS = (TierPlan("Memory", "/m", 8 * GIB), TierPlan("SSD", "/s", 200 * GIB))


@pytest.mark.parametrize(
    ("agent", "tiers", "weight"),
    [
        (AgentFacts("u"), (), 1.0),
        (AgentFacts("u"), TIERS, 208.0),
        (AgentFacts("u", capacity=100 * GIB), TIERS, 100.0),
        (AgentFacts("u", capacity=1), TIERS, 0.001),
        (AgentFacts("u", capacity=0), TIERS, 0.0),
        (AgentFacts("u", role="client", capacity=GIB), TIERS, 0.0),
    ],
    ids=["no-tiers", "tiers-as-set", "measured", "nearly-none", "none", "client"],
)
def test_an_agents_weight_is_its_room(agent, tiers, weight):
    assert weight_of(agent, RuntimeFacts("a/b", tiers=tiers)) == weight


def test_an_unchanged_plan_keeps_its_generation():
    first = planned(MIXED, datasets=(DATASET,))
    second = planned(MIXED, datasets=(DATASET,), previous=first.plans, floor=first.generation)

    assert second.plans == first.plans
    assert second.generation == first.generation


def test_only_plans_whose_content_changed_get_a_new_generation():
    first = planned(fleet({"p": 3, "q": 3}))
    second = planned(fleet({"p": 4, "q": 3}), previous=first.plans, floor=first.generation)

    assert second.plans[NAME("pool.q")] == first.plans[NAME("pool.q")]
    before = first.plans[NAME("pool.p")].generation
    assert second.plans[NAME("pool.p")].generation == before + 1


def test_a_domain_that_comes_back_starts_above_all_that_was():
    first = planned(fleet({"p": 2}))
    gone = planned(fleet({}), previous=first.plans, floor=first.generation)
    back = planned(fleet({"p": 2}), previous=gone.plans, floor=gone.generation)

    assert gone.plans == {}
    assert back.plans[NAME("pool.p")].generation > first.plans[NAME("pool.p")].generation


def test_an_odd_degree_is_refused_even_where_no_domain_would_use_it():
    facts = cluster_facts(fleet({}, basic=1))
    odd = runtime(facts.nodes, topology=TopologyOptions(degree=5))

    with pytest.raises(InvalidDegree):
        planned(fleet({}, basic=1), runtime=odd)


def test_a_plan_survives_the_wire():
    for made in planned(MIXED, datasets=(DATASET,)).plans.values():
        assert loads(Plan, dumps(made)) == made


@settings(deadline=None, max_examples=25)
@given(
    pools=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    cloud=st.integers(0, 9),
    basic=st.integers(0, 3),
    seed=st.integers(0, 2**32),
)
def test_the_same_facts_in_any_order_give_the_same_bytes(pools, cloud, basic, seed):
    objects = fleet({f"p{i}": size for i, size in enumerate(pools)}, cloud=cloud, basic=basic)
    shuffle = random.Random(seed)
    datasets = [replace(DATASET, name=f"d{i}") for i in range(3)]
    prewarms = [PrewarmFacts(replace(PREWARM, name=f"w{i}")) for i in range(3)]
    texts = []
    for _ in range(2):
        facts = cluster_facts(objects)
        agents = [AgentFacts(node.uid) for node in facts.nodes]
        settled = list(classify(facts))
        for values in (objects, datasets, prewarms, agents, settled):
            shuffle.shuffle(values)
        inputs = PlanningFacts(
            nodes=facts.nodes,
            runtime=RuntimeFacts("a/b", agents=tuple(agents)),
            datasets=tuple(datasets),
            prewarms=tuple(prewarms),
        )
        result = plan(settled, inputs)
        texts.append([(name, dumps(made)) for name, made in result.plans.items()])

    assert texts[0] == texts[1]


@settings(deadline=None, max_examples=25)
@given(steps=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=6))
def test_generations_only_grow_and_never_name_two_contents(steps):
    plans, floor = {}, 0
    seen: dict[tuple[str, int], str] = {}
    newest: Counter[str] = Counter()
    for p, q in steps:
        result = planned(fleet({"p": p, "q": q}), previous=plans, floor=floor)
        plans, floor = result.plans, result.generation
        for name, made in plans.items():
            assert made.generation >= newest[name]
            newest[name] = made.generation
            text = dumps(made)
            assert seen.setdefault((name, made.generation), text) == text


def owners(made):
    ownership = Ownership([(m.uid, m.weight) for m in made.members])
    return [ownership.ranking(slot)[0] for slot in range(SLOTS)]


@settings(deadline=None, max_examples=8)
@given(size=st.integers(2, 10))
def test_a_member_that_joins_takes_its_share_and_moves_no_other_slot(size):
    before = owners(planned(fleet({"p": size})).plans[NAME("pool.p")])
    after = owners(planned(fleet({"p": size + 1})).plans[NAME("pool.p")])

    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert set(moved) == {f"uid-p-{size}"}
    expected = SLOTS / (size + 1)
    assert abs(len(moved) - expected) <= 6 * (expected**0.5)


@settings(deadline=None, max_examples=8)
@given(rooms=st.lists(st.integers(1, 8), min_size=2, max_size=8))
def test_weights_are_honoured_within_six_standard_deviations(rooms):
    agents = tuple(AgentFacts(f"uid-p-{i}", capacity=r * GIB) for i, r in enumerate(rooms))
    made = planned(fleet({"p": len(rooms)}), runtime=runtime((), agents=agents)).plans
    owned = Counter(owners(made[NAME("pool.p")]))

    for index, room in enumerate(rooms):
        part = room / sum(rooms)
        deviation = (SLOTS * part * (1 - part)) ** 0.5
        assert abs(owned[f"uid-p-{index}"] - SLOTS * part) <= 6 * deviation
