"""Askings for one unit: in order, the next one joining a slow one, until the first lands."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from runtime.agent.landing import BufferPool, Landing
from runtime.contract.route import Step
from runtime.errors import (
    CacheError,
    OriginUnavailable,
    PeerBrokeOff,
    PeerError,
    PeerUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from runtime.agent.flight import Flight

log = logging.getLogger(__name__)

HEDGE_SECONDS: Final = 3.0
"""When no asking made progress for this long, the next peer is asked too."""
SLOW_BYTES_PER_SECOND: Final = 64 * 1024
"""An asking below this rate counts as making no progress."""
GIVE_UP_SECONDS: Final = 300.0
"""An asking of a peer that has not landed by then has failed, although the peer lives."""


@dataclass(slots=True)
class _Attempt:
    step: Step
    landing: Landing
    seen: int = 0
    moved: float = 0.0

    def stalled(self, now: float) -> bool:
        """Note progress; tell whether there was none, or too little, for a while.

        ``now`` is of the race's own clock. An asking that still waits for its turn is not slow.
        """
        if self.landing.begun_at is None:
            return False
        self.moved = self.moved or now
        if self.landing.filled - self.seen >= SLOW_BYTES_PER_SECOND * (now - self.moved):
            if self.landing.filled > self.seen:
                self.seen, self.moved = self.landing.filled, now
            return False
        return now - self.moved >= HEDGE_SECONDS

    def hopeless(self, now: float) -> bool:
        """Tell whether a peer took too long altogether."""
        begun = self.landing.begun_at
        return self.step.via != "origin" and begun is not None and now - begun > GIVE_UP_SECONDS


class Race:
    """Run the askings of a flight.

    ``ask`` fills a landing from a step, verified, or raises. A ``PeerError`` leads to the next
    step; any other error is final, as the next one would only meet it again. A step whose bytes
    broke off elsewhere than at the member that it names is taken once more. The origin is asked
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
        self._now = self._looked_at = time.monotonic()
        self._again: set[Step] = set()
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
                    self._end(attempt, error)
                    if error is None:
                        return attempt.landing
                    failure = error
                    if isinstance(error, PeerBrokeOff) and attempt.step not in self._again:
                        self._again.add(attempt.step)
                        left.appendleft(attempt.step)
                    elif not isinstance(error, PeerError):
                        left.clear()  # others would only meet it again; who is asked may go on
                await self._hurry(left)
        finally:
            await self._stop(list(self._running), PeerUnavailable("another asking was quicker"))

    def _start(self, step: Step) -> None:
        flight = self._flight
        landing = Landing(
            flight.size, self._pool, trusted=step.via == "origin", notify=flight.notify
        )
        flight.ways[step.via] += 1
        if step.via != "holder":  # a holder makes nobody wait for what it has not
            flight.asking[step.uid] += 1
        flight.watch(landing)
        task = asyncio.ensure_future(self._ask(step, landing))
        self._running[task] = _Attempt(step, landing)

    def _end(self, attempt: _Attempt, error: CacheError | None) -> None:
        """Settle an attempt that is over."""
        self._no_longer_asked(attempt.step)
        self._told(attempt.step, error)
        if error is None:
            attempt.landing.finish()
            return
        self._flight.unwatch(attempt.landing)
        attempt.landing.fail(error)
        attempt.landing.release()

    def _no_longer_asked(self, step: Step) -> None:
        self._flight.ways[step.via] -= 1
        if step.via != "holder":
            self._flight.asking[step.uid] -= 1

    async def _hurry(self, left: deque[Step]) -> None:
        now = time.monotonic()
        # A starved process comes late to its own look: that time is not held against the others.
        self._now += min(now - self._looked_at, HEDGE_SECONDS / 2)
        self._looked_at = now
        hopeless = [task for task, attempt in self._running.items() if attempt.hopeless(now)]
        await self._stop(hopeless, PeerUnavailable("the peer lives, and gave nothing for minutes"))
        stalled = [attempt.stalled(self._now) for attempt in self._running.values()]
        if stalled and all(stalled) and left and left[0].via != "origin":
            self.hedges += 1
            self._start(left.popleft())

    async def _stop(self, tasks: list[asyncio.Task[None]], why: CacheError) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            attempt = self._running.pop(task)
            self._no_longer_asked(attempt.step)
            self._flight.unwatch(attempt.landing)
            attempt.landing.fail(why)
            attempt.landing.release()


def _outcome(task: asyncio.Task[None]) -> CacheError | None:
    """Return a task's error, None for success; what nobody foresaw is logged and told as ours."""
    error = task.exception()
    if error is None or isinstance(error, CacheError):
        return error
    log.error("an asking failed: %s", error, exc_info=error)
    return CacheError("an asking failed; the agent's log says more")
