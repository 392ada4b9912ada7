"""Whom a node asks for a unit, in order, and why: shared by agents and by ``cachectl explain``.

The order is: known holders among the neighbours, nearest first; then the owner and the standbys
that rank before this node; then the origin. An owner looks at its first standby before it crosses
the line, and is given only what rests there, or what that one fetches across the line itself. A
member asked as owner that lacks the unit asks in the same way those that rank before itself, so a
chain of askings only climbs the ranking, cannot turn in a circle, and ends at the one owner that
goes to the origin.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from runtime.contract.plan import Plan

Via = Literal["holder", "owner", "standby", "origin"]


@dataclass(frozen=True, slots=True)
class Step:
    """One asking. ``uid`` is empty for the origin."""

    via: Via
    uid: str
    reason: str


def distances(neighbours: Mapping[str, Sequence[str]], start: str) -> dict[str, int]:
    """Return the hops from ``start`` to every member that the graph reaches (breadth first)."""
    found = {start: 0}
    queue = deque([start])
    while queue:
        here = queue.popleft()
        for near in neighbours.get(here, ()):
            if near not in found:
                found[near] = found[here] + 1
                queue.append(near)
    return found


def steps(
    plan: Plan,
    me: str,
    ranking: tuple[str, ...],
    *,
    holders: Collection[str] = (),
    down: Collection[str] = (),
) -> tuple[Step, ...]:
    """Return the askings for a unit with this ``ranking``, best first, the origin last.

    ``holders`` are neighbours known to hold the unit; ``down`` are members that do not answer.
    """
    if plan.mode == "LocalOnly":
        return (Step("origin", "", "this node is LocalOnly and knows no peers"),)
    zones = {member.uid: member.zone for member in plan.members}
    above = ranking[: ranking.index(me)] if me in ranking else ranking
    near = sorted(
        (uid for uid in holders if uid in zones and uid not in {me, *down, *above}),
        key=lambda uid: (zones[uid] != zones.get(me), uid),
    )
    found = [Step("holder", uid, _holder_reason(zones, me, uid)) for uid in near]
    if ranking[:1] == (me,):
        # Rendezvous hashing makes a new owner's first standby the owner of before.
        found += [
            Step("holder", uid, "the first standby, which has it if it owned the unit before")
            for uid in ranking[1:2]
            if uid not in near and uid not in down
        ]
    for rank, uid in enumerate(above):
        if uid not in down:
            found.append(
                Step("owner", uid, "first in the ranking of the unit's slot")
                if rank == 0
                else Step("standby", uid, f"rank {rank + 1}, asked when those before it fail"),
            )
    why = (
        "this node owns the unit"
        if ranking and ranking[0] == me
        else "nobody in the domain could give it"
    )
    return (*found, Step("origin", "", why))


def _holder_reason(zones: Mapping[str, str], me: str, uid: str) -> str:
    place = "in this node's zone" if zones[uid] == zones.get(me) else "in another zone"
    return f"a neighbour {place} that announced it"
