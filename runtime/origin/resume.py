"""Going on after an interruption, from the last good byte and never with another version."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, TypeVar

from runtime.errors import OriginError, OriginLied

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

    from runtime.origin.base import Timeouts

T = TypeVar("T")


class Interrupted(Exception):
    """An attempt failed in a way that another may not; ``error`` is what to raise if none is left.

    Never leaves this package.
    """

    def __init__(self, error: OriginError) -> None:
        super().__init__(str(error))
        self.error = error


class Stalled(Interrupted):
    """The origin fell silent, or sent too slowly: each such attempt has cost its full patience."""


class Retries:
    """How often, and after which pauses, an interrupted attempt is made again."""

    def __init__(
        self,
        timeouts: Timeouts,
        *,
        chance: Callable[[], float] = random.random,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._timeouts = timeouts
        self._chance = chance
        self._pause = pause

    async def _after(self, failures: list[Interrupted]) -> None:
        """Wait before the next attempt, or raise when these were all that there may be."""
        last = failures[-1]
        stalls = sum(isinstance(failure, Stalled) for failure in failures)
        if len(failures) >= self._timeouts.tries or stalls >= self._timeouts.stall_tries:
            raise last.error from last.__cause__
        base = self._timeouts.backoff_seconds * 2 ** (len(failures) - 1)
        await self._pause(base * (0.5 + self._chance()))

    async def call(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return what ``attempt`` returns.

        Raises:
            OriginError: the last attempt was interrupted.
        """
        failures: list[Interrupted] = []
        while True:
            try:
                return await attempt()
            except Interrupted as interruption:
                failures.append(interruption)
                await self._after(failures)

    async def read(
        self, attempt: Callable[[int, int], AsyncGenerator[bytes, None]], start: int, stop: int
    ) -> AsyncGenerator[bytes, None]:
        """Yield the blocks of ``attempt(start, stop)``, resuming with what is left of the range.

        Raises:
            OriginError: the last attempt was interrupted, or yielded not exactly its range.
        """
        failures: list[Interrupted] = []
        while start < stop:
            try:
                async with contextlib.aclosing(attempt(start, stop)) as blocks:
                    async for block in blocks:
                        start += len(block)
                        if start > stop:
                            raise OriginLied("an origin's answer is longer than its range")
                        yield block
                if start < stop:
                    raise OriginLied("an origin's answer is shorter than its range")
            except Interrupted as interruption:
                failures.append(interruption)
                await self._after(failures)


async def each(items: Iterable[T], do: Callable[[T], Awaitable[None]], *, limit: int) -> None:
    """Await ``do`` for every item, ``limit`` at a time; the first error ends all."""
    waiting = iter(items)

    async def work() -> None:
        for item in waiting:
            await do(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(limit):
                group.create_task(work())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
