"""Where each domain fetches from."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache_ctl.domain.classify import classify
from cache_ctl.domain.facts import LinkRule
from cache_ctl.domain.observe import cluster_facts
from cache_ctl.domain.routes import line_bandwidth, links_of, routes, unused_rules
from cache_ctl.domain.topology import build_topology
from tests.support.clusters import ack_pool, fleet, in_pool, node


def domains(objects, *, islands=False):
    facts = cluster_facts(objects)
    found = classify(facts, allow_connected_islands=islands)
    return build_topology(found, facts.nodes).domains


def found_routes(objects, rules=(), *, islands=False):
    links = links_of(domains(objects, islands=islands), rules)
    return {route.domain: (route.path, route.cost) for route in routes(links)}


def lines(objects, *rules):
    return {link.domain: link for link in links_of(domains(objects), rules)}


THREE = fleet({"p": 2, "q": 2}, cloud=2, basic=2)


def test_every_domain_fetches_from_the_origin():
    assert found_routes(THREE) == {
        "cloud": (("cloud", "origin"), 1.0),
        "pool:p": (("pool:p", "origin"), 110.0),
        "pool:q": (("pool:q", "origin"), 110.0),
    }


def test_a_free_line_costs_nothing():
    rules = (LinkRule("pool:p", "origin", cost=0.0),)

    assert found_routes(THREE, rules)["pool:p"] == (("pool:p", "origin"), 0.0)


def test_an_island_goes_to_the_origin_alone():
    objects = [
        *fleet({}, cloud=2),
        ack_pool("s", "public", pool_nodes_connected="true"),
        *(node(f"s-{i}", in_pool("s")) for i in range(2)),
    ]

    assert found_routes(objects, islands=True)["island:s"] == (("island:s", "origin"), 110.0)


@pytest.mark.parametrize("name", ["p", "pool:p"])
@pytest.mark.parametrize("far", ["cloud", "origin"])
def test_a_rule_describes_the_one_line_of_a_pool(name, far):
    for rule in (
        LinkRule(name, far, bandwidth=7, cost=3.0),
        LinkRule(far, name, bandwidth=7, cost=3.0),
    ):
        found = lines(THREE, rule)

        assert (found["pool:p"].bandwidth, found["pool:p"].cost) == (7, 3.0)
        assert found["pool:q"].bandwidth == found["cloud"].bandwidth == 0
        assert found["cloud"].cost == 1.0
        assert line_bandwidth("pool:p", (rule,)) == 7


def test_the_rule_for_the_origin_goes_before_the_one_for_the_cloud():
    rules = (LinkRule("p", "cloud", bandwidth=7, cost=1.0), LinkRule("p", "origin", bandwidth=9))

    assert (lines(THREE, *rules)["pool:p"].bandwidth, line_bandwidth("pool:p", rules)) == (9, 9)
    assert lines(THREE, *rules)["pool:p"].cost == 1.0


def test_the_cloud_has_a_line_of_its_own():
    rules = (LinkRule("p", "cloud", bandwidth=7), LinkRule("cloud", "origin", bandwidth=9))

    assert {name: link.bandwidth for name, link in lines(THREE, *rules).items()} == {
        "cloud": 9,
        "pool:p": 7,
        "pool:q": 0,
    }


def test_the_parts_of_a_pool_that_gateways_split_share_its_line():
    objects = [
        ack_pool("p", "private"),
        *(
            node(f"{gateway}-{i}", in_pool("p", **{"raven.openyurt.io/gateway": gateway}))
            for gateway in ("a", "b")
            for i in range(2)
        ),
    ]

    found = lines(objects, LinkRule("p", "cloud", bandwidth=7))

    assert {name: link.bandwidth for name, link in found.items()} == {"pool:p": 7, "pool:p/b": 7}


def test_a_rule_for_no_domain_is_reported():
    rules = (LinkRule("p", "cloud"), LinkRule("typo", "cloud"))

    assert unused_rules(domains(THREE), rules) == (rules[1],)


@settings(deadline=None, max_examples=40)
@given(
    cloud=st.integers(0, 3),
    pools=st.lists(st.integers(0, 3), max_size=3),
    basic=st.integers(0, 3),
    costs=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 300)), max_size=4),
)
def test_no_path_touches_a_basic_node_or_a_second_domain(cloud, pools, basic, costs):
    objects = fleet(
        {f"p{index}": size for index, size in enumerate(pools)}, cloud=cloud, basic=basic
    )
    rules = [LinkRule(f"p{index}", "cloud", cost=float(cost)) for index, cost in costs]
    classes = {domain.name: domain.network_class for domain in domains(objects)}

    paths = found_routes(objects, rules)

    assert "Basic" not in classes.values()
    assert {name: path for name, (path, _) in paths.items()} == {
        name: (name, "origin") for name in classes
    }
