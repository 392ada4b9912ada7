"""Who owns a unit in a plan and why, and whom a node asks for it: for people, not for agents.

The order of asking is the agents' own, from ``runtime.contract.route``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cache_ctl.errors import UnknownName
from runtime.contract import route
from runtime.contract.ownership import Ownership, score
from runtime.contract.plan import Member
from runtime.contract.units import SLOTS, slot_of

if TYPE_CHECKING:
    from runtime.contract.plan import Plan

Source = Literal["local", "holder", "owner", "standby", "origin"]


@dataclass(frozen=True, slots=True)
class Rank:
    """A member's place in the ranking of a slot."""

    member: Member
    score: float
    share: float
    """Which part of all the slots the member owns, 0 to 1."""


@dataclass(frozen=True, slots=True)
class OwnershipExplanation:
    """The owner of a unit and its standbys, best first."""

    unit: str
    slot: int
    ranking: tuple[Rank, ...]
    why: str


@dataclass(frozen=True, slots=True)
class ReadStep:
    """One place where a read looks; ``node`` is empty for the origin."""

    source: Source
    node: str
    why: str


def shares(plan: Plan) -> dict[str, float]:
    """Return which part of all slots each member owns, by uid; clients own none."""
    ownership = _ownership(plan)
    owned = Counter(ranking[0] for slot in range(SLOTS) if (ranking := ownership.ranking(slot)))
    return {member.uid: owned[member.uid] / SLOTS for member in plan.members}


def explain_unit(plan: Plan, unit: str) -> OwnershipExplanation:
    """Return who owns a unit in a distributed plan, who stands by, and why."""
    slot = slot_of(unit)
    members = {member.uid: member for member in plan.members}
    part = shares(plan)
    ranking = tuple(
        Rank(members[uid], score(uid, members[uid].weight, slot), part[uid])
        for uid in _ownership(plan).ranking(slot)
    )
    caches = sum(1 for member in plan.members if member.weight > 0)
    if not ranking:
        why = "no member of the domain keeps a share, so nobody owns it"
    else:
        why = (
            f"the unit falls into slot {slot} of {SLOTS}, and of the {caches} members that keep a "
            f"share {ranking[0].member.name} scores highest there"
        )
    return OwnershipExplanation(unit, slot, ranking, why)


def read_path(plan: Plan, unit: str, node: str, *, origin: str = "") -> tuple[ReadStep, ...]:
    """Return where a read on ``node`` looks for the unit, in order.

    ``origin`` is the endpoint that nodes of this class use, for the last step's sentence.

    Raises:
        UnknownName: the plan is a domain's, and the node is not in it.
    """
    local = ReadStep("local", node, "what this node holds is read from its own tiers")
    way = f" at {origin}" if origin else ""
    if plan.mode == "LocalOnly":
        why = f"the node is LocalOnly: it knows no peers and asks the origin{way} itself"
        return (local, ReadStep("origin", "", why))
    names = {member.uid: member.name for member in plan.members}
    me = next((uid for uid, name in names.items() if name == node), None)
    if me is None:
        raise UnknownName(f"the node {node} is no member of the domain {plan.domain}")
    ranking = _ownership(plan).of(unit)
    holders = set(plan.neighbours()[me])
    if ranking[:1] == (me,):
        holders -= {*ranking[1:2]}  # an owner looks there whether that one announced it or not
    found = [local]
    for step in route.steps(plan, me, ranking, holders=holders):
        why = step.reason
        announced = " that announced it"
        if why.endswith(announced):
            why = f"{why.removesuffix(announced)}, asked if it announced the unit"
        elif step.via == "owner":
            why = f"{why}; it may redirect once to a member that holds or receives the unit"
        elif step.via == "origin":
            why = f"{why}; the origin{way} is asked last"
        found.append(ReadStep(step.via, names.get(step.uid, ""), why))
    return tuple(found)


def _ownership(plan: Plan) -> Ownership:
    return Ownership([(m.uid, m.weight) for m in plan.members if m.role == "cache"])
