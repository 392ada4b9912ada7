"""Islands: connected groups of basic nodes, which peer only where the runtime allows it."""

from __future__ import annotations

import pytest

from tests.support.clusters import (
    CLASS,
    DOMAIN,
    ack_pool,
    classified,
    community,
    gateway,
    in_pool,
    node,
    node_pool,
)

KUBEEDGE = {"node-role.kubernetes.io/edge": ""}
YURT = "apps.openyurt.io/nodepool"
KILO = "kilo.squat.ai/location"

ISLANDS = [
    ("ack-pool", in_pool("p"), {}, [ack_pool("p", "public", pool_nodes_connected="TRUE")],
     "island:p"),
    ("openyurt-pool", {YURT: "p"}, {}, [node_pool("p", interConnectivity=True)], "island:p"),
    ("fabedge", KUBEEDGE, {}, [community("c", "here.n", "here.m")], "island:community/c"),
    ("kilo", KUBEEDGE, {KILO: "site"}, [], "island:location/site"),
    ("named-twice", {}, {CLASS: "basic", DOMAIN: "shop-7"}, [], "island:shop-7"),
]  # fmt: skip
NO_ISLANDS = [
    ("no-evidence", in_pool("p"), {}, [ack_pool("p", "public")]),
    ("said-not-connected", {YURT: "p"}, {KILO: "site"},
     [node_pool("p", {"alibabacloud.com/pool-nodes-connected": "false"}, interConnectivity=True)]),
    ("interconnected-false", {YURT: "p"}, {}, [node_pool("p", interConnectivity=False)]),
    ("interconnected-text", {YURT: "p"}, {}, [node_pool("p", interConnectivity="true")]),
    ("ack-and-a-community", in_pool("p"), {}, [ack_pool("p", "public"), community("c", "h.n")]),
    ("communities-of-two-clusters", KUBEEDGE, {}, [community("c", "here.n", "there.n")]),
    ("two-communities", KUBEEDGE, {}, [community("c", "h.n"), community("d", "h.n")]),
    ("no-marker", {}, {KILO: "site"}, [node("e", KUBEEDGE)]),
    ("called-basic-without-a-domain", {YURT: "p"}, {CLASS: "basic"},
     [node_pool("p", interConnectivity=True)]),
    ("wrong-override", {YURT: "p"}, {CLASS: "basik", DOMAIN: "x"},
     [node_pool("p", interConnectivity=True)]),
    ("group-without-connectivity", {"apps.kubeedge.io/belonging-to": "g"}, {}, []),
    ("two-gateways", {YURT: "p", "raven.openyurt.io/gateway": "a"}, {},
     [node_pool("p", interConnectivity=True), gateway("b", "n")]),
]  # fmt: skip


@pytest.mark.parametrize("row", ISLANDS, ids=[row[0] for row in ISLANDS])
def test_a_connected_group_is_an_island_only_where_islands_are_allowed(row):
    _, labels, annotations, others, domain = row
    objects = [node("n", labels, annotations), *others]

    off, on = classified(*objects)["n"], classified(*objects, islands=True)["n"]

    assert (off.network_class, off.domain) == ("Basic", None)
    assert (on.network_class, on.domain, on.reason) == ("Basic", domain, "ConnectedIsland")


@pytest.mark.parametrize("row", NO_ISLANDS, ids=[row[0] for row in NO_ISLANDS])
def test_without_clear_evidence_a_basic_node_stays_alone(row):
    _, labels, annotations, others = row

    found = classified(node("n", labels, annotations), *others, islands=True)["n"]

    assert (found.network_class, found.domain) == ("Basic", None)
