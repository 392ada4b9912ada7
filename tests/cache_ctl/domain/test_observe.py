"""From Kubernetes objects to facts, and what is said of objects that cannot be read."""

from __future__ import annotations

import pytest

from cache_ctl.domain.facts import LinkRule, TopologyOptions
from cache_ctl.domain.observe import cluster_facts, topology_options
from cache_ctl.errors import InvalidInput
from tests.support.clusters import gateway, network_topology, node, node_pool


def test_a_node_without_a_uid_takes_its_name():
    raw = node("n")
    del raw["metadata"]["uid"]

    assert cluster_facts([raw]).nodes[0].uid == "n"


def test_the_first_internal_address_counts():
    raw = node("n", ip="10.0.0.1")
    raw["status"]["addresses"].append({"type": "InternalIP", "address": "fd00::1"})

    assert cluster_facts([raw]).nodes[0].internal_ip == "10.0.0.1"


def test_a_node_without_a_status_is_taken_as_ready():
    (found,) = cluster_facts(
        [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}]
    ).nodes

    assert (found.ready, found.internal_ip) == (True, "")


def test_kinds_that_occur_are_served():
    facts = cluster_facts([node("n"), gateway("g")])

    assert facts.kinds == {"Gateway": "Served"}


def test_kinds_of_other_projects_are_passed_over():
    objects = [
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "g"},
        },
        {"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "p"}},
        {"apiVersion": "other.dev/v1", "kind": "NetworkTopology", "spec": {"rules": "none"}},
        {"apiVersion": "v1", "kind": "ConfigMap"},
    ]

    assert cluster_facts(objects) == cluster_facts([])


def test_links_are_read_with_their_units():
    raw = network_topology(links=[{"from": "p", "to": "cloud", "bandwidth": "200Mbit", "cost": 5}])

    assert cluster_facts([raw]).rules.links == (LinkRule("p", "cloud", 25_000_000, 5.0),)


def test_one_node_given_twice_is_one_node():
    assert len(cluster_facts([node("n"), node("n")]).nodes) == 1


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (node("n", {"a": True}), r'Node n: labels\["a"\] is True; it must be a string'),
        (node("n", {}, {"a": 1}), r'Node n: annotations\["a"\] is 1; it must be a string'),
        ({"apiVersion": "v1", "kind": "Node"}, "a Node has no metadata.name"),
        ({"apiVersion": "v1", "kind": "Node", "metadata": "n"}, "a Node has no metadata.name"),
        (node("n") | {"status": []}, r"Node n: status is \[\]; it must be an object"),
        (node_pool("p") | {"spec": {"type": "Edge"}, "metadata": {"name": "p", "annotations": 1}},
         "NodePool p: annotations is 1; it must be an object"),
        (network_topology(unlabeledNodes="cloud"), "unlabeledNodes is 'cloud'; it must be Basic"),
        (network_topology(rules=[{"networkClass": "Edge"}]),
         r"spec.rules\[0\].networkClass is 'Edge'; it must be Cloud, Dedicated or Basic"),
        (network_topology(rules=["x"]), r"spec.rules\[0\] is 'x'; it must be an object"),
        (network_topology(rules=[{"nodeSelector": {"matchExpressions": [{"key": "a"}]}}]),
         r"matchExpressions\[0\] is .* it needs a key and an operator"),
        (network_topology(links=[{"from": "p"}]), r"spec.links\[0\] is .* it needs from and to"),
        (network_topology(links=[{"from": "p", "to": "q", "cost": -1}]), "cost is -1; it must be"),
        (network_topology(links=[{"from": "p", "to": "q", "bandwidth": "200MB"}]),
         r"spec.links\[0\].bandwidth is '200MB', whose unit is not known; write it like"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_with_its_value_and_the_remedy(raw, message):
    with pytest.raises(InvalidInput, match=message):
        cluster_facts([raw])


def test_two_different_nodes_of_one_name_are_refused():
    with pytest.raises(InvalidInput, match="two different Nodes are named n"):
        cluster_facts([node("n"), node("n", {"a": "b"})])


def test_two_nodes_with_one_uid_are_refused():
    twin = node("m")
    twin["metadata"]["uid"] = "uid-n"

    with pytest.raises(InvalidInput, match="the Nodes n and m have one uid, uid-n"):
        cluster_facts([node("n"), twin])


def cache_runtime(**topology):
    return {"kind": "CacheRuntime", "metadata": {"name": "r"}, "spec": {"topology": topology}}


def test_a_runtimes_topology_has_defaults():
    assert topology_options(cache_runtime()) == TopologyOptions()
    assert topology_options(
        cache_runtime(degree=8, dedicatedPeering="None", allowConnectedIslands=True)
    ) == TopologyOptions(8, allow_connected_islands=True)


@pytest.mark.parametrize(
    "field", [{"degree": "6"}, {"degree": True}, {"dedicatedPeering": "Cloud"},
              {"allowConnectedIslands": "yes"}],
)  # fmt: skip
def test_a_wrong_option_is_refused(field):
    (name,) = field
    with pytest.raises(InvalidInput, match=f"CacheRuntime default/r: spec.topology.{name} is"):
        topology_options(cache_runtime(**field))
