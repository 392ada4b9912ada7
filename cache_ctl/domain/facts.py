"""Frozen inputs of every decision. Built by ``observe`` from Kubernetes objects, or by tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from cache_ctl.domain import marks
from runtime.contract.plan import (
    DatasetPlan,
    NetworkClass,
    Plan,
    PrewarmPlan,
    Role,
    TierPlan,
)
from runtime.contract.protocol import DEFAULT_PORT

PoolKind = Literal["NodePool", "NodeGroup", "NodeUnit", "Community", "Gateway"]
KindState = Literal["Served", "Absent", "Forbidden"]
"""Of a kind of pool object: the API server lists it, has no such kind, or refuses to list it."""

POOL_GROUPS: Mapping[PoolKind, str] = {
    "NodePool": "apps.openyurt.io",
    "NodeGroup": "apps.kubeedge.io",
    "NodeUnit": "site.superedge.io",
    "Community": "fabedge.io",
    "Gateway": "raven.openyurt.io",
}
"""The API group of each kind: other projects have kinds of the same names."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What a Node object says of itself."""

    name: str
    uid: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    internal_ip: str = ""
    ready: bool = True

    @property
    def region(self) -> str:
        """The region label, or an empty string."""
        return next((self.labels[key] for key in marks.REGION if self.labels.get(key)), "")

    @property
    def zone(self) -> str:
        """The zone label, or an empty string. On edge nodes it is often the pool's name."""
        return next((self.labels[key] for key in marks.ZONE if self.labels.get(key)), "")


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """A platform's object that groups nodes.

    ``type`` is ``spec.type`` as written. ``interconnected`` is the NodePool's interConnectivity:
    false there is no information, as conversion from older versions always writes it.
    ``members`` are node names; of a Community they are endpoint names, ``cluster.node``.
    """

    kind: PoolKind
    name: str
    annotations: Mapping[str, str] = field(default_factory=dict)
    type: str = ""
    interconnected: bool = False
    members: frozenset[str] = frozenset()
    selector: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One of a selector's matchExpressions."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether the labels satisfy this requirement, as Kubernetes reads it."""
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels


@dataclass(frozen=True, slots=True)
class Rule:
    """One of the operator's rules: nodes that match get the class, the domain, or both."""

    labels: Mapping[str, str] = field(default_factory=dict)
    expressions: tuple[Requirement, ...] = ()
    network_class: str = ""
    domain: str = ""

    def matches(self, node: NodeFacts) -> bool:
        """Tell whether the rule selects the node; an empty selector selects all."""
        return all(node.labels.get(key) == value for key, value in self.labels.items()) and all(
            expression.matches(node.labels) for expression in self.expressions
        )


@dataclass(frozen=True, slots=True)
class LinkRule:
    """What the operator says of the line between two domains, or a domain and the origin.

    ``source`` and ``target`` are domain names, pool ids, ``cloud`` for every cloud domain, or
    ``origin``; a line has no direction. Bandwidth in bytes per second, 0 for unknown; cost per
    byte relative to other lines, None for the default.
    """

    source: str
    target: str
    bandwidth: int = 0
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class TopologyRules:
    """The operator's NetworkTopology."""

    rules: tuple[Rule, ...] = ()
    unlabeled_nodes: Literal["Basic", "Cloud"] = "Basic"
    links: tuple[LinkRule, ...] = ()


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """All that classification looks at. A kind that is not in ``kinds`` is absent."""

    nodes: tuple[NodeFacts, ...] = ()
    pools: tuple[PoolFacts, ...] = ()
    rules: TopologyRules = field(default_factory=TopologyRules)
    kinds: Mapping[PoolKind, KindState] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TopologyOptions:
    """A CacheRuntime's topology section. ``degree`` None chooses by the size of the domain."""

    degree: int | None = None
    allow_connected_islands: bool = False


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """A runtime's agent on a node. ``capacity`` in bytes, None for the runtime's tiers as set."""

    uid: str
    role: Role = "cache"
    port: int = DEFAULT_PORT
    capacity: int | None = None


@dataclass(frozen=True, slots=True)
class RuntimeFacts:
    """A CacheRuntime and its agents. Rates in bytes per second, 0 for unlimited."""

    ref: str
    agents: tuple[AgentFacts, ...] = ()
    topology: TopologyOptions = field(default_factory=TopologyOptions)
    tiers: tuple[TierPlan, ...] = ()
    line_bytes_per_second: int = 0
    basic_bytes_per_second: int = 0


@dataclass(frozen=True, slots=True)
class PrewarmFacts:
    """A prewarm that runs now, and which plans it is for; an empty set is no limit."""

    plan: PrewarmPlan
    network_classes: frozenset[NetworkClass] = frozenset()
    domains: frozenset[str] = frozenset()
    include_local_only: bool = False


@dataclass(frozen=True, slots=True)
class PlanningFacts:
    """All that planning for one runtime looks at.

    ``absent`` are uids of nodes that have been away for longer than their grace. ``previous`` are
    the plans now in force, by plan name; ``floor`` is the highest generation ever given out for
    this runtime, so that a domain which vanished and came back does not start below it.
    """

    nodes: tuple[NodeFacts, ...]
    runtime: RuntimeFacts
    links: tuple[LinkRule, ...] = ()
    datasets: tuple[DatasetPlan, ...] = ()
    prewarms: tuple[PrewarmFacts, ...] = ()
    absent: frozenset[str] = frozenset()
    previous: Mapping[str, Plan] = field(default_factory=dict)
    floor: int = 0
