"""What this agent announces to its neighbours."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING, Final

from runtime.contract.units import Unit
from runtime.policy.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.store.store import Store

EVERY_SECONDS: Final = 3.0
"""How often the summary is made anew while the store changes ..."""
SHARE: Final = 10
"""... but with pauses ten times as long as the processor was busy with the last one."""


class Holdings:
    """The summary of the store's whole units.

    Making one takes some hundred milliseconds for a hundred thousand units, so ``run`` makes them
    in a thread, and only when the store has changed; neighbours get the last one meanwhile.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._mark: object = None
        self._cost = 0.0
        # Neighbours tell summaries apart by their version, also over a restart of this agent.
        self._summary = Summary.of((), version=secrets.randbits(48))
        self.units = 0
        """How many units the summary names."""

    def summary(self) -> Summary:
        """Return the summary that was made last, at once. A version names one content."""
        return self._summary

    async def run(self) -> None:
        """Keep the summary up to date until cancelled."""
        while True:
            mark = self._changes()
            if mark != self._mark:
                self._summary = await asyncio.to_thread(self._made, self._summary.version + 1)
                self._mark = mark
            await asyncio.sleep(max(EVERY_SECONDS, SHARE * self._cost))

    def _changes(self) -> object:
        """Return what is another value whenever units have come or gone."""
        counters = self._store.counters
        used = tuple(tier.used for tier in self._store.tiers())
        return used, counters.fills, counters.evictions, counters.corrupt_cells

    def _made(self, version: int) -> Summary:
        began = time.thread_time()
        units = 0

        def names() -> Iterator[str]:
            nonlocal units
            for units, held in enumerate(self._store.held(), 1):  # noqa: B007 - it counts
                yield str(Unit(*held))

        summary = Summary.of(names(), version=version)
        self.units = units
        self._cost = time.thread_time() - began
        return summary
