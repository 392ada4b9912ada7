"""Units that landed and were not admitted, kept a moment in memory for those who read through."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from runtime.contract.units import MIB

if TYPE_CHECKING:
    from runtime.agent.flight import Flight
    from runtime.agent.landing import Landing

BYTES: Final = 32 * MIB
"""How much is kept at most, but for one unit ..."""
SECONDS: Final = 10.0
"""... and for how long: by then the store may have room."""


class Transit:
    """Flights that have ended, with their landings, oldest first."""

    def __init__(self) -> None:
        self._flights: OrderedDict[str, tuple[Flight, float]] = OrderedDict()
        self._bytes = 0

    def get(self, name: str) -> Flight | None:
        """Return the flight of this name, if it is kept."""
        self._end(before=time.monotonic() - SECONDS)
        found = self._flights.get(name)
        return found[0] if found is not None else None

    def keep(self, flight: Flight, landing: Landing) -> None:
        """Take over a landing with its flight."""
        flight.landing = landing
        self._flights[flight.name] = (flight, time.monotonic())
        self._bytes += flight.size
        while self._bytes > BYTES and len(self._flights) > 1:
            self._drop()

    def _end(self, *, before: float) -> None:
        while self._flights and next(iter(self._flights.values()))[1] < before:
            self._drop()

    def _drop(self) -> None:
        _, (flight, _) = self._flights.popitem(last=False)
        self._bytes -= flight.size
        landing, flight.landing = flight.landing, None
        assert landing is not None
        flight.unwatch(landing)
        landing.release()
