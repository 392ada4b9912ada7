"""Pure: whether the tiers of a runtime's agents take bytes up to their quota."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cache_ctl.api import reasons
from cache_ctl.api.conditions import Finding, false, true, unknown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cache_ctl.api.v1alpha1.cacheworker import CacheWorker, WorkerTier


def tiers_finding(workers: Iterable[CacheWorker]) -> Finding:
    """Return what the agents say of their tiers, the gravest first.

    No tier hinders reads: what it cannot keep is read through. So it is a condition of its own.
    """
    told = [
        (worker.spec.node, tier)
        for worker in workers
        if worker.status.ready
        for tier in worker.status.tiers
    ]
    if not told:
        text = "no agent has told of its tiers yet"
        return unknown(reasons.TIERS_USABLE, reasons.AGENTS_NOT_READY, text)
    for reason in (reasons.TIER_FAILED, reasons.TIER_FULL, reasons.TIER_TOO_LARGE):
        found = sorted((node, tier.message) for node, tier in told if _reason(tier) == reason)
        if found:
            nodes = {node for node, _ in told}
            text = f"on {len({node for node, _ in found})} of {len(nodes)} nodes, " + "; ".join(
                f"{node}: {message}" for node, message in found[:3]
            )
            return false(reasons.TIERS_USABLE, reason, text)
    text = f"{len(told)} tiers take bytes up to their quota"
    busy = sum(tier.state == "Recovering" for _, tier in told)
    if busy:
        text += f", {busy} of them when what they hold has been looked at"
    return true(reasons.TIERS_USABLE, reasons.ALL_TIERS_USABLE, text)


def _reason(tier: WorkerTier) -> str:
    match tier.state:
        case "Failed":
            return reasons.TIER_FAILED
        case "Full":
            return reasons.TIER_FULL
        case "Recovering":
            return ""
        case _:
            return reasons.TIER_TOO_LARGE if tier.message else ""
