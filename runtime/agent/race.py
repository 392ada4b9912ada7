"""Askings for one unit: in order, the next one joining a slow one, until the first lands."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from runtime.agent.landing import BufferPool, Landing
from runtime.contract.route import Step
from runtime.errors import CacheError, OriginUnavailable, PeerError, PeerUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from runtime.agent.flight import Flight

HEDGE_SECONDS: Final = 3.0
"""When no asking made progress for this long, the next peer is asked too."""
SLOW_BYTES_PER_SECOND: Final = 64 * 1024
"""An asking below this rate counts as making no progress."""
GIVE_UP_SECONDS: Final = 60.0
"""An asking of a peer that has not landed by then has failed."""


@dataclass(slots=True)
class _Attempt:
    step: Step
    landing: Landing
    started: float
    seen: int = 0
    moved: float = 0.0

    def stalled(self, now: float) -> bool:
        """Note progress; tell whether there was none, or too little, for a while."""
        if self.landing.filled - self.seen >= SLOW_BYTES_PER_SECOND * (now - self.moved):
            if self.landing.filled > self.seen:
                self.seen, self.moved = self.landing.filled, now
            return False
        return now - self.moved >= HEDGE_SECONDS


class Race:
    """Run the askings of a flight.

    ``ask`` fills a landing from a step, verified, or raises. A ``PeerError`` leads to the next
    step; any other error is final, as the next one would only meet it again. The origin is asked
    only when all before it have failed: a slow owner is no reason for a second crossing of the
    line, a dead one is. ``told`` hears how each asking ended.
    """

    def __init__(
        self,
        flight: Flight,
        ask: Callable[[Step, Landing], Awaitable[None]],
        told: Callable[[Step, CacheError | None], None],
        pool: BufferPool,
    ) -> None:
        self._flight = flight
        self._ask = ask
        self._told = told
        self._pool = pool
        self._running: dict[asyncio.Task[None], _Attempt] = {}
        self.hedges = 0

    async def run(self, steps: Sequence[Step]) -> Landing:
        """Return the landing that won; the caller releases it.

        Raises:
            CacheError: the final error, or the last peer's when nobody is left to ask.
        """
        left = deque(steps)
        failure: CacheError = OriginUnavailable(f"nobody can be asked for {self._flight.name}")
        try:
            while True:
                if not self._running:
                    if not left:
                        raise failure
                    self._start(left.popleft())
                done, _ = await asyncio.wait(
                    self._running, timeout=HEDGE_SECONDS / 3, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    attempt = self._running.pop(task)
                    error = _outcome(task)
                    self._told(attempt.step, error)
                    if error is None:
                        attempt.landing.finish()
                        return attempt.landing
                    self._discard(attempt, error)
                    if not isinstance(error, PeerError):
                        raise error
                    failure = error
                await self._hurry(left)
        finally:
            await self._stop(list(self._running))

    def _start(self, step: Step) -> None:
        landing = Landing(
            self._flight.size,
            self._pool,
            trusted=step.via == "origin",
            notify=self._flight.notify,
        )
        now = time.monotonic()
        self._flight.via = step.via
        self._flight.rooted = step.via in ("origin", "owner")
        self._flight.watch(landing)
        task = asyncio.ensure_future(self._ask(step, landing))
        self._running[task] = _Attempt(step, landing, now, moved=now)

    async def _hurry(self, left: deque[Step]) -> None:
        now = time.monotonic()
        late = [
            task
            for task, attempt in self._running.items()
            if attempt.step.via != "origin" and now - attempt.started > GIVE_UP_SECONDS
        ]
        await self._stop(late)
        stalled = [attempt.stalled(now) for attempt in self._running.values()]
        if stalled and all(stalled) and left and left[0].via != "origin":
            self.hedges += 1
            self._start(left.popleft())

    async def _stop(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            attempt = self._running.pop(task)
            self._discard(attempt, PeerUnavailable("another asking was quicker"))

    def _discard(self, attempt: _Attempt, error: CacheError) -> None:
        self._flight.unwatch(attempt.landing)
        attempt.landing.fail(error)
        attempt.landing.release()


def _outcome(task: asyncio.Task[None]) -> CacheError | None:
    """Return a task's error, None for success; what is not ours is raised."""
    error = task.exception()
    if error is None or isinstance(error, CacheError):
        return error
    raise error
