"""What is wrong in a running cluster, as sentences from the conditions of its objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cache_ctl.api import reasons
from cache_ctl.api.kinds import CACHE_RUNTIME, DATASET, title_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cache_ctl.api.kinds import Resource
    from cache_ctl.local.control_client import Control

_OF_TIERS: Final = (reasons.TIER_FAILED, reasons.TIER_FULL, reasons.TIER_TOO_LARGE)


class Alarm(NamedTuple):
    """A sentence from a condition; ``fails`` when what was asked for cannot be had now."""

    condition: str
    sentence: str
    fails: bool


def alarms(control: Control) -> list[Alarm]:
    """Return what is wrong with the Datasets and the tiers of the cluster that runs here."""
    return [
        *(alarm for body in control.objects(DATASET) for alarm in _of_dataset(body)),
        *(alarm for body in control.objects(CACHE_RUNTIME) for alarm in _of_tiers(body)),
    ]


def _of_dataset(body: Resource) -> Iterator[Alarm]:
    """Tell of a Dataset that cannot be read, and of one that can, what its readers lack."""
    found = _conditions(body)
    ready = found.get(reasons.READY, {"status": "Unknown"})
    if ready["status"] == "False":
        sentence = f"{title_of(body)} is not ready: {ready['message']}"
        yield Alarm(reasons.READY, sentence, fails=True)
    elif ready["status"] == "True":
        lacks = [
            found.get(kind, ready) for kind in (reasons.SNAPSHOT_TAKEN, reasons.ORIGIN_REACHABLE)
        ]
        causes = {
            item["reason"]: item
            for item in lacks
            if item["status"] == "False" and item["reason"] != reasons.SNAPSHOT_PENDING
        }
        for item in causes.values():
            yield Alarm(item["type"], f"{title_of(body)}: {item['message']}", fails=False)


def _of_tiers(body: Resource) -> Iterator[Alarm]:
    tiers = _conditions(body).get(reasons.TIERS_USABLE)
    if tiers is not None and tiers["reason"] in _OF_TIERS:
        sentence = f"{title_of(body)}: {tiers['message']}"
        yield Alarm(tiers["type"], sentence, fails=tiers["reason"] != reasons.TIER_TOO_LARGE)


def _conditions(body: Resource) -> dict[str, dict[str, Any]]:
    """Return the conditions by type, as they are: models would slow the command's start."""
    return {item["type"]: item for item in (body.get("status") or {}).get("conditions") or ()}
