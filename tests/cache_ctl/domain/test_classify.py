"""Every row of the classification, with the labels that real platforms write."""

from __future__ import annotations

import random

import pytest

from cache_ctl.domain.classify import RULES, classify, explain_node
from cache_ctl.domain.observe import cluster_facts
from cache_ctl.errors import UnknownName
from tests.support.clusters import (
    ACK,
    CLASS,
    CLOUD,
    DOMAIN,
    EDGE,
    ack_pool,
    classified,
    fleet,
    gateway,
    in_pool,
    network_topology,
    node,
    node_pool,
)

YURT = "apps.openyurt.io/nodepool"
YURT_EDGE = "openyurt.io/is-edge-worker"
RAVEN = "raven.openyurt.io/gateway"
MODE = f"{ACK}interconnection-mode"


def group(kind: str, name: str, **spec):
    version = {"NodeGroup": "apps.kubeedge.io/v1alpha1", "NodeUnit": "site.superedge.io/v1alpha2"}
    metadata = {"name": name, "annotations": spec.pop("annotations", {})}
    return {"apiVersion": version[kind], "kind": kind, "metadata": metadata, "spec": spec}


ROWS = [
    # id, the node's labels, its annotations, other objects, class, domain, reason
    ("override-cloud", EDGE, {CLASS: "cloud"}, [], "Cloud", "cloud", "NodeOverride"),
    ("override-mixed-case", {}, {CLASS: " Dedicated ", DOMAIN: "idc"}, [],
     "Dedicated", "idc", "NodeOverride"),
    ("override-basic-beats-ack", CLOUD, {CLASS: "basic"}, [], "Basic", None, "NodeOverride"),
    ("override-basic-has-no-domain", {}, {CLASS: "basic", DOMAIN: "x"}, [],
     "Basic", None, "NodeOverride"),
    ("override-misspelt", CLOUD, {CLASS: "clowd"}, [], "Basic", None, "InvalidOverride"),
    ("override-empty", CLOUD, {CLASS: ""}, [], "Basic", None, "InvalidOverride"),
    ("override-dedicated-without-a-pool", {}, {CLASS: "dedicated"}, [],
     "Dedicated", None, "NoPool"),
    ("override-dedicated-in-a-pool", {YURT: "idc"}, {CLASS: "dedicated"}, [],
     "Dedicated", "pool:idc", "NodeOverride"),
    ("override-label-of-ours-is-not-read", CLOUD | {CLASS: "basic"}, {}, [],
     "Cloud", "cloud", "AckCloudNode"),
    ("override-on-the-pool", in_pool("p"), {},
     [node_pool("p", {CLASS: "dedicated", DOMAIN: "lan"})], "Dedicated", "lan", "PoolOverride"),
    ("override-on-a-node-group", {"node-role.kubernetes.io/edge": ""}, {},
     [group("NodeGroup", "g", nodes=["n"], annotations={CLASS: "dedicated", DOMAIN: "g"})],
     "Dedicated", "g", "PoolOverride"),
    ("override-of-two-groups-restricts", {"u": "nodeunits.superedge.io"}, {},
     [group("NodeUnit", "u", annotations={CLASS: "cloud"}),
      group("NodeGroup", "g", nodes=["n"], annotations={CLASS: "basic"})],
     "Basic", None, "PoolOverride"),
    ("override-by-rule", {"site": "idc1"}, {},
     [network_topology(rules=[{"nodeSelector": {"matchLabels": {"site": "idc1"}},
                               "networkClass": "Dedicated", "domain": "idc1"}])],
     "Dedicated", "idc1", "RuleOverride"),
    ("override-by-rule-expressions", {"site": "idc1"}, {},
     [network_topology(rules=[
         {"nodeSelector": {"matchExpressions": [{"key": "site", "operator": "DoesNotExist"}]},
          "networkClass": "Cloud"},
         {"nodeSelector": {"matchExpressions": [
             {"key": "site", "operator": "In", "values": ["idc1"]}]}, "networkClass": "Basic"}])],
     "Basic", None, "RuleOverride"),
    ("rule-of-a-domain-alone", in_pool("p"), {},
     [ack_pool("p", "private"),
      network_topology(rules=[{"nodeSelector": {}, "domain": "merged"}])],
     "Dedicated", "merged", "AckDedicatedPool"),
    ("node-beats-pool-beats-rule", in_pool("p"), {CLASS: "cloud"},
     [node_pool("p", {CLASS: "basic"}),
      network_topology(rules=[{"networkClass": "Dedicated"}])], "Cloud", "cloud", "NodeOverride"),
    ("ack-cloud", CLOUD, {}, [], "Cloud", "cloud", "AckCloudNode"),
    ("ack-cloud-in-a-region", CLOUD | {"topology.kubernetes.io/region": "cn-hangzhou"}, {}, [],
     "Cloud", "cn-hangzhou", "AckCloudNode"),
    ("ack-cloud-mixed-case", {f"{ACK}is-edge-worker": "False"}, {}, [],
     "Cloud", "cloud", "AckCloudNode"),
    ("ack-cloud-pool-is-private", CLOUD | {f"{ACK}nodepool-id": "p"}, {},
     [node_pool("p", {MODE: "private"}, type="Cloud")], "Cloud", "cloud", "AckCloudNode"),
    ("ack-private", in_pool("p"), {}, [ack_pool("p", "private")],
     "Dedicated", "pool:p", "AckDedicatedPool"),
    ("ack-private-mixed-case", {f"{ACK}is-edge-worker": "True", f"{ACK}nodepool-id": "p"}, {},
     [ack_pool("p", "Private")], "Dedicated", "pool:p", "AckDedicatedPool"),
    ("ack-dedicated-spelling", in_pool("p"), {}, [ack_pool("p", "dedicated")],
     "Dedicated", "pool:p", "AckDedicatedPool"),
    ("ack-basic", in_pool("p"), {}, [ack_pool("p", "basic")], "Basic", None, "AckBasicPool"),
    ("ack-public", in_pool("p"), {}, [ack_pool("p", "Public")], "Basic", None, "AckBasicPool"),
    ("ack-improved", in_pool("p"), {}, [ack_pool("p", "improved")],
     "Basic", None, "AckUplinkUnknown"),
    ("ack-other", in_pool("p"), {}, [ack_pool("p", "5g")], "Basic", None, "AckUplinkUnknown"),
    ("ack-mode-missing", in_pool("p", **{MODE: "private"}), {}, [node_pool("p", type="Edge")],
     "Basic", None, "AckUplinkUnknown"),
    ("ack-pool-missing", in_pool("p"), {}, [], "Basic", None, "AckUplinkUnknown"),
    ("ack-pool-missing-label-private", in_pool("p", **{MODE: "private"}), {}, [],
     "Dedicated", "pool:p", "AckDedicatedPool"),
    ("ack-pool-missing-label-basic", in_pool("p", **{MODE: "basic"}), {}, [],
     "Basic", None, "AckBasicPool"),
    ("ack-no-pool-label-private", EDGE | {MODE: "private"}, {}, [], "Dedicated", None, "NoPool"),
    ("ack-no-pool", EDGE, {}, [], "Basic", None, "AckUplinkUnknown"),
    ("ack-pool-by-openyurt-label", EDGE | {YURT: "p"}, {}, [ack_pool("p", "private")],
     "Dedicated", "pool:p", "AckDedicatedPool"),
    ("ack-pool-by-desired-label", EDGE | {"apps.openyurt.io/desired-nodepool": "p"}, {},
     [ack_pool("p", "private")], "Dedicated", "pool:p", "AckDedicatedPool"),
    ("ack-marker-invalid", {f"{ACK}is-edge-worker": "maybe"}, {}, [],
     "Basic", None, "AckMarkerInvalid"),
    ("ack-private-not-connected", in_pool("p"), {},
     [ack_pool("p", "private", pool_nodes_connected="False")],
     "Dedicated", None, "PoolNodesNotConnected"),
    ("ack-private-connected", in_pool("p"), {},
     [ack_pool("p", "private", pool_nodes_connected="true")],
     "Dedicated", "pool:p", "AckDedicatedPool"),
    ("ack-basic-connected", in_pool("p"), {},
     [ack_pool("p", "basic", pool_nodes_connected="true")], "Basic", None, "AckBasicPool"),
    ("ack-cloud-not-connected", CLOUD | {f"{ACK}nodepool-id": "p"}, {},
     [node_pool("p", {f"{ACK}pool-nodes-connected": "false"}, type="Cloud")],
     "Cloud", None, "PoolNodesNotConnected"),
    ("ack-zone-equal-to-pool", in_pool("p", **{"topology.kubernetes.io/zone": "p"}), {},
     [ack_pool("p", "private")], "Dedicated", "pool:p", "AckDedicatedPool"),
    ("ens-node", {f"{ACK}ens-instance-id": "i-1"}, {}, [], "Basic", None, "EnsNode"),
    ("openyurt-cloud-pool", {YURT: "c"}, {}, [node_pool("c", type="Cloud")],
     "Cloud", "cloud", "OpenYurtCloudPool"),
    ("openyurt-cloud-pool-mixed-case", {YURT: "c"}, {}, [node_pool("c", type="cLOUD")],
     "Cloud", "cloud", "OpenYurtCloudPool"),
    ("openyurt-edge-pool", {YURT: "e"}, {}, [node_pool("e", type="Edge")],
     "Basic", None, "OpenYurtEdgePool"),
    ("openyurt-pool-type-defaults-to-edge", {YURT: "e"}, {}, [node_pool("e")],
     "Basic", None, "OpenYurtEdgePool"),
    ("openyurt-pool-type-unknown", {YURT: "e"}, {}, [node_pool("e", type="Fog")],
     "Basic", None, "OpenYurtMarkerInvalid"),
    ("openyurt-interconnected-true", {YURT: "e"}, {},
     [node_pool("e", type="Edge", interConnectivity=True)], "Basic", None, "OpenYurtEdgePool"),
    ("openyurt-interconnected-false", {YURT: "e"}, {},
     [node_pool("e", type="Edge", interConnectivity=False)], "Basic", None, "OpenYurtEdgePool"),
    ("openyurt-cloud-label", {YURT_EDGE: "false"}, {}, [], "Cloud", "cloud", "OpenYurtCloudNode"),
    ("openyurt-edge-label", {YURT_EDGE: "True"}, {}, [], "Basic", None, "OpenYurtEdgeNode"),
    ("openyurt-label-invalid", {YURT_EDGE: "1"}, {}, [], "Basic", None, "OpenYurtMarkerInvalid"),
    ("openyurt-pool-missing", {YURT: "e"}, {}, [], "Basic", None, "PoolUnreadable"),
    ("openyurt-pool-missing-label-false", {YURT: "e", YURT_EDGE: "false"}, {}, [],
     "Cloud", "cloud", "OpenYurtCloudNode"),
    ("openyurt-cloud-pool-edge-label", {YURT: "c", YURT_EDGE: "true"}, {},
     [node_pool("c", type="Cloud")], "Basic", None, "ContradictoryEvidence"),
    ("kubeedge", {"node-role.kubernetes.io/edge": ""}, {}, [], "Basic", None, "KubeEdgeNode"),
    ("kubeedge-group-label", {"apps.kubeedge.io/belonging-to": "g"}, {}, [],
     "Basic", None, "KubeEdgeNode"),
    ("kubeedge-group-nodes", {}, {}, [group("NodeGroup", "g", nodes=["n"])],
     "Basic", None, "KubeEdgeNode"),
    ("kubeedge-group-selector", {"a": "b"}, {}, [group("NodeGroup", "g", matchLabels={"a": "b"})],
     "Basic", None, "KubeEdgeNode"),
    ("superedge", {"superedge.io/node-edge": "enable"}, {}, [], "Basic", None, "SuperEdgeNode"),
    ("superedge-unit", {"u": "nodeunits.superedge.io"}, {}, [group("NodeUnit", "u", type="edge")],
     "Basic", None, "SuperEdgeNode"),
    ("superedge-cloud", {"superedge.io/node-cloud": "enable"}, {}, [],
     "Cloud", "cloud", "SuperEdgeCloudNode"),
    ("superedge-cloud-disabled", {"superedge.io/node-cloud": "disable"}, {}, [],
     "Basic", None, "NoMarker"),
    ("superedge-both", {"superedge.io/node-cloud": "enable", "superedge.io/node-edge": "enable"},
     {}, [], "Basic", None, "SuperEdgeNode"),
    ("eks-hybrid", {"eks.amazonaws.com/compute-type": "hybrid"}, {}, [],
     "Basic", None, "EksHybridNode"),
    ("eks-other", {"eks.amazonaws.com/compute-type": "ec2"}, {}, [],
     "Cloud", "cloud", "NoEdgeInCluster"),
    ("plain", {}, {}, [], "Cloud", "cloud", "NoEdgeInCluster"),
    ("plain-in-a-legacy-region", {"failure-domain.beta.kubernetes.io/region": "r"}, {}, [],
     "Cloud", "r", "NoEdgeInCluster"),
    ("plain-ack-without-edge", {f"{ACK}nodepool-id": "p"}, {}, [],
     "Cloud", "cloud", "NoEdgeInCluster"),
    ("plain-beside-an-edge-node", {}, {}, [node("e", EDGE)], "Basic", None, "NoMarker"),
    ("plain-beside-an-edge-pool", {}, {}, [node_pool("e")], "Basic", None, "NoMarker"),
    ("plain-beside-an-override", {}, {}, [node("e", {}, {CLASS: "basic"})],
     "Basic", None, "NoMarker"),
    ("plain-called-cloud", {}, {}, [node("e", EDGE), network_topology(unlabeledNodes="Cloud")],
     "Cloud", "cloud", "UnlabeledNodesAreCloud"),
    ("plain-beside-karpenter-pools", {}, {},
     [{"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "k"}}],
     "Cloud", "cloud", "NoEdgeInCluster"),
    ("contradiction-ack-cloud-kubeedge", CLOUD | {"node-role.kubernetes.io/edge": ""}, {}, [],
     "Basic", None, "ContradictoryEvidence"),
    ("contradiction-ack-cloud-public-pool", CLOUD | {f"{ACK}nodepool-id": "p"}, {},
     [node_pool("p", {MODE: "public"})], "Basic", None, "ContradictoryEvidence"),
    ("contradiction-ack-cloud-edge-pool", CLOUD | {YURT: "e"}, {}, [node_pool("e", type="Edge")],
     "Basic", None, "ContradictoryEvidence"),
    ("contradiction-of-pool-and-node", in_pool("p", **{MODE: "basic"}), {},
     [ack_pool("p", "private")], "Basic", None, "ContradictoryEvidence"),
    ("contradiction-of-two-pools", in_pool("p", **{YURT: "q"}), {},
     [ack_pool("p", "private"), ack_pool("q", "private")], "Basic", None, "PoolContradiction"),
    ("contradiction-of-gateways", in_pool("p", **{RAVEN: "gw-a"}), {},
     [ack_pool("p", "private"), gateway("gw-b", "n")], "Dedicated", None, "GatewayContradiction"),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_node_gets_its_class_domain_and_reason(row):
    _, labels, annotations, others, network_class, domain, reason = row

    found = classified(node("n", labels, annotations), *others)["n"]

    assert (found.network_class, found.domain, found.reason) == (network_class, domain, reason)
    assert found.may_peer == (domain is not None)
    assert found.evidence
    assert found.message


def test_the_rows_cover_every_rule_that_answers_on_its_own():
    reasons = {row[-1] for row in ROWS}

    assert reasons >= {
        "NodeOverride", "PoolOverride", "RuleOverride", "AckCloudNode", "AckDedicatedPool",
        "AckBasicPool", "OpenYurtCloudPool", "OpenYurtCloudNode", "OpenYurtEdgePool",
        "OpenYurtEdgeNode", "KubeEdgeNode", "SuperEdgeNode", "SuperEdgeCloudNode",
        "EksHybridNode", "EnsNode", "NoEdgeInCluster", "NoMarker", "UnlabeledNodesAreCloud",
    }  # fmt: skip


@pytest.mark.parametrize("labels", [in_pool("p"), {YURT: "p"}])
def test_a_forbidden_kind_is_told_from_a_missing_one(labels):
    missing = classified(node("n", labels))["n"]
    forbidden = classified(node("n", labels), kinds={"NodePool": "Forbidden"})["n"]

    assert missing.network_class == forbidden.network_class == "Basic"
    assert "allow the controller to list nodepools" in forbidden.message
    assert "allow" not in missing.message


def test_an_unmarked_node_is_basic_while_an_edge_kind_may_not_be_read():
    found = classified(node("n"), kinds={"NodeGroup": "Forbidden", "NodePool": "Absent"})["n"]

    assert (found.network_class, found.reason) == ("Basic", "EdgeKindUnreadable")


def test_an_edge_kind_that_is_served_without_objects_is_an_edge_marker():
    found = classified(node("n"), kinds={"NodePool": "Served"})["n"]

    assert (found.network_class, found.reason) == ("Basic", "NoMarker")


def test_conflicting_addresses_are_shown_and_leave_the_pool_its_domain():
    conflict = ack_pool("p", "private", address_conflict="True")
    found = classified(node("n", in_pool("p")), node("m", in_pool("p")), conflict)

    assert {item.domain for item in found.values()} == {"pool:p"}
    assert all("address-conflict=True" in item.evidence[-1] for item in found.values())


def test_gateways_split_a_domain_and_the_larger_part_keeps_its_name():
    parts = {"a1": "gw-a", "a2": "gw-a", "b1": "gw-b", "b2": "gw-b", "b3": "gw-b"}
    nodes = [node(name, in_pool("p", **{RAVEN: gw})) for name, gw in parts.items()]

    found = classified(*nodes, ack_pool("p", "private"))

    assert {found[name].domain for name in ("b1", "b2", "b3")} == {"pool:p"}
    assert {found[name].domain for name in ("a1", "a2")} == {"pool:p/gw-a"}


def test_one_gateway_for_some_nodes_splits_nothing():
    labels = in_pool("p", **{RAVEN: "gw-cloud"})

    found = classified(node("a", labels), node("b", in_pool("p")), ack_pool("p", "private"))

    assert {item.domain for item in found.values()} == {"pool:p"}


def test_one_gateway_never_merges_pools():
    cloud = node("c", CLOUD | {RAVEN: "gw-cloud"})
    edge = node("e", in_pool("p", **{RAVEN: "gw-cloud"}))
    basic = node("b", in_pool("q", **{RAVEN: "gw-cloud"}))

    found = classified(cloud, edge, basic, ack_pool("p", "private"), ack_pool("q", "public"))

    assert [found[name].domain for name in "ceb"] == ["cloud", "pool:p", None]


def test_gateways_do_not_split_a_domain_that_the_operator_names():
    said = {CLASS: "dedicated", DOMAIN: "lan"}

    found = classified(node("a", {RAVEN: "x"}, said), node("b", {RAVEN: "y"}, said))

    assert {item.domain for item in found.values()} == {"lan"}


def test_two_classes_never_share_a_domain():
    wrong = node("wrong", {}, {CLASS: "cloud", DOMAIN: "pool:p"})
    objects = [wrong, *fleet({"p": 3})]

    found = classified(*objects)

    assert found["wrong"].domain == "pool:p@cloud"
    assert found["p-0"].domain == "pool:p"


def test_addresses_may_repeat_in_different_pools():
    objects = [
        node("a", in_pool("p"), ip="10.0.0.1"),
        node("b", in_pool("q"), ip="10.0.0.1"),
        ack_pool("p", "private"),
        ack_pool("q", "private"),
    ]

    found = classified(*objects)

    assert [found[name].domain for name in "ab"] == ["pool:p", "pool:q"]


def test_two_ready_nodes_with_one_address_in_a_domain_peer_with_nobody():
    objects = [node("a", CLOUD, ip="10.0.0.1"), node("b", CLOUD, ip="10.0.0.1")]

    found = classified(*objects)

    assert {item.reason for item in found.values()} == {"DuplicateAddress"}
    assert not any(item.may_peer for item in found.values())


def test_a_replaced_node_yields_its_address_to_the_one_that_is_ready():
    objects = [
        node("old", CLOUD, ip="10.0.0.1", ready=False),
        node("new", CLOUD, ip="10.0.0.1"),
    ]

    found = classified(*objects)

    assert (found["old"].reason, found["new"].domain) == ("DuplicateAddress", "cloud")


def test_a_node_without_an_address_peers_with_nobody():
    found = classified(node("n", CLOUD, ip=""))["n"]

    assert (found.network_class, found.domain, found.reason) == ("Cloud", None, "NoAddress")


def test_the_order_of_the_objects_does_not_matter():
    objects = [*fleet({"p": 3, "q": 2}, cloud=3, basic=2), node("stray"), gateway("gw", "p-1")]
    expected = classify(cluster_facts(objects))
    shuffled = objects.copy()

    for seed in range(5):
        random.Random(seed).shuffle(shuffled)
        assert classify(cluster_facts(shuffled)) == expected


def test_an_explanation_names_the_rule_that_fired_and_what_others_say():
    facts = cluster_facts([node("n", in_pool("p", **{YURT: "p"})), ack_pool("p", "private")])

    found = explain_node(facts, "n")

    assert [item.rule for item in found.considered] == [name for name, _ in RULES]
    assert [item.rule for item in found.considered if item.fired] == ["ACK edge node"]
    openyurt = next(item for item in found.considered if item.rule == "OpenYurt")
    assert openyurt.finding is not None
    assert openyurt.finding.reason == "OpenYurtEdgePool"


def test_an_explanation_of_an_unknown_node_names_those_there_are():
    with pytest.raises(UnknownName, match="no Node named nope; there are a, b"):
        explain_node(cluster_facts([node("a"), node("b")]), "nope")
