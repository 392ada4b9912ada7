"""The peer graph: connected, small, steady under churn, and free of forbidden links."""

from __future__ import annotations

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache_ctl.domain.classify import classify
from cache_ctl.domain.observe import cluster_facts
from cache_ctl.domain.topology import (
    DEGREE,
    LARGE_DEGREE,
    DomainMember,
    build_topology,
    check,
    degree_for,
    graph_facts,
    rings_of,
)
from cache_ctl.errors import InvalidDegree, InvariantBroken
from runtime.contract.plan import Member, Plan
from tests.support.clusters import ack_pool, fleet, in_pool, node


def built(objects, **options):
    facts = cluster_facts(objects)
    return build_topology(classify(facts), facts.nodes, **options)


def members(uids, zones=1):
    names = sorted(uids)
    return [DomainMember(uid, uid, uid, f"z{hash_of(uid) % zones}") for uid in names]


def hash_of(text):
    return sum(map(ord, text))


def edges(uids, degree, zones=1):
    """Return the edges by uid, by way of the contract: what agents will make of the rings."""
    given_members = members(uids, zones)
    plan = Plan(
        generation=1, runtime="a/b", network_class="Cloud", mode="Distributed", degree=degree,
        members=tuple(Member(m.uid, m.name, m.address, 1) for m in given_members),
        rings=rings_of(given_members, degree),
    )  # fmt: skip
    return {frozenset((a, b)) for a, near in plan.neighbours().items() for b in near}


def uids(count):
    return [f"uid-{index}" for index in range(count)]


@pytest.mark.parametrize(("size", "edge_count"), [(2, 1), (3, 3), (7, 21)])
def test_a_small_domain_is_a_complete_graph(size, edge_count):
    (domain,) = built(fleet({"p": size})).domains

    assert domain.rings == ()
    assert len(domain.edges) == edge_count


@pytest.mark.parametrize("size", [8, 20, 60])
def test_a_larger_domain_is_a_union_of_rings(size):
    (domain,) = built(fleet({"p": size})).domains
    facts = graph_facts(domain)

    assert len(domain.rings) == DEGREE // 2
    assert all(sorted(ring) == list(range(size)) for ring in domain.rings)
    assert nx.is_connected(domain.graph)
    assert facts.min_degree >= 2
    assert facts.max_degree <= DEGREE
    assert not list(nx.articulation_points(domain.graph))


def test_the_graph_is_what_agents_make_of_the_rings():
    (domain,) = built(fleet({"p": 30})).domains

    assert {frozenset(edge) for edge in domain.edges} == {
        frozenset(x.replace("uid-", "") for x in edge)
        for edge in edges([m.uid for m in domain.members], DEGREE)
    }


def test_a_large_domain_has_a_short_way_between_any_two_members():
    (domain,) = built(fleet({"p": 200})).domains

    assert nx.diameter(domain.graph) <= 6


def test_the_degree_grows_with_the_domain_unless_it_is_given():
    assert [degree_for(size, None) for size in (2, 200, 201)] == [DEGREE, DEGREE, LARGE_DEGREE]
    assert degree_for(500, 4) == 4


@pytest.mark.parametrize("degree", [0, 1, 3, -2])
def test_an_odd_or_small_degree_is_refused(degree):
    with pytest.raises(InvalidDegree, match=f"topology.degree is {degree}; it must be an even"):
        built(fleet({"p": 2}), degree=degree)


def test_a_member_alone_is_local_only():
    topology = built(fleet({"p": 1, "q": 2}))

    assert [domain.name for domain in topology.domains] == ["pool:q"]
    assert [(item.node, item.reason) for item in topology.local_only] == [("p-0", "SingleMember")]


def test_a_domain_without_an_agent_that_keeps_a_share_is_local_only():
    topology = built(fleet({"p": 2, "q": 2}), owners={"uid-q-0"})

    assert [domain.name for domain in topology.domains] == ["pool:q"]
    assert {item.reason for item in topology.local_only} == {"NoCacheMember"}


def test_one_ring_keeps_zones_together():
    (domain,) = built(
        [ack_pool("p", "private")]
        + [
            node(f"n{i:02}", in_pool("p", **{"topology.kubernetes.io/zone": f"z{i % 3}"}))
            for i in range(30)
        ]
    ).domains
    zones = [domain.members[index].zone for index in domain.rings[0]]

    assert zones == sorted(zones)
    assert [domain.members[index].zone for index in domain.rings[1]] != zones


def test_the_check_refuses_a_forged_domain():
    facts = cluster_facts(fleet({"p": 2}, basic=2))
    found = classify(facts)
    forged = build_topology([item if item.domain else _claim(item) for item in found], facts.nodes)

    with pytest.raises(InvariantBroken, match="the node shop-0 may not be in the domain pool:s"):
        check(forged, found)


def _claim(item):
    from dataclasses import replace  # noqa: PLC0415  beside its only use

    return replace(item, domain="pool:s")


SIZES = st.integers(min_value=2, max_value=70)
DEGREES = st.sampled_from([2, 4, 6, 8])


@settings(deadline=None, max_examples=60)
@given(size=SIZES, degree=DEGREES, zones=st.integers(1, 4))
def test_every_graph_is_connected_and_bounded(size, degree, zones):
    graph = nx.Graph([tuple(edge) for edge in edges(uids(size), degree, zones)])

    assert len(graph) == size
    assert nx.is_connected(graph)
    assert max(count for _, count in graph.degree) <= degree or size <= degree + 1


@settings(deadline=None, max_examples=120)
@given(size=SIZES, degree=DEGREES, zones=st.integers(1, 4), data=st.data())
def test_a_join_or_a_leave_changes_few_edges(size, degree, zones, data):
    """At most 2k; only where rings begin, the complete graph before them gives way."""
    everyone = uids(size + 1)
    leaver = data.draw(st.sampled_from(everyone))
    rest = [uid for uid in everyone if uid != leaver]

    changed = edges(everyone, degree, zones) ^ edges(rest, degree, zones)

    rings_begin = size == degree + 1
    assert len(changed) <= (degree * (degree + 1) // 2 + degree if rings_begin else 2 * degree)


@settings(deadline=None, max_examples=60)
@given(
    cloud=st.integers(0, 4),
    pools=st.lists(st.integers(0, 12), max_size=3),
    basic=st.integers(0, 5),
    stray=st.booleans(),
)
def test_no_edge_touches_a_basic_or_unknown_node(cloud, pools, basic, stray):
    objects = fleet(
        {f"p{index}": size for index, size in enumerate(pools)}, cloud=cloud, basic=basic
    )
    if stray:
        objects += [node("stray-1"), node("stray-2")]
    facts = cluster_facts(objects)
    found = classify(facts)
    topology = build_topology(found, facts.nodes)
    allowed = {item.node: item.domain for item in found if item.network_class != "Basic"}

    check(topology, found)
    for domain in topology.domains:
        for a, b in domain.edges:
            assert allowed[a] == allowed[b] == domain.name
    placed = [m.name for domain in topology.domains for m in domain.members]
    placed += [item.node for item in topology.local_only]
    assert sorted(placed) == sorted(item.node for item in found)
