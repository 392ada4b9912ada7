"""How an owner spreads a hot unit: along a tree that grows with the askings.

Whoever asks for a unit joins a tree with the owner at its root, in which each passes the unit on
to at most ``FAN_OUT`` others, within the plan's degree: a member that asks is pointed at the one
nearest to the root that has room, of these at the nearest to it in the graph. A member that was
pointed at is receiving the unit or has it, and passes on what has arrived while more arrives.
An uplink of rate B that carries two copies at once gives each B / 2, so that N readers have S
bytes after about 2 S / B and log2(N) short delays; six copies at once would take 6 S / B.
Half of such a tree are leaves, so for every unit half of the members are drawn, by a hash, to be
pointed at only after those some levels deeper: otherwise the ones that always ask first would pass
on two copies of every unit, and the others none.

Nobody is ever pointed at one that joined later, so nobody waits in a circle: who asks again is
served by the owner itself.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import xxhash

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

WINDOW_SECONDS = 30.0
FAN_OUT = 2
_SPARED = 3
_LOOKED_AT = 32
"""Members to choose from: of those with room, the ones that have waited longest."""
_UNITS = 4096


@dataclass(slots=True)
class _Receiver:
    depth: int
    spared: int
    """Levels that this one counts as deeper than it is."""
    children: int = 0


@dataclass(slots=True)
class _Tree:
    until: float
    served: int = 0
    """Members that the owner serves itself."""
    known: set[str] = field(default_factory=set)
    able: dict[str, _Receiver] = field(default_factory=dict)
    """Those that may pass the unit on to one more, as they came."""


class Spread:
    """The receivers of the units that were asked for lately."""

    def __init__(self, degree: int) -> None:
        self.degree = degree
        self._units: OrderedDict[str, _Tree] = OrderedDict()

    def admit(
        self,
        unit: str,
        requester: str,
        *,
        now: float,
        members: Collection[str],
        distance: Callable[[str, str], int],
    ) -> str | None:
        """Return the member to redirect ``requester`` to, or None to serve it from here."""
        self._forget(now)
        tree = self._units.setdefault(unit, _Tree(now))
        tree.until = now + WINDOW_SECONDS
        self._units.move_to_end(unit)
        if requester in tree.known:
            return None
        fan_out = min(FAN_OUT, self.degree)
        able = ((uid, found) for uid, found in tree.able.items() if uid in members)
        near = list(islice(able, _LOOKED_AT)) if tree.served >= fan_out else []
        tree.known.add(requester)
        if not near:
            tree.served += 1
            tree.able[requester] = _Receiver(1, _spared(unit, requester))
            return None
        target, parent = min(
            near,
            key=lambda one: (one[1].depth + one[1].spared, distance(requester, one[0]), one[0]),
        )
        parent.children += 1
        if parent.children >= fan_out:
            del tree.able[target]
        tree.able[requester] = _Receiver(parent.depth + 1, _spared(unit, requester))
        return target

    def withdraw(self, unit: str, receiver: str) -> None:
        """Stop pointing at a receiver that turned out not to have the unit."""
        tree = self._units.get(unit)
        if tree is not None:
            tree.able.pop(receiver, None)

    def _forget(self, now: float) -> None:
        units = self._units
        while units and (len(units) > _UNITS or next(iter(units.values())).until < now):
            units.popitem(last=False)


def _spared(unit: str, uid: str) -> int:
    """Draw by how many levels a member is spared from passing this unit on."""
    return _SPARED * (xxhash.xxh3_64_intdigest(f"{unit} {uid}".encode()) & 1)
