"""Which members answer: the agent's own view, confirmed by probes.

An asking may fail for many reasons; on a busy machine it may just be late. So a failure only
raises doubt, and a probe decides: a member is left out of the read path when a probe fails, until
a later probe, an answer or a question of its own shows that it is back. A member that was left
out for nothing would cost a second crossing of the line.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from runtime.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 2.0
"""Between two probes of a member that is down; the pause doubles from the first to the longest."""


class Health:
    """Members that do not answer now. ``probe`` asks one, and raises when it does not answer."""

    def __init__(self, probe: Callable[[str], Awaitable[None]]) -> None:
        self._probe = probe
        self._down: set[str] = set()
        self._watched: dict[str, asyncio.Task[None]] = {}

    def failed(self, uid: str) -> None:
        """Note that a member did not answer as it should; a probe will tell."""
        if uid not in self._watched:
            task = asyncio.create_task(self._watch(uid), name=f"probes of {uid}")
            self._watched[uid] = task
            task.add_done_callback(lambda _: self._watched.pop(uid, None))

    def answered(self, uid: str) -> None:
        """Note that a member answered, or asked."""
        self._down.discard(uid)

    def down(self) -> frozenset[str]:
        """Return the members that are to be left out now."""
        return frozenset(self._down)

    def keep_only(self, members: set[str]) -> None:
        """Forget members that left the plan."""
        for uid in self._watched.keys() - members:
            self._watched[uid].cancel()
        self._down &= members

    async def _watch(self, uid: str) -> None:
        """Probe a member until it answers."""
        pause = FIRST_PAUSE
        while True:
            try:
                await self._probe(uid)
            except Exception as error:
                if not isinstance(error, CacheError):
                    log.exception("a probe of %s failed", uid)
                self._down.add(uid)
            else:
                self._down.discard(uid)
                return
            await asyncio.sleep(pause)
            if uid not in self._down:
                return
            pause = min(pause * 2, LONGEST_PAUSE)

    async def close(self) -> None:
        """End the probes."""
        tasks = list(self._watched.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
