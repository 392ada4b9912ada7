"""From a node's class to its domain: what later evidence takes away, and the one thing it adds.

Contradictions count as the more restrictive reading. A domain that the operator names is taken as
it is. A pool whose addresses conflict with others' keeps its domain, as its nodes reach each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cache_ctl.domain import ack, marks, platforms, reasons
from cache_ctl.domain.evidence import Evidence, Finding, annotation, label
from cache_ctl.domain.marks import word
from cache_ctl.domain.overrides import domain_override
from runtime.contract.plan import NetworkClass

if TYPE_CHECKING:
    from cache_ctl.domain.facts import NodeFacts

CLOUD = "cloud"
"""The domain of cloud nodes without a region label."""
POOL_PREFIX = "pool:"
ISLAND_PREFIX = "island:"


@dataclass(frozen=True, slots=True)
class Classification:
    """Where a node stands. ``domain`` is None for a node that may not peer with any other.

    ``gateway`` splits a domain whose name the operator did not give.
    """

    node: str
    uid: str
    network_class: NetworkClass
    domain: str | None
    reason: str
    message: str
    evidence: tuple[str, ...] = ()
    gateway: str = ""

    @property
    def may_peer(self) -> bool:
        """Tell whether the node may peer with other nodes of its domain."""
        return self.domain is not None

    def without_peers(self, reason: str, message: str, *evidence: str) -> Classification:
        """Return this classification with its domain taken away."""
        return replace(
            self,
            domain=None,
            reason=reason,
            message=message,
            evidence=self.evidence + evidence,
            gateway="",
        )


def restrict_class(node: NodeFacts, evidence: Evidence, finding: Finding) -> Finding:
    """Return the finding, or Basic when other evidence on the node contradicts it."""
    if finding.final or finding.network_class == "Basic":
        return finding
    if finding.network_class == "Dedicated":
        rival = evidence.rival_pool_id(node)
        if not rival:
            return finding
        message = (
            f"the node's labels name two pools, {evidence.pool_id(node)} and {rival}, so it is "
            "treated as Basic; correct one of them"
        )
        shown = (*finding.evidence, label(node, marks.YURT_POOL))
        return Finding("Basic", reasons.POOL_CONTRADICTION, message, shown)
    marker = _edge_marker(node, evidence)
    if marker is None:
        return finding
    message = (
        f"{finding.message}, but {marker} says that it is an edge node, so it is treated as Basic; "
        f"correct one of them, or annotate the node {marks.NETWORK_CLASS}"
    )
    return Finding("Basic", reasons.CONTRADICTION, message, (*finding.evidence, marker))


def _edge_marker(node: NodeFacts, evidence: Evidence) -> str | None:
    """Return what calls a node an edge node that a rule has found to be a cloud node."""
    if word(node.labels.get(marks.YURT_EDGE_WORKER, "false")) != "false":
        return label(node, marks.YURT_EDGE_WORKER)
    found = platforms.edge_marker(node, evidence)
    if found is not None:
        return found[2]
    pool = evidence.node_pool(node)
    if pool is not None:
        if word(pool.type) == "edge":
            return f"NodePool {pool.name} spec.type={pool.type}"
        if ack.uplink(pool.annotations.get(marks.ACK_UPLINK, "")) == "basic":
            return annotation(pool, marks.ACK_UPLINK)
    return None


def place(
    node: NodeFacts, evidence: Evidence, finding: Finding, *, islands: bool
) -> Classification:
    """Return the node's classification: its class as found, and the domain that it may be in."""
    alone = Classification(
        node=node.name,
        uid=node.uid,
        network_class=finding.network_class,
        domain=None,
        reason=finding.reason,
        message=finding.message,
        evidence=finding.evidence,
    )
    if finding.network_class == "Basic":
        placed = _island(alone, node, evidence, finding) if islands else alone
    else:
        placed = _domain(alone, node, evidence)
    if placed.may_peer and not node.internal_ip:
        return placed.without_peers(
            reasons.NO_ADDRESS,
            "the node has no InternalIP, so no other node can address it",
        )
    return placed


def _domain(alone: Classification, node: NodeFacts, evidence: Evidence) -> Classification:
    """Place a cloud or dedicated node."""
    pool = evidence.node_pool(node)
    conflict = (
        pool is not None and word(pool.annotations.get(marks.ACK_ADDRESS_CONFLICT, "")) == "true"
    )
    named = domain_override(node, evidence)
    if named is not None:
        name, shown = named
        return replace(alone, domain=name, evidence=(*alone.evidence, shown))
    if pool is not None and word(pool.annotations.get(marks.ACK_CONNECTED, "")) == "false":
        return alone.without_peers(
            reasons.POOL_NOT_CONNECTED,
            f"the nodes of the NodePool {pool.name} are not connected to each other",
            annotation(pool, marks.ACK_CONNECTED),
        )
    gateways = evidence.gateways(node)
    if len(gateways) > 1:
        return alone.without_peers(
            reasons.GATEWAY_CONTRADICTION,
            f"the node belongs to several Raven gateways, {', '.join(gateways)}, so it may not "
            "peer; a node is in one network",
            *(f"Gateway {name}" for name in gateways),
        )
    if alone.network_class == "Cloud":
        domain = node.region or CLOUD
    elif evidence.pool_id(node):
        domain = POOL_PREFIX + evidence.pool_id(node)
    else:
        return alone.without_peers(
            reasons.NO_POOL,
            "the node belongs to no pool, so nothing tells which nodes are in its network; "
            f"annotate it {marks.NETWORK_DOMAIN}",
        )
    extra = (annotation(pool, marks.ACK_ADDRESS_CONFLICT),) if pool and conflict else ()
    return replace(
        alone,
        domain=domain,
        evidence=alone.evidence + extra,
        gateway=gateways[0] if gateways else "",
    )


def _island(
    alone: Classification, node: NodeFacts, evidence: Evidence, finding: Finding
) -> Classification:
    """Place a basic node whose group is known to be connected, as the runtime allows that.

    Only edge nodes: one that nothing marks, or whose markers are wrong, stays alone. Where the
    operator calls the node basic, only a domain that the operator names as well counts.
    """
    if finding.reason in _NEVER_ISLANDS:
        return alone
    found = domain_override(node, evidence)
    if found is None and not finding.final:
        found = _connected_pool(node, evidence) or _connected_group(node, evidence)
    if found is None:
        return alone
    name, shown = found
    message = f"{finding.message}; its group {name} is connected, and the runtime allows islands"
    return replace(
        alone,
        domain=ISLAND_PREFIX + name,
        reason=reasons.CONNECTED_ISLAND,
        message=message,
        evidence=(*alone.evidence, shown),
    )


_NEVER_ISLANDS = frozenset(
    {
        reasons.NO_MARKER,
        reasons.EDGE_KIND_UNREADABLE,
        reasons.INVALID_OVERRIDE,
        reasons.CONTRADICTION,
        reasons.POOL_CONTRADICTION,
        reasons.ACK_MARKER_INVALID,
        reasons.OPENYURT_MARKER_INVALID,
        reasons.POOL_UNREADABLE,
    }
)


def _connected_pool(node: NodeFacts, evidence: Evidence) -> tuple[str, str] | None:
    """Return the node's pool and what shows that its nodes are connected."""
    pool = evidence.node_pool(node)
    if pool is None or _contradicts_itself(node, evidence):
        return None
    connected = word(pool.annotations.get(marks.ACK_CONNECTED, ""))
    if connected == "true":
        return pool.name, annotation(pool, marks.ACK_CONNECTED)
    if pool.interconnected and connected != "false":
        return pool.name, f"NodePool {pool.name} spec.interConnectivity=true"
    return None


def _connected_group(node: NodeFacts, evidence: Evidence) -> tuple[str, str] | None:
    """Return the node's Community or location. ACK's pools speak for themselves."""
    pool = evidence.node_pool(node)
    parted = pool is not None and word(pool.annotations.get(marks.ACK_CONNECTED, "")) == "false"
    if marks.ACK_EDGE_WORKER in node.labels or parted or _contradicts_itself(node, evidence):
        return None
    communities = evidence.communities(node)
    if len(communities) == 1:
        return f"community/{communities[0]}", f"Community {communities[0]} contains the node"
    location = node.annotations.get(marks.KILO_LOCATION, "")
    if location and not communities:
        return f"location/{location}", f"node annotation {marks.KILO_LOCATION}={location}"
    return None


def _contradicts_itself(node: NodeFacts, evidence: Evidence) -> bool:
    return bool(evidence.rival_pool_id(node)) or len(evidence.gateways(node)) > 1
