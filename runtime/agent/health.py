"""Which members answer: the agent's own view, confirmed by probes.

An asking may fail for many reasons; on a busy machine it may just be late. So a failure only
raises doubt, and a probe decides. A member is left out of the read path when a probe is refused, or
waits for an answer longer than a busy member takes, until the late answer, another probe or bytes
show that it is back. A member that was left out for nothing would cost a second crossing of the
line. When this process itself is starved its clock runs on without it: so the wait is counted in
turns of its own event loop, and its own delay is not held against others. A question from a member
shows that it lives, but not that it can be reached (its port may be taken by another process): it
is probed at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from runtime.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 2.0
"""Between two probes of a member that is down; the pause doubles from the first to the longest."""
SILENT_TURNS: Final = 20
TURN_SECONDS: Final = 0.25
"""A member is silent when a probe waits for so many turns, each of that length or more."""


class Health:
    """Members that do not answer now. ``probe`` asks one, and raises when it does not answer."""

    def __init__(self, probe: Callable[[str], Awaitable[None]]) -> None:
        self._probe = probe
        self._down: set[str] = set()
        self._watched: dict[str, asyncio.Task[None]] = {}
        self._hurries: dict[str, asyncio.Event] = {}

    def failed(self, uid: str) -> None:
        """Note that a member did not answer as it should; a probe will tell."""
        if uid not in self._watched:
            task = asyncio.create_task(self._watch(uid), name=f"probes of {uid}")
            self._watched[uid] = task
            task.add_done_callback(lambda _: self._watched.pop(uid, None))

    def answered(self, uid: str) -> None:
        """Note that a member answered."""
        self._down.discard(uid)

    def asked(self, uid: str) -> None:
        """Note that a member asked: one that was away may be back."""
        if uid in self._hurries:
            self._hurries[uid].set()

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
        hurry = self._hurries[uid] = asyncio.Event()
        pause = FIRST_PAUSE
        try:
            while not await self._is_back(uid):
                # However often it asks, a probe follows another after the first pause.
                await asyncio.sleep(FIRST_PAUSE)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(hurry.wait(), pause - FIRST_PAUSE)
                hurry.clear()
                if uid not in self._down:
                    return
                pause = min(pause * 2, LONGEST_PAUSE)
        finally:
            del self._hurries[uid]

    async def _is_back(self, uid: str) -> bool:
        """Probe once to the end; a member that is silent for too long is down until it answers."""
        probe = asyncio.ensure_future(self._probe(uid))
        try:
            for _ in range(SILENT_TURNS):
                if (await asyncio.wait([probe], timeout=TURN_SECONDS))[0]:
                    break
            else:
                self._down.add(uid)
            await probe
        except Exception as error:
            if not isinstance(error, CacheError):
                log.exception("a probe of %s failed", uid)
            self._down.add(uid)
            return False
        finally:
            probe.cancel()
            await asyncio.gather(probe, return_exceptions=True)
        self._down.discard(uid)
        return True

    async def close(self) -> None:
        """End the probes."""
        tasks = list(self._watched.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
