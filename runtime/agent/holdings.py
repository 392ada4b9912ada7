"""What this agent announces to its neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.contract.units import Unit
from runtime.policy.summary import Summary

if TYPE_CHECKING:
    from runtime.store.store import Store


class Holdings:
    """The summary of the store's whole units, made anew only when the store has changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._mark: object = None
        self._summary = Summary.of((), version=0)

    def summary(self) -> Summary:
        """Return the summary of what is held now. Its version tells whether it changed."""
        counters = self._store.counters
        used = tuple(tier.used for tier in self._store.tiers())
        mark = (used, counters.evictions, counters.corrupt_cells)
        if mark != self._mark:
            self._mark = mark
            names = [str(Unit(key, unit)) for key, unit in self._store.held()]
            self._summary = Summary.of(names, version=self._summary.version + 1)
        return self._summary
