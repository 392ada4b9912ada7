"""Pure: what a pass over a CacheRuntime brings about, from all that it has looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cache_ctl.api import reasons
from cache_ctl.api.conditions import Finding, false, true
from cache_ctl.api.meta import dump
from cache_ctl.api.v1alpha1.cacheruntime import RuntimeDomain
from cache_ctl.domain import hold
from cache_ctl.domain import reasons as why
from cache_ctl.domain.classify import classify
from cache_ctl.domain.facts import AgentFacts, PlanningFacts, RuntimeFacts, TopologyOptions
from cache_ctl.domain.hold import Settled
from cache_ctl.domain.planning import plan
from cache_ctl.manifests.labels import RUNTIME, label_value
from cache_ctl.manifests.objects import Assignment
from cache_ctl.reconcile.roles import cache_agents
from cache_ctl.reconcile.specs import dataset_plan, prewarm_facts, rate, tier_plans
from cache_ctl.reconcile.tiers import tiers_finding
from runtime.contract.plan import NetworkClass, Plan

if TYPE_CHECKING:
    from cache_ctl.api.v1alpha1.cacheprewarm import CachePrewarm
    from cache_ctl.domain.domains import Classification
    from cache_ctl.domain.facts import NodeFacts
    from cache_ctl.domain.planning import Planned
    from cache_ctl.reconcile.gather import RuntimeView

UNCLASSIFIED: Final = frozenset(
    {
        why.NO_MARKER,
        why.EDGE_KIND_UNREADABLE,
        why.POOL_UNREADABLE,
        why.INVALID_OVERRIDE,
        why.ACK_MARKER_INVALID,
        why.ACK_UPLINK_UNKNOWN,
        why.OPENYURT_MARKER_INVALID,
    }
)
"""Reasons that mean "we could not tell", by which a node is treated as Basic."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What passes remember of nodes: evidence that waits, and since when one is away."""

    settled: Settled = field(default_factory=Settled)
    away: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeMark:
    """The class and the domain that a node's labels are to say."""

    node: str
    uid: str
    network_class: NetworkClass
    domain: str | None
    message: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be. ``due`` is when to look again although nothing has changed."""

    plans: Mapping[str, Plan]
    assignments: tuple[Assignment, ...]
    marks: tuple[NodeMark, ...]
    memory: Memory
    due: float
    status: Mapping[str, Any]
    findings: tuple[Finding, ...]


def decide(view: RuntimeView, memory: Memory, now: float) -> Decision:
    """Classify, settle, build and plan. ``now`` is monotonic.

    Raises:
        InvalidInput: a quantity of the spec cannot be read, or an object contradicts itself.
        InvariantBroken: the plans would link what may not be linked; nothing is to be applied.
    """
    islands = view.runtime.spec.topology.allow_connected_islands
    observed = classify(view.cluster, allow_connected_islands=islands)
    settled = hold.settle(memory.settled, observed, now)
    nodes = {node.uid: node for node in view.cluster.nodes}
    away = hold.absences(memory.away, view.cluster.nodes, now)
    ours = tuple(item for item in settled.classifications if item.node in view.claimed)
    planned = plan(ours, _planning_facts(view, ours, away.expired))
    assignments = _assignments(ours, nodes, planned, view)
    grace_ends = (
        since + hold.grace_seconds(nodes[uid])
        for uid, since in away.since.items()
        if uid not in away.expired
    )
    return Decision(
        plans=planned.plans,
        assignments=assignments,
        marks=tuple(
            NodeMark(item.node, item.uid, item.network_class, item.domain, item.message)
            for item in ours
        ),
        memory=Memory(settled, away.since),
        due=min([*grace_ends, float("inf") if settled.due is None else settled.due]),
        status=_status(view, ours, planned),
        findings=_findings(view, ours, planned, assignments, nodes),
    )


def _planning_facts(
    view: RuntimeView, ours: tuple[Classification, ...], absent: frozenset[str]
) -> PlanningFacts:
    spec = view.runtime.spec
    capacity = cache_agents(ours, spec.replicas)
    agents = tuple(
        AgentFacts(uid=item.uid, role="cache" if item.uid in capacity else "client", port=spec.port)
        for item in ours
    )
    uids = {item.uid for item in ours}
    return PlanningFacts(
        nodes=tuple(node for node in view.cluster.nodes if node.uid in uids),
        runtime=RuntimeFacts(
            ref=view.runtime.ref,
            agents=agents,
            topology=TopologyOptions(
                degree=spec.topology.degree,
                allow_connected_islands=spec.topology.allow_connected_islands,
            ),
            tiers=tier_plans(spec),
            line_bytes_per_second=rate(
                spec.bandwidth.per_domain_line, "spec.bandwidth.perDomainLine"
            ),
            basic_bytes_per_second=rate(
                spec.bandwidth.per_basic_node, "spec.bandwidth.perBasicNode"
            ),
        ),
        links=view.cluster.rules.links,
        datasets=tuple(dataset_plan(item, view.runtime) for item in view.datasets),
        prewarms=tuple(prewarm_facts(item) for item in view.prewarms if not finished(item)),
        absent=absent,
        previous=view.previous,
        floor=view.runtime.status.plan_generation,
    )


def finished(prewarm: CachePrewarm) -> bool:
    """Tell whether a prewarm has reached its end; then no plan carries it any more."""
    return any(
        condition.type in (reasons.COMPLETE, reasons.FAILED) and condition.status == "True"
        for condition in prewarm.status.conditions
    )


def _assignments(
    ours: tuple[Classification, ...],
    nodes: Mapping[str, NodeFacts],
    planned: Planned,
    view: RuntimeView,
) -> tuple[Assignment, ...]:
    alone = {item.uid: item for item in planned.topology.local_only}
    found = []
    for item in ours:
        name = planned.followed[item.uid]
        followed = planned.plans[name]
        member = followed.member(item.uid)
        local = alone.get(item.uid)
        found.append(
            Assignment(
                node=item.node,
                uid=item.uid,
                address=nodes[item.uid].internal_ip,
                port=view.runtime.spec.port,
                plan=name,
                network_class=item.network_class,
                domain=followed.domain,
                mode=followed.mode,
                role=member.role if member else "cache",
                reason=local.reason if local else item.reason,
                message=local.message if local else item.message,
            )
        )
    return tuple(found)


def _status(
    view: RuntimeView, ours: tuple[Classification, ...], planned: Planned
) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for name in planned.followed.values():
        counts[name] = counts.get(name, 0) + 1
    rows = [
        RuntimeDomain(
            name=item.domain or f"local-{item.network_class.lower()}",
            network_class=item.network_class,
            mode=item.mode,
            nodes=counts[name],
            plan=name,
            generation=item.generation,
        )
        for name, item in sorted(planned.plans.items())
    ]
    members = [member for item in planned.plans.values() for member in item.members]
    return {
        "replicas": sum(member.role == "cache" for member in members),
        "selector": f"{RUNTIME}={label_value(view.runtime.metadata.name)}",
        "planGeneration": planned.generation,
        "domains": [dump(row) for row in rows],
        "unclassifiedNodes": sum(item.reason in UNCLASSIFIED for item in ours),
    }


def _findings(
    view: RuntimeView,
    ours: tuple[Classification, ...],
    planned: Planned,
    assignments: tuple[Assignment, ...],
    nodes: Mapping[str, NodeFacts],
) -> tuple[Finding, ...]:
    built = _topology_finding(view, ours, planned)
    agents = _agents_finding(view, assignments, nodes)
    tiers = tiers_finding(view.workers)
    worst = next((finding for finding in (built, agents) if finding.status != "True"), None)
    ready = (
        true(reasons.READY, reasons.RUNTIME_READY, agents.message)
        if worst is None
        else Finding(reasons.READY, "False", worst.reason, worst.message)
    )
    return built, agents, tiers, ready


def _topology_finding(
    view: RuntimeView, ours: tuple[Classification, ...], planned: Planned
) -> Finding:
    taken = f"; {view.taken} more are served by an older CacheRuntime" if view.taken else ""
    if not ours:
        text = f"spec.nodes selects no node that could have an agent{taken}"
        return false(reasons.TOPOLOGY_BUILT, reasons.NO_NODES_SELECTED, text)
    alone = planned.topology.local_only
    unknown = [item.node for item in ours if item.reason in UNCLASSIFIED]
    text = (
        f"{len(ours)} nodes: {len(ours) - len(alone)} in {len(planned.topology.domains)} "
        f"domains, {len(alone)} LocalOnly"
    )
    if unknown:
        more = "..." if len(unknown) > 3 else ""
        text += f"; treated as Basic for want of evidence: {', '.join(unknown[:3])}{more}"
    return true(reasons.TOPOLOGY_BUILT, reasons.PLANS_CURRENT, text + taken)


def _agents_finding(
    view: RuntimeView, assignments: tuple[Assignment, ...], nodes: Mapping[str, NodeFacts]
) -> Finding:
    """Agents of nodes that are not ready are not waited for: nobody can say when they return."""
    expected = {item.node for item in assignments if nodes[item.uid].ready}
    said = {worker.spec.node: worker.status.message for worker in view.workers}
    ready = {worker.spec.node for worker in view.workers if worker.status.ready}
    missing = sorted(expected - ready)
    if missing or not expected:
        shown = [f"{node} ({said[node]})" if said.get(node) else node for node in missing[:3]]
        more = "..." if len(missing) > 3 else ""
        text = f"{len(expected) - len(missing)} of {len(expected)} agents are ready" + (
            f"; not ready: {', '.join(shown)}{more}" if missing else ""
        )
        return false(reasons.AGENTS_AVAILABLE, reasons.AGENTS_NOT_READY, text)
    hindered = sorted(node for node in expected if said.get(node))
    if hindered:
        text = f"{len(hindered)} of {len(expected)} agents cannot follow their plan in full: "
        text += "; ".join(f"{node} ({said[node]})" for node in hindered[:3])
        return false(reasons.AGENTS_AVAILABLE, reasons.AGENTS_HINDERED, text)
    text = f"all {len(expected)} agents are ready"
    return true(reasons.AGENTS_AVAILABLE, reasons.ALL_AGENTS_READY, text)
