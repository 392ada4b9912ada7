"""Where each domain fetches from."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache_ctl.domain.classify import classify
from cache_ctl.domain.facts import LinkRule
from cache_ctl.domain.observe import cluster_facts
from cache_ctl.domain.routes import line_bandwidth, links_between, routes, unused_rules
from cache_ctl.domain.topology import build_topology
from tests.support.clusters import ACK, ack_pool, fleet, in_pool, node


def domains(objects, *, islands=False):
    facts = cluster_facts(objects)
    found = classify(facts, allow_connected_islands=islands)
    return build_topology(found, facts.nodes).domains


def found_routes(objects, rules=(), peering="None", *, islands=False):
    links = links_between(domains(objects, islands=islands), rules, peering)
    return {route.domain: (route.path, route.cost) for route in routes(links)}


THREE = fleet({"p": 2, "q": 2}, cloud=2, basic=2)


def test_without_peering_every_domain_goes_to_the_origin():
    assert found_routes(THREE) == {
        "cloud": (("cloud", "origin"), 1.0),
        "pool:p": (("pool:p", "origin"), 110.0),
        "pool:q": (("pool:q", "origin"), 110.0),
    }


def test_with_peering_a_dedicated_pool_goes_by_the_cloud():
    assert found_routes(THREE, peering="Cloud")["pool:p"] == (("pool:p", "cloud", "origin"), 101.0)


def test_a_costly_way_to_the_cloud_is_not_taken():
    rules = (LinkRule("p", "cloud", cost=500.0),)

    assert found_routes(THREE, rules, "Cloud")["pool:p"] == (("pool:p", "origin"), 110.0)


def test_a_free_line_costs_nothing():
    rules = (LinkRule("pool:p", "origin", cost=0.0),)

    assert found_routes(THREE, rules)["pool:p"] == (("pool:p", "origin"), 0.0)


def test_of_equal_ways_the_shorter_is_taken():
    rules = (LinkRule("p", "cloud", cost=109.0),)

    assert found_routes(THREE, rules, "Cloud")["pool:p"] == (("pool:p", "origin"), 110.0)


def test_conflicting_addresses_leave_only_the_origin():
    objects = [*THREE, ack_pool("p", "private", address_conflict="true")]

    paths = found_routes(objects, peering="Cloud")

    assert paths["pool:p"][0] == ("pool:p", "origin")
    assert paths["pool:q"][0] == ("pool:q", "cloud", "origin")


def test_addresses_that_the_cloud_has_as_well_leave_only_the_origin():
    objects = [
        *fleet({}, cloud=2),
        ack_pool("p", "private"),
        node("a", in_pool("p"), ip="10.0.0.1"),
        node("b", in_pool("p"), ip="172.16.0.2"),
    ]

    assert found_routes(objects, peering="Cloud")["pool:p"][0] == ("pool:p", "origin")


def test_two_regions_do_not_carry_for_each_other():
    objects = [
        node(f"{region}-{i}", {f"{ACK}is-edge-worker": "false",
                               "topology.kubernetes.io/region": region})
        for region in ("east", "west")
        for i in range(2)
    ]  # fmt: skip

    assert found_routes(objects, peering="Cloud") == {
        "east": (("east", "origin"), 1.0),
        "west": (("west", "origin"), 1.0),
    }


def test_an_island_goes_to_the_origin_alone():
    objects = [
        *fleet({}, cloud=2),
        ack_pool("s", "public", pool_nodes_connected="true"),
        *(node(f"s-{i}", in_pool("s")) for i in range(2)),
    ]

    assert found_routes(objects, peering="Cloud", islands=True)["island:s"] == (
        ("island:s", "origin"),
        110.0,
    )


@pytest.mark.parametrize("name", ["p", "pool:p"])
@pytest.mark.parametrize("far", ["cloud", "origin"])
def test_a_rule_describes_the_one_line_of_a_pool(name, far):
    for rule in (LinkRule(name, far, bandwidth=7), LinkRule(far, name, bandwidth=7)):
        links = links_between(domains(THREE), (rule,), "Cloud")
        sizes = {(link.a, link.b): link.bandwidth for link in links}

        assert sizes[("pool:p", "origin")] == sizes[("pool:p", "cloud")] == 7
        assert sizes[("pool:q", "origin")] == sizes[("cloud", "origin")] == 0
        assert line_bandwidth("pool:p", (rule,)) == 7


def test_the_exact_rule_goes_before_the_one_for_the_same_line():
    rules = (LinkRule("p", "cloud", bandwidth=7), LinkRule("p", "origin", bandwidth=9))
    links = links_between(domains(THREE), rules, "Cloud")

    assert {link.b: link.bandwidth for link in links if link.a == "pool:p"} == {
        "cloud": 7,
        "origin": 9,
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

    links = links_between(domains(objects), (LinkRule("p", "cloud", bandwidth=7),))

    assert {link.a: link.bandwidth for link in links} == {"pool:p": 7, "pool:p/b": 7}


def test_a_cost_to_the_cloud_is_not_the_cost_to_the_origin():
    links = links_between(domains(THREE), (LinkRule("p", "cloud", cost=1.0),), "Cloud")

    assert {link.b: link.cost for link in links if link.a == "pool:p"} == {
        "cloud": 1.0,
        "origin": 110.0,
    }


def test_a_rule_for_no_domain_is_reported():
    rules = (LinkRule("p", "cloud"), LinkRule("typo", "cloud"))

    assert unused_rules(domains(THREE), rules) == (rules[1],)


@settings(deadline=None, max_examples=40)
@given(
    cloud=st.integers(0, 3),
    pools=st.lists(st.integers(0, 3), max_size=3),
    basic=st.integers(0, 3),
    peering=st.sampled_from(["None", "Cloud"]),
    costs=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 300)), max_size=4),
)
def test_no_path_touches_a_basic_node_or_a_second_pool(cloud, pools, basic, peering, costs):
    objects = fleet(
        {f"p{index}": size for index, size in enumerate(pools)}, cloud=cloud, basic=basic
    )
    rules = [LinkRule(f"p{index}", "cloud", cost=float(cost)) for index, cost in costs]
    classes = {domain.name: domain.network_class for domain in domains(objects)}

    paths = found_routes(objects, rules, peering)

    assert set(paths) == set(classes)
    for name, (path, _) in paths.items():
        assert path[0] == name
        assert path[-1] == "origin"
        assert all(classes[between] == "Cloud" for between in path[1:-1])
        assert "Basic" not in {classes[between] for between in path[:-1]}
