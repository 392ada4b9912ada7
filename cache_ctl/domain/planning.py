"""From settled classifications to plans: one per distributed domain, one per class of the rest.

Pure, and independent of the order of its input: equal facts give plans that are equal byte for
byte. A generation grows only when the content of its plan changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cache_ctl.domain import naming, reasons
from cache_ctl.domain.budgets import Budgets
from cache_ctl.domain.topology import Topology, build_topology, check, degree_for
from cache_ctl.errors import InvariantBroken
from runtime.contract.plan import Member, NetworkClass, Plan
from runtime.contract.units import GIB

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cache_ctl.domain.domains import Classification
    from cache_ctl.domain.facts import (
        AgentFacts,
        PlanningFacts,
        PrewarmFacts,
        RuntimeFacts,
    )
    from cache_ctl.domain.topology import Domain

MIN_WEIGHT = 0.001
"""The weight of an agent of the role cache that has nearly no room."""


@dataclass(frozen=True, slots=True)
class Planned:
    """The plans of one runtime by name, the plan that each node follows by uid, and the topology.

    ``generation`` is the highest one ever given out; the caller keeps it as the next ``floor``.
    """

    plans: Mapping[str, Plan]
    followed: Mapping[str, str]
    topology: Topology
    generation: int


def plan(settled: Iterable[Classification], facts: PlanningFacts) -> Planned:
    """Return the plans of one runtime.

    Only nodes with an agent take part. A node whose grace is over leaves its domain, so that its
    share moves to others.

    Raises:
        InvalidDegree: the runtime's degree is odd, or below two.
        InvariantBroken: a plan would link what may not be linked.
    """
    runtime = facts.runtime
    agents = {agent.uid: agent for agent in runtime.agents}
    placed = [_without_absent(item, facts.absent) for item in settled if item.uid in agents]
    weights = {agent.uid: weight_of(agent, runtime) for agent in agents.values()}
    topology = build_topology(
        placed,
        facts.nodes,
        degree=runtime.topology.degree,
        owners={uid for uid, weight in weights.items() if weight > 0},
    )
    check(topology, placed)
    drafts, followed = _drafts(topology, facts, agents, weights)
    generation = max([facts.floor, *(old.generation for old in facts.previous.values())])
    plans = {
        name: _with_generation(draft, facts.previous.get(name), generation)
        for name, draft in sorted(drafts.items())
    }
    highest = max([generation, *(new.generation for new in plans.values())])
    return Planned(plans, dict(sorted(followed.items())), topology, highest)


def _drafts(
    topology: Topology,
    facts: PlanningFacts,
    agents: Mapping[str, AgentFacts],
    weights: Mapping[str, float],
) -> tuple[dict[str, Plan], dict[str, str]]:
    """Return the plans without their generations, and which one each node follows."""
    budgets = Budgets(topology, facts)
    drafts: dict[str, Plan] = {}
    followed: dict[str, str] = {}
    for domain in topology.domains:
        name = naming.plan_name(facts.runtime.ref, domain.name)
        if name in drafts:
            raise InvariantBroken(f"two domains have the plan name {name}; rename one of them")
        base = _base(facts, domain.network_class, domain.name)
        drafts[name] = replace(
            base,
            mode="Distributed",
            domain=domain.name,
            members=_members(domain, agents, weights),
            rings=domain.rings,
            degree=domain.degree,
            line_bytes_per_second=budgets.of_domain(domain),
        )
        followed |= {member.uid: name for member in domain.members}
    for network_class in sorted({item.network_class for item in topology.local_only}):
        name = naming.local_plan_name(facts.runtime.ref, network_class)
        base = _base(facts, network_class, None)
        rate = budgets.of_local_node(network_class)
        drafts[name] = replace(base, line_bytes_per_second=rate)
        followed |= {
            item.uid: name for item in topology.local_only if item.network_class == network_class
        }
    return drafts, followed


def weight_of(agent: AgentFacts, runtime: RuntimeFacts) -> float:
    """Return an agent's share of ownership: its room in GiB, 0 for clients.

    An agent whose room is not known counts with the runtime's tiers as they are set; where there
    are none, with 1.
    """
    if agent.role == "client":
        return 0.0
    room = agent.capacity
    if room is None:
        if not runtime.tiers:
            return 1.0
        room = sum(tier.quota for tier in runtime.tiers)
    return 0.0 if room <= 0 else max(MIN_WEIGHT, round(room / GIB, 3))


def _without_absent(item: Classification, absent: frozenset[str]) -> Classification:
    if item.uid not in absent or item.domain is None:
        return item
    return item.without_peers(
        reasons.NODE_NOT_READY,
        "the node has not been ready for longer than its grace, so others hold its share",
    )


def _members(
    domain: Domain, agents: Mapping[str, AgentFacts], weights: Mapping[str, float]
) -> tuple[Member, ...]:
    return tuple(
        Member(
            uid=member.uid,
            name=member.name,
            address=member.address,
            port=agents[member.uid].port,
            zone=member.zone,
            weight=weights[member.uid],
            role=agents[member.uid].role,
        )
        for member in domain.members
    )


def _base(facts: PlanningFacts, network_class: NetworkClass, domain: str | None) -> Plan:
    """Return what a domain's plan and a LocalOnly plan have in common."""
    prewarms = [
        item.plan for item in facts.prewarms if _takes_part(item, network_class, domain=domain)
    ]
    return Plan(
        generation=0,
        runtime=facts.runtime.ref,
        network_class=network_class,
        mode="LocalOnly",
        degree=degree_for(0, facts.runtime.topology.degree),
        tiers=facts.runtime.tiers,
        datasets=tuple(sorted(facts.datasets, key=lambda item: (item.namespace, item.name))),
        prewarms=tuple(sorted(prewarms, key=lambda item: (item.namespace, item.name, item.uid))),
    )


def _takes_part(prewarm: PrewarmFacts, network_class: NetworkClass, *, domain: str | None) -> bool:
    if prewarm.network_classes and network_class not in prewarm.network_classes:
        return False
    if domain is None:
        return prewarm.include_local_only and not prewarm.domains
    return not prewarm.domains or domain in prewarm.domains


def _with_generation(draft: Plan, old: Plan | None, highest: int) -> Plan:
    if old is None:
        return replace(draft, generation=highest + 1)
    same = replace(draft, generation=old.generation)
    return same if same == old else replace(draft, generation=old.generation + 1)
