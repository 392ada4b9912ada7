"""Rules 4 and 5: other edge platforms, and nodes without any marker.

No other platform publishes whether an edge node's uplink is a line of one's own, so their edge
nodes are Basic until the operator says otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cache_ctl.domain import marks, reasons
from cache_ctl.domain.evidence import Evidence, Finding, label
from cache_ctl.domain.marks import word

if TYPE_CHECKING:
    from cache_ctl.domain.facts import NodeFacts

_REMEDY = (
    f"which does not tell its uplink; if it is a dedicated line, annotate the node "
    f"{marks.NETWORK_CLASS}: dedicated"
)


def edge_marker(node: NodeFacts, evidence: Evidence) -> tuple[str, str, str] | None:
    """Return ``(reason, platform, evidence)`` of the platform that calls this an edge node."""
    labels = node.labels
    if marks.ACK_ENS_INSTANCE in labels:
        return reasons.ENS_NODE, "an edge node of ENS", label(node, marks.ACK_ENS_INSTANCE)
    for key in (marks.KUBEEDGE_ROLE, marks.KUBEEDGE_GROUP):
        if key in labels:
            return reasons.KUBEEDGE_NODE, "an edge node of KubeEdge or FabEdge", label(node, key)
    if word(labels.get(marks.SUPEREDGE_EDGE, "")) == "enable":
        shown = label(node, marks.SUPEREDGE_EDGE)
        return reasons.SUPEREDGE_NODE, "an edge node of SuperEdge", shown
    if word(labels.get(marks.EKS_COMPUTE, "")) == "hybrid":
        return reasons.EKS_HYBRID_NODE, "a hybrid node of EKS", label(node, marks.EKS_COMPUTE)
    for group in evidence.groups(node):
        if group.kind == "NodeGroup":
            shown = f"NodeGroup {group.name} contains the node"
            return reasons.KUBEEDGE_NODE, "in a node group of KubeEdge", shown
        if word(group.type) == "edge":
            shown = f"NodeUnit {group.name} spec.type={group.type} contains the node"
            return reasons.SUPEREDGE_NODE, "in an edge unit of SuperEdge", shown
    return None


def edge_node(node: NodeFacts, evidence: Evidence) -> Finding | None:
    """Rule 4: a platform calls the node an edge node."""
    marker = edge_marker(node, evidence)
    if marker is None:
        return None
    reason, platform, shown = marker
    return Finding("Basic", reason, f"the node is {platform}, {_REMEDY}", (shown,))


def superedge_cloud_node(node: NodeFacts, _: Evidence) -> Finding | None:
    """Rule 5, positive evidence: SuperEdge calls the node a cloud node."""
    if word(node.labels.get(marks.SUPEREDGE_CLOUD, "")) != "enable":
        return None
    message = "SuperEdge marks the node as a cloud node"
    shown = (label(node, marks.SUPEREDGE_CLOUD),)
    return Finding("Cloud", reasons.SUPEREDGE_CLOUD_NODE, message, shown)


def unmarked_node(_: NodeFacts, evidence: Evidence) -> Finding:
    """Rule 5: no marker on the node. The provider ID says nothing: edge distributions set it."""
    if evidence.cluster.rules.unlabeled_nodes == "Cloud":
        message = "the node has no marker, and the NetworkTopology says that such nodes are Cloud"
        shown = ("NetworkTopology unlabeledNodes=Cloud",)
        return Finding("Cloud", reasons.UNLABELED_IS_CLOUD, message, shown)
    remedy = (
        f"annotate the node {marks.NETWORK_CLASS}, or set unlabeledNodes: Cloud in the "
        "NetworkTopology"
    )
    if evidence.edge_marker:
        message = (
            "the node has no marker in a cluster with edge nodes, so it is treated as Basic; "
            f"if it is a cloud node, {remedy}"
        )
        return Finding("Basic", reasons.NO_MARKER, message, (evidence.edge_marker,))
    refused = sorted(kind for kind, state in evidence.cluster.kinds.items() if state == "Forbidden")
    if refused:
        message = (
            f"the node has no marker, and {', '.join(refused)} objects may not be read, so it is "
            f"treated as Basic; allow the controller to list them, or {remedy}"
        )
        kinds = tuple(f"the kind {kind} is forbidden" for kind in refused)
        return Finding("Basic", reasons.EDGE_KIND_UNREADABLE, message, kinds)
    message = "nothing in the cluster is marked as edge, so all of its nodes are in one cloud"
    return Finding("Cloud", reasons.NO_EDGE_IN_CLUSTER, message, ("no edge marker in the cluster",))
