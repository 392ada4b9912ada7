"""How an owner spreads a hot unit: a few copies from itself, the rest from those who got one.

An owner gives one unit to at most ``degree`` requesters within a window, and points every further
one at one of these, the one with the fewest referred to it so far, then the nearest to the
requester in the graph. The one pointed at is receiving the unit or has it, and passes on what has
arrived. So the owner's uplink carries ``degree`` copies, whatever the number of readers.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

WINDOW_SECONDS = 30.0
_UNITS = 4096


@dataclass(slots=True)
class _Receivers:
    until: float
    referred: dict[str, int] = field(default_factory=dict)


class Spread:
    """The receivers of the units that were asked for lately."""

    def __init__(self, degree: int) -> None:
        self.degree = degree
        self._units: OrderedDict[str, _Receivers] = OrderedDict()

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
        entry = self._units.setdefault(unit, _Receivers(now))
        entry.until = now + WINDOW_SECONDS
        self._units.move_to_end(unit)
        others = [uid for uid in entry.referred if uid != requester and uid in members]
        if requester in entry.referred or len(others) < self.degree:
            entry.referred.setdefault(requester, 0)
            return None
        target = min(others, key=lambda uid: (entry.referred[uid], distance(requester, uid), uid))
        entry.referred[target] += 1
        return target

    def withdraw(self, unit: str, receiver: str) -> None:
        """Stop pointing at a receiver that turned out not to have the unit."""
        entry = self._units.get(unit)
        if entry is not None:
            entry.referred.pop(receiver, None)

    def _forget(self, now: float) -> None:
        units = self._units
        while units and (len(units) > _UNITS or next(iter(units.values())).until < now):
            units.popitem(last=False)
