"""What a cluster's facts say about each node, indexed once: its pools, gateways and markers.

Everything here reads; nothing decides. The rules in ``ack``, ``openyurt``, ``platforms`` and
``overrides`` decide on it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from cache_ctl.domain import marks
from cache_ctl.domain.marks import word
from runtime.contract.plan import NetworkClass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cache_ctl.domain.facts import ClusterFacts, KindState, NodeFacts, PoolFacts, PoolKind

_EDGE_KEYS = (
    marks.ACK_EDGE_WORKER,
    marks.ACK_ENS_INSTANCE,
    marks.ACK_UPLINK,
    marks.YURT_EDGE_WORKER,
    marks.YURT_POOL,
    marks.YURT_DESIRED_POOL,
    marks.RAVEN_GATEWAY,
    marks.KUBEEDGE_ROLE,
    marks.KUBEEDGE_GROUP,
    marks.SUPEREDGE_EDGE,
    marks.SUPEREDGE_CLOUD,
)
"""Labels whose mere presence shows that an edge platform runs in the cluster."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule says of a node. ``final`` findings are not restricted by later evidence."""

    network_class: NetworkClass
    reason: str
    message: str
    evidence: tuple[str, ...]
    final: bool = False


def label(node: NodeFacts, key: str) -> str:
    """Return one piece of evidence as it is printed: ``node label key=value``."""
    return f"node label {key}={node.labels[key]}"


def annotation(pool: PoolFacts, key: str) -> str:
    """Return one piece of evidence as it is printed: ``NodePool name annotation key=value``."""
    return f"{pool.kind} {pool.name} annotation {key}={pool.annotations[key]}"


class Evidence:
    """The facts of one cluster, indexed by node.

    ``gateways`` and ``groups`` of a node are sorted by name; where objects of one kind and name
    are given twice, the last one counts.
    """

    def __init__(self, cluster: ClusterFacts) -> None:
        self.cluster = cluster
        self._pools: dict[tuple[PoolKind, str], PoolFacts] = {
            (pool.kind, pool.name): pool for pool in cluster.pools
        }
        self._by_member: dict[str, list[PoolFacts]] = defaultdict(list)
        # By one of the labels that each selects, so that a node looks at few of them.
        self._by_label: dict[tuple[str, str], list[PoolFacts]] = defaultdict(list)
        for pool in sorted(self._pools.values(), key=lambda pool: (pool.kind, pool.name)):
            if pool.kind in ("NodeGroup", "NodeUnit", "Gateway"):
                for name in pool.members:
                    self._by_member[name].append(pool)
            if pool.kind in ("NodeGroup", "NodeUnit") and pool.selector:
                self._by_label[min(pool.selector.items())].append(pool)
            if pool.kind == "NodeUnit":
                self._by_label[pool.name, marks.SUPEREDGE_UNIT_VALUE].append(pool)

    def kind_state(self, kind: PoolKind) -> KindState:
        """Tell whether objects of this kind could be read."""
        return self.cluster.kinds.get(kind, "Absent")

    @staticmethod
    def pool_id(node: NodeFacts) -> str:
        """Return the name of the node's pool, or an empty string."""
        labels = node.labels
        keys = (marks.ACK_POOL_ID, marks.YURT_POOL, marks.YURT_DESIRED_POOL)
        return next((labels[key] for key in keys if labels.get(key)), "")

    @staticmethod
    def rival_pool_id(node: NodeFacts) -> str:
        """Return the other pool that the node's labels name beside its own, or an empty string."""
        rival = node.labels.get(marks.YURT_POOL, "")
        mine = node.labels.get(marks.ACK_POOL_ID, "")
        return rival if mine and rival and rival != mine else ""

    def node_pool(self, node: NodeFacts) -> PoolFacts | None:
        """Return the NodePool object that the node belongs to, when it can be read."""
        name = self.pool_id(node)
        return self._pools.get(("NodePool", name)) if name else None

    def groups(self, node: NodeFacts) -> tuple[PoolFacts, ...]:
        """Return the KubeEdge NodeGroups and SuperEdge NodeUnits that the node belongs to."""
        found: dict[tuple[str, str], PoolFacts] = {}
        for pool in self._by_member.get(node.name, ()):
            if pool.kind != "Gateway":
                found[pool.kind, pool.name] = pool
        for pair in node.labels.items():
            for pool in self._by_label.get(pair, ()):
                named = pair == (pool.name, marks.SUPEREDGE_UNIT_VALUE)
                if named or pool.selector.items() <= node.labels.items():
                    found[pool.kind, pool.name] = pool
        group = self._pools.get(("NodeGroup", node.labels.get(marks.KUBEEDGE_GROUP, "")))
        if group is not None:
            found[group.kind, group.name] = group
        return tuple(found[key] for key in sorted(found))

    def gateways(self, node: NodeFacts) -> tuple[str, ...]:
        """Return the Raven gateways that the node's label or a Gateway's status name."""
        named = {pool.name for pool in self._by_member.get(node.name, ()) if pool.kind == "Gateway"}
        if gateway := node.labels.get(marks.RAVEN_GATEWAY):
            named.add(gateway)
        return tuple(sorted(named))

    def communities(self, node: NodeFacts) -> tuple[str, ...]:
        """Return the FabEdge Communities whose members include this node."""
        return self._communities.get(node.name, ())

    @cached_property
    def _communities(self) -> dict[str, tuple[str, ...]]:
        """Community names by node name.

        An endpoint is called ``cluster.node``. When the Communities span several clusters, nothing
        tells which one is this, and two clusters may have nodes of one name: then none counts.
        """
        pools = [pool for pool in self.cluster.pools if pool.kind == "Community"]
        clusters = {member.partition(".")[0] for pool in pools for member in pool.members}
        if len(clusters) != 1:
            return {}
        found: dict[str, set[str]] = defaultdict(set)
        for pool in pools:
            for member in pool.members:
                found[member.partition(".")[2]].add(pool.name)
        return {node: tuple(sorted(names)) for node, names in found.items() if node}

    @cached_property
    def edge_marker(self) -> str:
        """What shows that this cluster has, or may have, edge nodes; empty when nothing does."""
        return next(self._edge_markers(), "")

    def _edge_markers(self) -> Iterator[str]:
        """Yield what shows it, in an order that does not depend on the input's."""
        for kind in sorted({pool.kind for pool in self.cluster.pools}):
            yield f"the cluster has {kind} objects"
        for kind, state in sorted(self.cluster.kinds.items()):
            if state == "Served":
                yield f"the cluster serves the kind {kind}"
        for node in sorted(self.cluster.nodes, key=lambda node: node.name):
            yield from _node_markers(node)
        for rule in self.cluster.rules.rules:
            if rule.network_class and word(rule.network_class) != "cloud":
                yield f"a NetworkTopology rule makes nodes {rule.network_class}"


def _node_markers(node: NodeFacts) -> Iterator[str]:
    for key in _EDGE_KEYS:
        if key in node.labels:
            yield f"node {node.name} has the label {key}"
    if word(node.labels.get(marks.EKS_COMPUTE, "")) == "hybrid":
        yield f"node {node.name} has the label {marks.EKS_COMPUTE}"
    if word(node.annotations.get(marks.NETWORK_CLASS, "cloud")) != "cloud":
        yield f"node {node.name} has the annotation {marks.NETWORK_CLASS}"
