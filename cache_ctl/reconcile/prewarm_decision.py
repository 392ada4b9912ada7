"""Pure: a prewarm's status, from what the agents that take part report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from cache_ctl.api import reasons
from cache_ctl.api.conditions import Finding, false, read_time, timestamp, true
from cache_ctl.api.meta import dump
from cache_ctl.api.v1alpha1.cacheprewarm import PrewarmDomain
from cache_ctl.reconcile.rows import Row, rows

if TYPE_CHECKING:
    from datetime import datetime

    from cache_ctl.api.v1alpha1.cacheprewarm import CachePrewarm
    from cache_ctl.api.v1alpha1.cacheworker import CacheWorker, WorkerPrewarm


@dataclass(frozen=True, slots=True)
class PrewarmDecision:
    """What a pass brings about. ``due`` is in how many seconds to look again, if at all."""

    status: Mapping[str, Any]
    findings: tuple[Finding, ...]
    due: float = float("inf")


def takes_part(prewarm: CachePrewarm, worker: CacheWorker) -> bool:
    """Tell whether an agent has a share in a prewarm: the same rule by which plans carry it."""
    target, spec = prewarm.spec.target, worker.spec
    if target.network_classes and spec.network_class not in target.network_classes:
        return False
    if spec.mode == "LocalOnly":
        return prewarm.spec.include_local_only and not target.domains
    if spec.role == "client":
        return False
    return not target.domains or spec.domain in target.domains


def decide_prewarm(
    prewarm: CachePrewarm,
    workers: tuple[CacheWorker, ...],
    now: datetime,
    *,
    hindrance: str = "",
) -> PrewarmDecision:
    """Return the status of a prewarm that has not reached its end.

    ``hindrance`` is why its Dataset cannot be loaded now, if it cannot.
    """
    started = prewarm.status.start_time or timestamp(now)
    shares = [worker for worker in workers if takes_part(prewarm, worker)]
    domains = [_domain(prewarm, row) for row in rows(shares)]
    status = {"startTime": started, **_sums(domains), "domains": [dump(item) for item in domains]}
    deadline = prewarm.spec.deadline_seconds
    left = float("inf")
    if deadline is not None:
        left = (read_time(started) + timedelta(seconds=deadline) - now).total_seconds()
    reports = [_report_on(prewarm, worker) for worker in shares]
    done = sum(report is not None and report.state == "Complete" for report in reports)
    progress = f"{done} of {len(shares)} agents are done"
    if shares and done == len(shares):
        status["completionTime"] = timestamp(now)
        text = f"{progress}, {status['bytesDone']} bytes in {len(domains)} domains"
        return PrewarmDecision(status, _complete(text))
    if left <= 0:
        status["completionTime"] = timestamp(now)
        text = f"{progress} after deadlineSeconds: {deadline}"
        return PrewarmDecision(status, _failed(reasons.DEADLINE_EXCEEDED, text))
    over = [report for report in reports if report and report.state in ("Complete", "Failed")]
    broken = [report for report in over if report.state == "Failed"]
    if broken and len(over) == len(shares):
        status["completionTime"] = timestamp(now)
        files = sum(report.failed_files for report in broken)
        said = next((report.message for report in broken if report.message), "no reason given")
        text = f"{files} files failed on {len(broken)} of {len(shares)} agents; {said}"
        return PrewarmDecision(status, _failed(reasons.FILES_FAILED, text))
    if hindrance:
        return PrewarmDecision(status, waiting(reasons.DATASET_NOT_READY, hindrance), left)
    return PrewarmDecision(status, _running(shares, reports, progress), left)


def waiting(reason: str, message: str) -> tuple[Finding, ...]:
    """Return the findings of a prewarm that cannot run yet."""
    return (
        false(reasons.COMPLETE, reason, message),
        false(reasons.FAILED, reasons.NOT_FAILED, "nothing has failed"),
    )


def _complete(message: str) -> tuple[Finding, ...]:
    return (
        true(reasons.COMPLETE, reasons.PREWARM_DONE, message),
        false(reasons.FAILED, reasons.NOT_FAILED, "nothing has failed"),
    )


def _failed(reason: str, message: str) -> tuple[Finding, ...]:
    return false(reasons.COMPLETE, reason, message), true(reasons.FAILED, reason, message)


def _running(
    shares: list[CacheWorker], reports: list[WorkerPrewarm | None], progress: str
) -> tuple[Finding, ...]:
    if not shares:
        return waiting(reasons.NO_TARGETS, "no agent matches spec.target; there may be none yet")
    heard = any(report is not None for report in reports)
    return waiting(reasons.PREWARM_RUNNING if heard else reasons.PREWARM_WAITING, progress)


def _report_on(prewarm: CachePrewarm, worker: CacheWorker) -> WorkerPrewarm | None:
    uid = prewarm.metadata.uid
    return next((item for item in worker.status.prewarms if item.uid == uid), None)


def _domain(prewarm: CachePrewarm, row: Row) -> PrewarmDomain:
    found = [_report_on(prewarm, worker) for worker in row.workers]
    reports = [item for item in found if item is not None]
    return PrewarmDomain(
        name=row.name,
        network_class=row.network_class,
        nodes=len(row.workers),
        nodes_done=sum(item.state == "Complete" for item in reports),
        bytes_done=sum(item.bytes_done for item in reports),
        bytes_total=sum(item.bytes_total for item in reports),
        files_done=sum(item.files_done for item in reports),
        files_total=sum(item.files_total for item in reports),
        failed_files=sum(item.failed_files for item in reports),
    )


def _sums(domains: list[PrewarmDomain]) -> dict[str, Any]:
    return {
        "bytesDone": sum(item.bytes_done for item in domains),
        "bytesTotal": sum(item.bytes_total for item in domains),
        "filesDone": sum(item.files_done for item in domains),
        "filesTotal": sum(item.files_total for item in domains),
        "failedFiles": sum(item.failed_files for item in domains),
    }
