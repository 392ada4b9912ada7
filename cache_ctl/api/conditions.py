"""Conditions: merged purely, so that a pass which finds nothing new changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cache_ctl.api.meta import Condition, ConditionStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cache_ctl.api.kinds import Resource


@dataclass(frozen=True, slots=True)
class Finding:
    """What a pass has to say of one condition."""

    type: str
    status: ConditionStatus
    reason: str
    message: str


def true(kind: str, reason: str, message: str) -> Finding:
    """Return a finding that the condition holds."""
    return Finding(kind, "True", reason, message)


def false(kind: str, reason: str, message: str) -> Finding:
    """Return a finding that the condition does not hold."""
    return Finding(kind, "False", reason, message)


def unknown(kind: str, reason: str, message: str) -> Finding:
    """Return a finding that nothing can be said yet."""
    return Finding(kind, "Unknown", reason, message)


def timestamp(now: datetime) -> str:
    """Return a time as Kubernetes writes it; ``now`` must be in UTC."""
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def read_time(text: str) -> datetime:
    """Return a time that ``timestamp`` has written."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def read(body: Resource) -> tuple[Condition, ...]:
    """Return the conditions in an object's status."""
    status = body.get("status") or {}
    return tuple(Condition.model_validate(item) for item in status.get("conditions") or ())


def find(body: Resource, kind: str) -> Condition | None:
    """Return an object's condition of this type, if it has one that speaks of its present spec."""
    generation = body.get("metadata", {}).get("generation", 0)
    return next(
        (
            condition
            for condition in read(body)
            if condition.type == kind and condition.observed_generation >= generation
        ),
        None,
    )


def merge(
    before: Iterable[Condition],
    findings: Iterable[Finding],
    *,
    generation: int,
    now: datetime,
) -> tuple[Condition, ...]:
    """Return the conditions after a pass, sorted by type.

    The transition time is kept unless the status flips. Conditions that the pass does not speak
    of are kept as they are.
    """
    known = {condition.type: condition for condition in before}
    for finding in findings:
        old = known.get(finding.type)
        flipped = old is None or old.status != finding.status
        known[finding.type] = Condition(
            type=finding.type,
            status=finding.status,
            reason=finding.reason,
            message=finding.message,
            last_transition_time=(
                timestamp(now) if old is None or flipped else old.last_transition_time
            ),
            observed_generation=generation,
        )
    return tuple(known[kind] for kind in sorted(known))


def flips(before: Iterable[Condition], after: Iterable[Condition]) -> tuple[Condition, ...]:
    """Return the conditions whose status is another one now, in order.

    A condition that appears as Unknown is no transition: nothing was known before it either.
    """
    old = {condition.type: condition.status for condition in before}
    return tuple(
        condition for condition in after if old.get(condition.type, "Unknown") != condition.status
    )
