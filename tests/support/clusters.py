"""Builders of clusters for tests of the decisions: raw Kubernetes objects, and facts from them."""

from __future__ import annotations

from typing import Any

from cache_ctl.domain.classify import classify
from cache_ctl.domain.facts import AgentFacts, NodeFacts, PlanningFacts, RuntimeFacts
from cache_ctl.domain.observe import cluster_facts

ACK = "alibabacloud.com/"
EDGE = {f"{ACK}is-edge-worker": "true"}
CLOUD = {f"{ACK}is-edge-worker": "false"}
CLASS = "cachectl.dev/network-class"
DOMAIN = "cachectl.dev/network-domain"


def node(
    name: str,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    *,
    ip: str | None = None,
    ready: bool = True,
) -> dict[str, Any]:
    """Return a Node with an address of its own, unless one is given; an empty one is none."""
    if ip is None:
        number = sum(ord(letter) * 31**index for index, letter in enumerate(name)) % 2**24
        ip = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "labels": labels or {},
            "annotations": annotations or {},
        },
        "status": {
            "addresses": [{"type": "Hostname", "address": name}]
            + ([{"type": "InternalIP", "address": ip}] if ip else []),
            "conditions": [{"type": "Ready", "status": "True" if ready else "Unknown"}],
        },
    }


def in_pool(pool: str, **more: str) -> dict[str, str]:
    """Return the labels of an ACK edge node in a pool."""
    return {**EDGE, f"{ACK}nodepool-id": pool, **more}


def node_pool(name: str, annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """Return an OpenYurt NodePool, as ACK Edge has them too."""
    return {
        "apiVersion": "apps.openyurt.io/v1beta2",
        "kind": "NodePool",
        "metadata": {"name": name, "annotations": annotations or {}},
        "spec": spec,
    }


def ack_pool(name: str, mode: str, **annotations: str) -> dict[str, Any]:
    """Return an ACK edge pool; annotations are given without their prefix, in snake case."""
    said = {ACK + key.replace("_", "-"): value for key, value in annotations.items()}
    return node_pool(name, {f"{ACK}interconnection-mode": mode, **said}, type="Edge")


def gateway(name: str, *nodes: str) -> dict[str, Any]:
    """Return a Raven Gateway whose status lists the nodes."""
    return {
        "apiVersion": "raven.openyurt.io/v1beta1",
        "kind": "Gateway",
        "metadata": {"name": name},
        "status": {"nodes": [{"nodeName": node} for node in nodes]},
    }


def community(name: str, *members: str) -> dict[str, Any]:
    """Return a FabEdge Community of endpoints, ``cluster.node``."""
    return {
        "apiVersion": "fabedge.io/v1alpha1",
        "kind": "Community",
        "metadata": {"name": name},
        "spec": {"members": list(members)},
    }


def network_topology(**spec: Any) -> dict[str, Any]:
    """Return a NetworkTopology."""
    return {
        "apiVersion": "cachectl.dev/v1alpha1",
        "kind": "NetworkTopology",
        "metadata": {"name": "default"},
        "spec": spec,
    }


def classified(*objects: dict[str, Any], islands: bool = False, kinds: Any = None):
    """Return the classifications of a cluster of these objects, by node name."""
    found = classify(cluster_facts(objects, kinds), allow_connected_islands=islands)
    return {item.node: item for item in found}


def fleet(pools: dict[str, int], *, cloud: int = 0, basic: int = 0) -> list[dict[str, Any]]:
    """Return a cluster of dedicated pools with so many nodes each, cloud nodes and basic nodes."""
    objects = [node(f"cloud-{i}", CLOUD, ip=f"10.0.{i >> 8}.{i & 255}") for i in range(cloud)]
    for number, (pool, count) in enumerate(pools.items(), start=1):
        objects.append(ack_pool(pool, "private"))
        objects += [
            node(f"{pool}-{i}", in_pool(pool), ip=f"10.{number}.{i >> 8}.{i & 255}")
            for i in range(count)
        ]
    if basic:
        objects.append(ack_pool("shops", "public"))
        objects += [
            node(f"shop-{i}", in_pool("shops"), ip=f"192.168.{i >> 8}.{i & 255}")
            for i in range(basic)
        ]
    return objects


def runtime(nodes: tuple[NodeFacts, ...], **fields: Any) -> RuntimeFacts:
    """Return a runtime with an agent on every node."""
    agents = tuple(AgentFacts(node.uid) for node in nodes)
    return RuntimeFacts(ref="cache-system/edge-cache", **({"agents": agents} | fields))


def planning(objects: list[dict[str, Any]], **fields: Any):
    """Return the classifications and the planning facts of a cluster, one agent on every node."""
    facts = cluster_facts(objects)
    given = {"runtime": runtime(facts.nodes), "links": facts.rules.links} | fields
    return classify(facts), PlanningFacts(nodes=facts.nodes, **given)
