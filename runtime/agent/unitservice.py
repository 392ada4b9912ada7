"""What this agent gives to peers: units that rest here, or that are on their way."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from runtime.agent.content import Content
from runtime.agent.flight import Flight
from runtime.contract.layout import ObjectLayout
from runtime.contract.protocol import AskAs
from runtime.errors import PeerMissing
from runtime.policy.spread import Spread

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.agent.counters import Counters
    from runtime.agent.fetch import Fetcher
    from runtime.agent.planview import PlanView


@dataclass(frozen=True, slots=True)
class Asking:
    """A peer's question. ``cell`` names one member of a group, or None for the whole unit.

    ``nowhere`` is the member that an earlier redirect named in vain.
    """

    requester: str
    content: Content
    unit: int
    cell: int | None
    role: AskAs
    nowhere: str = ""


@dataclass(frozen=True, slots=True)
class Resting:
    """The unit is in the store."""


@dataclass(frozen=True, slots=True)
class Arriving:
    """The unit is on its way, or lies in transit."""

    flight: Flight


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """That member has the unit, or is receiving it."""

    uid: str


class UnitService:
    """Answers peers. A holder gives what it has; an owner fetches what it lacks."""

    def __init__(self, fetcher: Fetcher, counters: Counters, view: Callable[[], PlanView]) -> None:
        self._fetcher = fetcher
        self._counters = counters
        self._view = view
        self._spread = Spread(view().plan.degree)

    async def answer(self, asking: Asking) -> Resting | Arriving | Elsewhere:
        """Decide what the peer is given.

        Raises:
            PeerMissing: asked as a holder, this agent does not have it.
            CacheError: asked as the owner, it cannot have it.
        """
        match asking.role:
            case "holder":
                return self._as_holder(asking)
            case "owner":
                return await self._as_owner(asking)
            case _:
                assert_never(asking.role)

    def _rests(self, asking: Asking) -> bool:
        blob = self._fetcher.blob(asking.content)
        if asking.cell is not None:
            return blob.present(asking.cell)
        return not self._fetcher.missing(asking.content, asking.unit)

    def _as_holder(self, asking: Asking) -> Resting | Arriving:
        if self._rests(asking):
            return Resting()
        name = asking.content.unit_name(asking.unit)
        flight = self._fetcher.under_way(name)
        if flight is None or not (flight.landing or self._may_stream(asking, flight)):
            raise PeerMissing(f"unit {name} is not here")
        return Arriving(flight)

    def _may_stream(self, asking: Asking, flight: Flight) -> bool:
        """Tell whether the peer may wait for a flight without waiting, in the end, for itself.

        The owner may where a standby crosses in its place: it then need not cross too.
        """
        owner = self._view().ranking(asking.content.unit_name(asking.unit))[:1]
        return (
            flight.rooted
            and (owner != (asking.requester,) or flight.crosses)
            and isinstance(asking.content.layout, ObjectLayout)
        )

    async def _as_owner(self, asking: Asking) -> Resting | Arriving | Elsewhere:
        target = self._spread_to(asking)
        if target is not None:
            self._counters.redirects_given += 1
            return Elsewhere(target)
        content, unit = asking.content, asking.unit
        if self._rests(asking):
            return Resting()
        cells = self._fetcher.missing(content, unit) if asking.cell is None else [asking.cell]
        flights = self._fetcher.flights(content, unit, cells)
        for flight in flights:
            if flight.asking[asking.requester]:
                # The two have different plans; neither may wait for the other.
                raise PeerMissing(f"this node asks {asking.requester} itself")
        if len(flights) == 1 and isinstance(content.layout, ObjectLayout):
            await flights[0].begun()
            return Arriving(flights[0])
        for flight in flights:
            await flight.landed()
            if asking.cell in flight.failed:
                raise flight.failed[asking.cell]
        kept = [flight for flight in flights if flight.landing is not None]
        return Arriving(kept[0]) if len(kept) == len(flights) == 1 else Resting()

    def _spread_to(self, asking: Asking) -> str | None:
        """Return the member to redirect a question for a whole unit to, if to any."""
        name = asking.content.unit_name(asking.unit)
        if asking.nowhere:
            self._spread.withdraw(name, asking.nowhere)
            return None
        if asking.cell is not None:
            return None
        view = self._view()
        self._spread.degree = view.plan.degree
        return self._spread.admit(
            name,
            asking.requester,
            now=time.monotonic(),
            members=view.members,
            distance=view.distance,
        )
