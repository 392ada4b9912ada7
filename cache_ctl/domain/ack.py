"""Rules 1 and 2: ACK Edge.

Every node of an ACK Edge cluster says whether it is an edge node. The uplink of an edge node is
its pool's: ``private`` is a line of one's own, ``basic`` or ``public`` is the internet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from cache_ctl.domain import marks, reasons
from cache_ctl.domain.evidence import Evidence, Finding, annotation, label
from cache_ctl.domain.marks import word

if TYPE_CHECKING:
    from cache_ctl.domain.facts import NodeFacts, PoolFacts

Uplink = Literal["dedicated", "basic", "unknown"]

_UPLINKS: dict[str, Uplink] = {
    "private": "dedicated",
    "dedicated": "dedicated",
    "basic": "basic",
    "public": "basic",
}


def uplink(value: str) -> Uplink:
    """Return what an interconnection mode says; ``improved`` and other values say nothing."""
    return _UPLINKS.get(word(value), "unknown")


def cloud_node(node: NodeFacts, _: Evidence) -> Finding | None:
    """Rule 1: the node says that it is no edge node."""
    if word(node.labels.get(marks.ACK_EDGE_WORKER, "")) != "false":
        return None
    message = "ACK marks the node as a cloud node"
    shown = (label(node, marks.ACK_EDGE_WORKER),)
    return Finding("Cloud", reasons.ACK_CLOUD_NODE, message, shown)


def edge_node(node: NodeFacts, evidence: Evidence) -> Finding | None:
    """Rule 2: the node says that it is an edge node, and its pool what its uplink is."""
    value = node.labels.get(marks.ACK_EDGE_WORKER)
    if value is None or word(value) == "false":
        return None
    marker = label(node, marks.ACK_EDGE_WORKER)
    if word(value) != "true":
        message = (
            f"the label {marks.ACK_EDGE_WORKER} is {value!r}, so the node is treated as Basic; "
            "it must be true or false"
        )
        return Finding("Basic", reasons.ACK_MARKER_INVALID, message, (marker,))
    pool = evidence.node_pool(node)
    if pool is None:
        return _by_label(node, evidence, marker)
    return _by_pool(node, pool, marker)


def _by_pool(node: NodeFacts, pool: PoolFacts, marker: str) -> Finding:
    mode = pool.annotations.get(marks.ACK_UPLINK)
    if mode is None:
        message = (
            f"the NodePool {pool.name} does not say what its uplink is, so the node is treated as "
            f"Basic; set its annotation {marks.ACK_UPLINK}, or {marks.NETWORK_CLASS}"
        )
        return Finding("Basic", reasons.ACK_UPLINK_UNKNOWN, message, (marker,))
    shown = (marker, annotation(pool, marks.ACK_UPLINK))
    on_node = node.labels.get(marks.ACK_UPLINK)
    if uplink(mode) == "dedicated" and on_node is not None and uplink(on_node) != "dedicated":
        message = (
            f"the NodePool {pool.name} says {mode} and the node's label says {on_node}, so the "
            "more restrictive one counts"
        )
        more = (*shown, label(node, marks.ACK_UPLINK))
        return Finding("Basic", reasons.CONTRADICTION, message, more)
    return _decide(mode, f"the uplink of the NodePool {pool.name}", shown)


def _by_label(node: NodeFacts, evidence: Evidence, marker: str) -> Finding:
    name = evidence.pool_id(node)
    mode = node.labels.get(marks.ACK_UPLINK)
    if mode is not None:
        return _decide(mode, "the node's uplink", (marker, label(node, marks.ACK_UPLINK)))
    if not name:
        why = "the node names no pool"
    elif evidence.kind_state("NodePool") == "Forbidden":
        why = f"the NodePool {name} may not be read; allow the controller to list nodepools"
    else:
        why = f"there is no NodePool {name}"
    message = f"the uplink of the edge node is not known, so it is treated as Basic: {why}"
    return Finding("Basic", reasons.ACK_UPLINK_UNKNOWN, message, (marker,))


def _decide(mode: str, subject: str, shown: tuple[str, ...]) -> Finding:
    match uplink(mode):
        case "dedicated":
            message = f"{subject} is a dedicated line ({mode})"
            return Finding("Dedicated", reasons.ACK_DEDICATED_POOL, message, shown)
        case "basic":
            message = f"{subject} is the public internet ({mode})"
            return Finding("Basic", reasons.ACK_BASIC_POOL, message, shown)
        case "unknown":
            message = f"{subject} is {mode!r}, which says nothing, so the node is treated as Basic"
            return Finding("Basic", reasons.ACK_UPLINK_UNKNOWN, message, shown)
