"""Rule 3: OpenYurt. It tells cloud from edge, and says nothing of an edge pool's uplink.

Releases differ: older ones write ``openyurt.io/is-edge-worker: "false"`` on cloud nodes, current
ones remove the label. So ``false`` is evidence and absence is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cache_ctl.domain import marks, reasons
from cache_ctl.domain.evidence import Evidence, Finding, label
from cache_ctl.domain.marks import word

if TYPE_CHECKING:
    from cache_ctl.domain.facts import NodeFacts, PoolFacts


def openyurt_node(node: NodeFacts, evidence: Evidence) -> Finding | None:
    """Rule 3: the type of the node's pool, else the node's own marker."""
    pool = evidence.node_pool(node) if _names_pool(node) else None
    if pool is not None:
        return _by_pool(node, pool)
    value = node.labels.get(marks.YURT_EDGE_WORKER)
    if value is not None:
        return _by_marker(node, value)
    if not _names_pool(node):
        return None
    name = evidence.pool_id(node)
    refused = evidence.kind_state("NodePool") == "Forbidden"
    why = "may not be read; allow the controller to list nodepools" if refused else "does not exist"
    message = f"the NodePool {name} {why}, so the node is treated as Basic"
    return Finding("Basic", reasons.POOL_UNREADABLE, message, (_pool_label(node),))


def _names_pool(node: NodeFacts) -> bool:
    return bool(node.labels.get(marks.YURT_POOL) or node.labels.get(marks.YURT_DESIRED_POOL))


def _pool_label(node: NodeFacts) -> str:
    key = marks.YURT_POOL if node.labels.get(marks.YURT_POOL) else marks.YURT_DESIRED_POOL
    return label(node, key)


def _by_pool(node: NodeFacts, pool: PoolFacts) -> Finding:
    shown = (_pool_label(node), f"NodePool {pool.name} spec.type={pool.type or 'Edge (default)'}")
    match word(pool.type):
        case "cloud":
            message = f"the OpenYurt NodePool {pool.name} is a cloud pool"
            return Finding("Cloud", reasons.OPENYURT_CLOUD_POOL, message, shown)
        case "edge" | "":
            message = (
                f"the OpenYurt NodePool {pool.name} is an edge pool, whose uplink OpenYurt does "
                f"not tell; if it is a dedicated line, annotate it {marks.NETWORK_CLASS}: dedicated"
            )
            return Finding("Basic", reasons.OPENYURT_EDGE_POOL, message, shown)
        case _:
            message = (
                f"the NodePool {pool.name} has the type {pool.type!r}, so its nodes are treated as "
                "Basic; it must be Cloud or Edge"
            )
            return Finding("Basic", reasons.OPENYURT_MARKER_INVALID, message, shown)


def _by_marker(node: NodeFacts, value: str) -> Finding:
    shown = (label(node, marks.YURT_EDGE_WORKER),)
    match word(value):
        case "false":
            message = "OpenYurt marks the node as a cloud node"
            return Finding("Cloud", reasons.OPENYURT_CLOUD_NODE, message, shown)
        case "true":
            message = (
                "OpenYurt marks the node as an edge node and does not tell its uplink; if it is a "
                f"dedicated line, annotate the node {marks.NETWORK_CLASS}: dedicated"
            )
            return Finding("Basic", reasons.OPENYURT_EDGE_NODE, message, shown)
        case _:
            message = (
                f"the label {marks.YURT_EDGE_WORKER} is {value!r}, so the node is treated as "
                "Basic; it must be true or false"
            )
            return Finding("Basic", reasons.OPENYURT_MARKER_INVALID, message, shown)
