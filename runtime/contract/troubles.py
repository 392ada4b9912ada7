"""Reasons that agents report, as words for people and scripts. The control plane passes them on."""

from __future__ import annotations

from typing import Final

SECRET_MISSING: Final = "SecretMissing"  # noqa: S105 - a reason, no secret
SOURCE_INVALID: Final = "SourceInvalid"
ORIGIN_UNREACHABLE: Final = "OriginUnreachable"
ORIGIN_REFUSED: Final = "OriginRefused"
ORIGIN_CONTRADICTORY: Final = "OriginContradictory"
NOTHING_MATCHES: Final = "NothingMatches"
SNAPSHOT_PENDING: Final = "SnapshotPending"
SNAPSHOT_FAILED: Final = "SnapshotFailed"

OF_ORIGIN: Final = frozenset(
    {SECRET_MISSING, SOURCE_INVALID, ORIGIN_UNREACHABLE, ORIGIN_REFUSED, ORIGIN_CONTRADICTORY}
)
"""Those by which bytes that are not cached cannot be had either."""
