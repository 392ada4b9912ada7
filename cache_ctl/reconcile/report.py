"""Write a status when it differs, and post an Event when a condition flips."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cache_ctl.api import conditions, reasons
from cache_ctl.api.meta import dump

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from cache_ctl.api.conditions import Finding
    from cache_ctl.api.kinds import Resource
    from cache_ctl.api.meta import Condition
    from cache_ctl.kube.cluster import Cluster

MANAGER: Final = "cachectl"
"""The field manager of everything that the passes write."""


async def write_status(
    cluster: Cluster,
    body: Resource,
    status: Mapping[str, Any],
    findings: Iterable[Finding],
    *,
    now: datetime,
) -> bool:
    """Bring an object's status to ``status`` and the findings; tell whether it was written.

    ``status`` has neither conditions nor observedGeneration.
    """
    generation = int(body["metadata"].get("generation", 0))
    before = conditions.read(body)
    after = conditions.merge(before, findings, generation=generation, now=now)
    wanted = {
        **{key: value for key, value in status.items() if value is not None},
        "observedGeneration": generation,
        "conditions": [dump(condition) for condition in after],
    }
    if wanted == body.get("status"):
        return False
    await cluster.apply_status(identity(body) | {"status": wanted}, manager=MANAGER)
    for condition in _worth_telling(before, after):
        await cluster.event(
            body,
            reason=condition.reason,
            message=f"{condition.type} is {condition.status}: {condition.message}",
            warning=is_bad(condition.type, condition.status),
        )
    return True


def _worth_telling(before: tuple[Condition, ...], after: tuple[Condition, ...]) -> list[Condition]:
    """Return the flips that get an Event.

    Not how every object begins, nor a cause said twice, nor that agents turn to a new plan, which
    they do within a second of every change.
    """
    old = {condition.type: condition.status for condition in before}
    told = [
        condition
        for condition in conditions.flips(before, after)
        if condition.type != reasons.PLACED
        and (
            old.get(condition.type, "Unknown") != "Unknown"
            or condition.reason not in reasons.STARTING
        )
    ]
    causes = {condition.reason for condition in told if condition.type != reasons.READY}
    return [item for item in told if item.type != reasons.READY or item.reason not in causes]


def is_bad(kind: str, status: str) -> bool:
    """Tell whether a condition calls for attention: Failed when True, the others when False."""
    return status == ("True" if kind == reasons.FAILED else "False")


def identity(body: Resource) -> Resource:
    """Return what names this very object: an apply of it never creates another."""
    metadata = {
        key: body["metadata"][key]
        for key in ("name", "namespace", "uid")
        if body["metadata"].get(key)
    }
    return {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": metadata}


def covers(found: Any, wanted: Any) -> bool:
    """Tell whether everything wanted stands in what was found, lists whole and in order."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            key in found and covers(found[key], value) for key, value in wanted.items()
        )
    return bool(found == wanted)
