"""Which members answer: the agent's own view, from its own askings."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 10.0


class Health:
    """Members that failed lately, and until when they are left alone.

    Each failure in a row doubles the pause. A member is asked again when its pause is over: the
    next asking, or its neighbours' probe, tells whether it is back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._down: dict[str, tuple[float, float]] = {}  # uid -> (until, pause)

    def failed(self, uid: str) -> None:
        """Note that a member did not answer as it should."""
        _, pause = self._down.get(uid, (0.0, FIRST_PAUSE / 2))
        pause = min(pause * 2, LONGEST_PAUSE)
        self._down[uid] = (self._clock() + pause, pause)

    def answered(self, uid: str) -> None:
        """Note that a member answered."""
        self._down.pop(uid, None)

    def down(self) -> set[str]:
        """Return the members that are to be left alone now."""
        now = self._clock()
        return {uid for uid, (until, _) in self._down.items() if until > now}

    def keep_only(self, members: set[str]) -> None:
        """Forget members that left the plan."""
        self._down = {uid: entry for uid, entry in self._down.items() if uid in members}
