"""What goes wrong with a Dataset, as a reason for scripts and a sentence for people."""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from runtime.contract import troubles
from runtime.errors import (
    CacheError,
    ConfigError,
    NoSuchPath,
    NotCached,
    NothingMatches,
    OriginLied,
    OriginRefused,
    OriginUnavailable,
    PeerError,
    SecretMissing,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEPT_SECONDS: Final = 30.0
"""A failed fetch is told for so long, unless a fetch goes well before: nobody may ask again."""
_LONGEST: Final = 2000
_REASONS: Final[tuple[tuple[type[CacheError], str], ...]] = (
    (SecretMissing, troubles.SECRET_MISSING),
    (NothingMatches, troubles.NOTHING_MATCHES),
    (OriginRefused, troubles.ORIGIN_REFUSED),
    (OriginUnavailable, troubles.ORIGIN_UNREACHABLE),
    (OriginLied, troubles.ORIGIN_CONTRADICTORY),
    (NoSuchPath, troubles.SOURCE_INVALID),
    (ConfigError, troubles.SOURCE_INVALID),
    (NotCached, troubles.SNAPSHOT_PENDING),
    (PeerError, troubles.SNAPSHOT_PENDING),
)


@dataclass(frozen=True, slots=True)
class Trouble:
    """A failure: one of the reasons in ``runtime.contract.troubles``, and its sentence."""

    reason: str
    message: str


class PassedOn(CacheError):
    """What keeps the members that take a Dataset's snapshots from it keeps this one, too."""

    def __init__(self, member: str, trouble: Trouble) -> None:
        super().__init__(f"{member} says: {trouble.message}")
        self.trouble = Trouble(trouble.reason, str(self))


def of_answer(body: bytes) -> Trouble | None:
    """Return the failure that a member tells of in place of its head, if it does."""
    try:
        found = json.loads(body)
        return Trouble(str(found["reason"]), str(found["message"])[:_LONGEST])
    except (ValueError, TypeError, KeyError):
        return None


def of_listing(error: Exception, catalogs: Path) -> Trouble:
    """Return what a failure means for the snapshots of a Dataset, whose catalogs lie there."""
    if isinstance(error, PassedOn):
        return error.trouble
    if isinstance(error, CacheError):
        return Trouble(_reason(error), str(error))
    if isinstance(error, (OSError, sqlite3.Error)):
        text = f"the catalogs in {catalogs} cannot be read or written: {error}"
        return Trouble(troubles.SNAPSHOT_FAILED, text)
    text = f"its snapshot cannot be followed ({type(error).__name__}); the log says more"
    return Trouble(troubles.SNAPSHOT_FAILED, text)


def _reason(error: CacheError) -> str:
    found = (said for kind, said in _REASONS if isinstance(error, kind))
    return next(found, troubles.SNAPSHOT_FAILED)


class Troubles:
    """The last failure of fetching from an origin, until a fetch goes well or time has passed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: Trouble | None = None
        self._at = 0.0

    def failed(self, error: CacheError) -> None:
        """Note a failure, if it is the origin's or that of the way to it."""
        reason = _reason(error)
        if reason in troubles.OF_ORIGIN and not isinstance(error, NoSuchPath):
            self._last, self._at = Trouble(reason, str(error)), self._clock()

    def worked(self) -> None:
        """Note that bytes came."""
        self._last = None

    def mended(self, reason: str) -> None:
        """Note that there is no failure of this reason any more."""
        if self._last is not None and self._last.reason == reason:
            self._last = None

    @property
    def last(self) -> Trouble | None:
        """Return the failure that still counts, if there is one."""
        if self._last is not None and self._clock() - self._at >= KEPT_SECONDS:
            self._last = None
        return self._last
