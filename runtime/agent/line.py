"""The line to the origin: this agent's share of its domain's budget, readers before prewarms."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import time
from typing import TYPE_CHECKING, Final

from runtime.policy.bucket import TokenBucket

if TYPE_CHECKING:
    from runtime.agent.planview import PlanView

DEMAND: Final = 0
PREWARM: Final = 1
CLIENT_PART: Final = 20
"""A member that owns nothing has one part in so many of an owner's share of the line."""
_BURST_SECONDS = 0.1
_MIN_BURST = 256 * 1024


def share_of(view: PlanView) -> float:
    """Return this agent's bytes per second of the domain's budget, 0 for unlimited.

    The budget is divided by weight among those who own, as owners alone go to the origin while all
    is well. Who owns nothing counts little, for when it must.
    """
    budget = view.plan.line_bytes_per_second
    if not budget or view.member is None or not view.distributed:
        return float(budget)
    owners = [member.weight for member in view.plan.members if member.weight > 0]
    little = sum(owners) / len(owners) / CLIENT_PART if owners else 1.0
    total = sum(member.weight or little for member in view.plan.members)
    return budget * (view.member.weight or little) / total


class Line:
    """Let bytes pass at the budgeted rate; a waiting reader goes before a waiting prewarm."""

    def __init__(self) -> None:
        now = time.monotonic()
        self._bucket = TokenBucket(0, burst=_MIN_BURST, now=now)
        self._queue: list[tuple[int, int, asyncio.Future[None]]] = []
        self._turn = 0
        self._busy = False
        self._changed = asyncio.Event()
        self.waited = 0.0

    def set_rate(self, rate: float) -> None:
        """Change the budget, in bytes per second; 0 is unlimited. Who waits now waits anew."""
        if rate == self._bucket.rate:
            return
        burst = max(_MIN_BURST, rate * _BURST_SECONDS)
        self._bucket.set_rate(rate, burst=burst, now=time.monotonic())
        self._changed.set()

    async def take(self, count: int, priority: int) -> None:
        """Wait until ``count`` bytes may pass."""
        if not self._bucket.rate:
            return
        if self._busy:
            turn = asyncio.get_running_loop().create_future()
            self._turn += 1
            heapq.heappush(self._queue, (priority, self._turn, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._pass_on()
                raise
        self._busy = True
        try:
            begun = time.monotonic()
            wait = self._bucket.take(count, now=begun)
            while wait:
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), wait)
                wait = self._bucket.owed(now=time.monotonic())
            self.waited += time.monotonic() - begun
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        self._busy = False
        while self._queue:
            _, _, turn = heapq.heappop(self._queue)
            if not turn.done():
                self._busy = True
                turn.set_result(None)
                return
