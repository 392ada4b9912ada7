"""One loop per object: woken by changes, never two passes at once, backing off when one fails.

A wake during a pass is not lost: another pass follows. Wakes that come close together become one
pass, which sees the last state. Knows nothing of kinds or of where wakes come from.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cache_ctl.reconcile.clock import Clock

_log = logging.getLogger(__name__)
NEVER: Final = float("inf")

Key = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True)
class Again:
    """A pass ended well; the next is due after this many seconds if nothing wakes it earlier."""

    seconds: float = NEVER


@dataclass(frozen=True, slots=True)
class Gone:
    """There is no such object any more; its loop may end."""


Outcome = Again | Gone


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast passes follow each other, in seconds.

    ``resync`` bounds how long a missed change can stay unnoticed. A failing object waits from
    ``backoff_first``, doubled at each failure, up to ``backoff_most``.
    """

    resync: float = 600.0
    backoff_first: float = 0.5
    backoff_most: float = 60.0

    def backoff(self, failures: int, jitter: float) -> float:
        """Return the wait after so many failures in a row; ``jitter`` in [0, 1) spreads it."""
        whole = min(self.backoff_first * 2.0 ** min(failures - 1, 16), self.backoff_most)
        return whole * (0.5 + jitter / 2)


@dataclass(slots=True)
class _Slot:
    """One object's loop."""

    due: float
    not_before: float = 0.0
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Loops:
    """The loops of one kind.

    Args:
        name: what logs call the kind.
        reconcile: one pass over the object with this key.
        clock: time.
        pace: how fast.
        jitter: gives random numbers in [0, 1).
    """

    def __init__(
        self,
        name: str,
        reconcile: Callable[[Key], Awaitable[Outcome]],
        *,
        clock: Clock,
        pace: Pace,
        jitter: Callable[[], float],
    ) -> None:
        self._name = name
        self._reconcile = reconcile
        self._clock = clock
        self._pace = pace
        self._jitter = jitter
        self._slots: dict[Key, _Slot] = {}
        self._closed = False

    def wake(self, key: Key, *, within: float = 0.0) -> None:
        """Have a pass over the object started within so many seconds."""
        if self._closed:
            return
        due = self._clock.monotonic() + within
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = _Slot(due)
            slot.task = asyncio.create_task(self._run(key, slot), name=f"{self._name} {key}")
        slot.due = min(slot.due, due)
        slot.woken.set()

    async def _run(self, key: Key, slot: _Slot) -> None:
        failures = 0
        while True:
            await self._until_due(slot)
            slot.due = NEVER  # before the pass: a change during it sets it again
            try:
                outcome = await self._reconcile(key)
            except Exception as error:  # noqa: BLE001  an error ends a pass, never the loop
                failures += 1
                wait = self._pace.backoff(failures, self._jitter())
                _log.warning(
                    "%s %s/%s: pass failed, next in %.1f s: %s", self._name, *key, wait, error
                )
                slot.due = slot.not_before = self._clock.monotonic() + wait
                continue
            failures = 0
            match outcome:
                case Gone() if slot.due == NEVER:
                    del self._slots[key]
                    return
                case Gone():
                    pass
                case Again(seconds):
                    next_due = self._clock.monotonic() + min(seconds, self._pace.resync)
                    slot.due = min(slot.due, next_due)

    async def _until_due(self, slot: _Slot) -> None:
        """Wait; events cannot hurry an object that has just failed."""
        while (left := max(slot.due, slot.not_before) - self._clock.monotonic()) > 0:
            slot.woken.clear()
            await self._clock.wait(slot.woken, left)

    async def close(self) -> None:
        """Stop all loops, in the middle of a pass if need be."""
        self._closed = True
        tasks = [slot.task for slot in self._slots.values() if slot.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._slots.clear()
