"""A plan as one agent sees it: made once per generation, then only read."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from runtime.contract import route
from runtime.contract.ownership import Ownership

if TYPE_CHECKING:
    from collections.abc import Collection

    from runtime.contract.plan import Member, Plan

FAR = 1 << 30


class PlanView:
    """The plan, who owns what in it, and where this agent stands in its graph.

    ``previous`` is the ownership of the plan before: who may still hold what moved to this agent.
    """

    def __init__(self, plan: Plan, me: str, previous: Ownership | None = None) -> None:
        self.plan = plan
        self.me = me
        self.previous = previous
        self.members = {member.uid: member for member in plan.members}
        self.ownership = Ownership(_weights(plan))
        self._distances: dict[str, dict[str, int]] = {}

    def followed_by(self, plan: Plan) -> PlanView:
        """Return the view of the next plan, which remembers who owned what before it."""
        if not self.distributed or plan.domain != self.plan.domain:
            return PlanView(plan, self.me)
        moved = _weights(plan) != _weights(self.plan)
        return PlanView(plan, self.me, self.ownership if moved else self.previous)

    @property
    def distributed(self) -> bool:
        """Tell whether this agent has peers."""
        return self.plan.mode == "Distributed" and self.me in self.members

    @property
    def member(self) -> Member | None:
        """Return this agent's own entry in the plan."""
        return self.members.get(self.me)

    @cached_property
    def graph(self) -> dict[str, tuple[str, ...]]:
        """Return every member's neighbours."""
        return self.plan.neighbours()

    def distance(self, start: str, stop: str) -> int:
        """Return the hops between two members, ``FAR`` where there is no path."""
        found = self._distances.get(start)
        if found is None:
            found = self._distances[start] = route.distances(self.graph, start)
        return found.get(stop, FAR)

    def ranking(self, name: str) -> tuple[str, ...]:
        """Return the owner and standbys of a name; this agent alone when it has no peers."""
        return self.ownership.of(name) if self.distributed else (self.me,)

    def owns(self, name: str, copies: int = 1) -> bool:
        """Tell whether this agent is among the first ``copies`` in the ranking of a name."""
        return self.me in self.ranking(name)[:copies]

    def steps(
        self, name: str, *, holders: Collection[str], down: Collection[str]
    ) -> tuple[route.Step, ...]:
        """Return whom to ask for a unit, in order.

        A unit that only lately became this agent's own may still lie with its owner of before:
        that one is asked as a holder, ahead of the origin.
        """
        ranking = self.ranking(name)
        known = set(holders)
        if self.previous is not None and ranking[:1] == (self.me,):
            known.update(uid for uid in self.previous.of(name)[:1] if uid in self.members)
        return route.steps(self.plan, self.me, ranking, holders=known, down=down)


def _weights(plan: Plan) -> list[tuple[str, float]]:
    return [(member.uid, member.weight) for member in plan.members if member.role == "cache"]
