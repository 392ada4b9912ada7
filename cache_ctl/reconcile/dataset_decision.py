"""Pure: a Dataset's status, from what its runtime's agents report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cache_ctl.api import reasons
from cache_ctl.api.conditions import Finding, false, read_time, timestamp, true, unknown
from cache_ctl.api.meta import dump
from cache_ctl.api.v1alpha1.cacheworker import CacheWorker, WorkerDataset
from cache_ctl.api.v1alpha1.dataset import CachedStatus, Dataset, DatasetDomain, SnapshotStatus
from cache_ctl.reconcile.rows import Row, percent, rows
from runtime.contract import troubles

if TYPE_CHECKING:
    from datetime import datetime

STARTING_SECONDS: Final = 30.0
"""How long the first readers wait for an agent that was wanted just now and has said nothing."""


@dataclass(frozen=True, slots=True)
class DatasetView:
    """All that a pass over a Dataset looks at.

    ``workers`` are those of its runtime on nodes that are expected to answer; ``generations`` are
    those of the runtime's plans by name. ``was_ready`` is what the pass before this one found.
    """

    dataset: Dataset
    workers: tuple[CacheWorker, ...]
    generations: Mapping[str, int]
    was_ready: bool = False


@dataclass(frozen=True, slots=True)
class _Share:
    """One agent's part of the Dataset."""

    worker: CacheWorker
    report: WorkerDataset | None


def refused(reason: str, message: str) -> tuple[Finding, ...]:
    """Return the findings of a Dataset that no runtime serves."""
    return (
        false(reasons.READY, reason, message),
        unknown(reasons.SNAPSHOT_TAKEN, reason, message),
        unknown(reasons.ORIGIN_REACHABLE, reason, message),
        false(reasons.PLACED, reason, message),
        unknown(reasons.WARM, reason, message),
    )


def decide_dataset(
    view: DatasetView, now: datetime
) -> tuple[Mapping[str, Any], tuple[Finding, ...]]:
    """Return the status without conditions, and the findings."""
    shares = [_Share(worker, _report_on(view.dataset.ref, worker)) for worker in view.workers]
    known = [share.report for share in shares if share.report is not None]
    snapshot = _snapshot(view, known, now)
    whole = snapshot.bytes if snapshot else 0
    domains = [_domain(view, row, whole) for row in rows(view.workers)]
    cached = sum(domain.cached_bytes for domain in domains)
    room = sum(whole * _copies(domain) for domain in domains)
    from_origin = sum(domain.origin_bytes for domain in domains)
    shared = [domain for domain in domains if domain.mode == "Distributed"]
    hits = sum(domain.peer_bytes for domain in shared)
    lacked = hits + sum(domain.origin_bytes for domain in shared)
    saved = sum(domain.peer_bytes for domain in domains if domain.network_class == "Dedicated")
    status = {
        "snapshot": dump(snapshot) if snapshot else None,
        "cached": dump(CachedStatus(bytes=cached, percent=percent(cached, room)))
        if snapshot
        else None,
        "hitRatio": f"{percent(hits, lacked)}%" if lacked else None,
        "originBytes": from_origin,
        "lineBytesSaved": saved,
        "domains": [dump(domain) for domain in domains],
    }
    return status, _findings(view, shares, snapshot, domains, now)


def silence_ends(view: DatasetView, now: datetime) -> float:
    """Return the seconds until an agent that says nothing is waited for no longer; 0: none is."""
    return max(
        (_still_starting(worker, now) for worker in view.workers if not view.was_ready), default=0.0
    )


def _still_starting(worker: CacheWorker, now: datetime) -> float:
    """Return how many seconds more a new agent that has not answered yet may take, else 0."""
    if worker.status.ready or worker.status.message or worker.status.datasets:
        return 0.0
    age = (now - read_time(worker.metadata.creation_timestamp)).total_seconds()
    return max(0.0, STARTING_SECONDS - age)


def _comes(share: _Share, now: datetime) -> bool:
    """Tell whether an agent cannot serve the Dataset yet, but is about to."""
    if share.report is not None:
        return not share.report.snapshot and not share.report.error
    return share.worker.status.ready or _still_starting(share.worker, now) > 0


def _report_on(ref: str, worker: CacheWorker) -> WorkerDataset | None:
    return next((item for item in worker.status.datasets if item.dataset == ref), None)


def _snapshot(
    view: DatasetView, known: list[WorkerDataset], now: datetime
) -> SnapshotStatus | None:
    """Return the snapshot that most agents follow; the one shown stays in a tie."""
    counts = Counter(item.snapshot for item in known if item.snapshot)
    if not counts:
        return None
    shown = view.dataset.status.snapshot
    before = shown.id if shown else ""
    chosen = min(counts, key=lambda item: (-counts[item], item != before, item))
    report = next(item for item in known if item.snapshot == chosen)
    seen = shown.taken_at if shown and shown.id == chosen else timestamp(now)
    taken = report.taken.replace("+00:00", "Z") or seen
    return SnapshotStatus(id=chosen, files=report.files, bytes=report.bytes, taken_at=taken)


def _copies(domain: DatasetDomain) -> int:
    """Return how many whole copies a row can hold: a domain one, LocalOnly nodes one each."""
    return 1 if domain.mode == "Distributed" else domain.nodes


def _domain(view: DatasetView, row: Row, whole: int) -> DatasetDomain:
    found = [_report_on(view.dataset.ref, worker) for worker in row.workers]
    reports = [item for item in found if item is not None]
    if row.distributed:
        kept = sum(item.owned_bytes for item in reports) // view.dataset.spec.replicas_per_domain
        cached, room = min(kept, whole), whole
    else:
        cached = sum(min(item.owned_bytes + item.spare_bytes, whole) for item in reports)
        room = whole * len(row.workers)
    return DatasetDomain(
        name=row.name,
        network_class=row.network_class,
        mode=row.mode,
        reason=row.reason,
        nodes=len(row.workers),
        cached_bytes=cached,
        cached_percent=percent(cached, room) if whole else 0,
        origin_bytes=sum(item.origin_bytes for item in reports),
        peer_bytes=sum(item.peer_bytes for item in reports),
    )


def _findings(
    view: DatasetView,
    shares: list[_Share],
    snapshot: SnapshotStatus | None,
    domains: list[DatasetDomain],
    now: datetime,
) -> tuple[Finding, ...]:
    if not shares:
        text = "the runtime has no agents; its status says why"
        return refused(reasons.NO_AGENTS, text)
    taken = _snapshot_finding(view, shares, snapshot)
    usable = [
        share
        for share in shares
        if share.worker.status.ready and share.report is not None and share.report.snapshot
    ]
    coming = sorted(share.worker.spec.node for share in shares if _comes(share, now))
    text = f"files can be read on {len(usable)} of {len(shares)} nodes"
    if usable and coming and not view.was_ready:
        text += f"; those without a snapshot yet: {_listed(coming)}"
        ready = false(reasons.READY, reasons.SNAPSHOT_PENDING, text)
    elif usable:
        ready = true(reasons.READY, reasons.DATASET_READY, text)
    else:
        ready = _unready_finding(shares, taken)
    return (
        ready,
        taken,
        _origin_finding(shares, snapshot),
        _placed_finding(view, shares),
        _warm_finding(view, snapshot, domains),
    )


def _listed(nodes: list[str]) -> str:
    return ", ".join(nodes[:3]) + ("..." if len(nodes) > 3 else "")


def _unready_finding(shares: list[_Share], taken: Finding) -> Finding:
    """Say why nobody can read: where agents answer, it is for want of a snapshot."""
    said = sorted(
        f"{share.worker.spec.node} ({share.worker.status.message})"
        for share in shares
        if share.worker.status.message
    )
    answered = any(share.worker.status.ready for share in shares)
    if taken.status != "True" and (answered or not said):
        return false(reasons.READY, taken.reason, taken.message)
    text = f"none of {len(shares)} agents is ready" + (f": {', '.join(said[:3])}" if said else "")
    return false(reasons.READY, reasons.AGENTS_NOT_READY, text)


def _origin_finding(shares: list[_Share], snapshot: SnapshotStatus | None) -> Finding:
    """Say whether what is not cached can be had: by the last listings and fetches."""
    told = []
    for share in shares:
        report = share.report
        if report is None or not share.worker.status.ready:
            continue
        if report.origin_reason:
            told.append((share.worker.spec.node, report.origin_reason, report.origin_error))
        elif report.reason in troubles.OF_ORIGIN:
            told.append((share.worker.spec.node, report.reason, report.error))
    if told:
        node, reason, error = min(told)
        text = f"{len(told)} of {len(shares)} agents cannot fetch; {node}: {error}"
        return false(reasons.ORIGIN_REACHABLE, reason, text)
    if snapshot is None:
        text = "nothing has been asked of the origin yet"
        return unknown(reasons.ORIGIN_REACHABLE, reasons.SNAPSHOT_PENDING, text)
    text = "no agent has failed to fetch from it of late"
    return true(reasons.ORIGIN_REACHABLE, reasons.ORIGIN_ANSWERS, text)


def _snapshot_finding(
    view: DatasetView, shares: list[_Share], snapshot: SnapshotStatus | None
) -> Finding:
    failed = sorted(
        (share.worker.spec.node, share.report.error, share.report.reason)
        for share in shares
        if share.report is not None and share.report.error
    )
    if failed:
        node, error, reason = failed[0]
        text = f"{len(failed)} of {len(shares)} agents report an error; {node}: {error}"
        return false(reasons.SNAPSHOT_TAKEN, reason or reasons.SNAPSHOT_FAILED, text)
    have = sum(share.report is not None and bool(share.report.snapshot) for share in shares)
    if snapshot is None or have < len(shares):
        text = f"{have} of {len(shares)} agents have a snapshot of {view.dataset.ref}"
        return false(reasons.SNAPSHOT_TAKEN, reasons.SNAPSHOT_PENDING, text)
    text = f"{snapshot.files} files, {snapshot.bytes} bytes"
    return true(reasons.SNAPSHOT_TAKEN, reasons.SNAPSHOT_CURRENT, text)


def _placed_finding(view: DatasetView, shares: list[_Share]) -> Finding:
    behind = sorted(
        share.worker.spec.node
        for share in shares
        if share.report is None
        or share.worker.status.plan_generation < view.generations.get(share.worker.spec.plan, 0)
    )
    if behind:
        text = (
            f"{len(shares) - len(behind)} of {len(shares)} agents follow their newest plan; "
            f"behind: {_listed(behind)}"
        )
        return false(reasons.PLACED, reasons.AGENTS_BEHIND, text)
    return true(reasons.PLACED, reasons.AGENTS_FOLLOW, f"all {len(shares)} agents follow it")


def _too_small(view: DatasetView, row: Row, whole: int) -> str:
    """Say that a row's tiers cannot hold what it is to keep, if they cannot."""
    quotas = [
        sum(tier.quota for tier in worker.status.tiers)
        for worker in row.workers
        if worker.spec.role == "cache"
    ]
    if not all(quotas) or not quotas:
        return ""  # not all have told of their tiers yet
    needed = whole * view.dataset.spec.replicas_per_domain if row.distributed else whole
    room = sum(quotas) if row.distributed else min(quotas)
    if needed <= room:
        return ""
    what = "the tiers" if row.distributed else "a node's tiers"
    return f"{row.name}: {what} hold {room} bytes, and the Dataset needs {needed}"


def _warm_finding(
    view: DatasetView, snapshot: SnapshotStatus | None, domains: list[DatasetDomain]
) -> Finding:
    """Warm is about what is shared; where nothing is, about each node's own copy."""
    if snapshot is None:
        return unknown(reasons.WARM, reasons.SNAPSHOT_PENDING, "there is no snapshot yet")
    shared = [domain for domain in domains if domain.mode == "Distributed"] or domains
    cold = [domain for domain in shared if domain.cached_percent < 100]
    small = [text for row in rows(view.workers) if (text := _too_small(view, row, snapshot.bytes))]
    if cold and small:
        text = f"{'; '.join(small[:3])}; what has no room is read through; raise a tier's quota"
        return false(reasons.WARM, reasons.TIERS_TOO_SMALL, text)
    if cold:
        text = ", ".join(f"{domain.name} {domain.cached_percent}%" for domain in cold[:5])
        return false(reasons.WARM, reasons.PARTLY_CACHED, f"not all is cached: {text}")
    text = f"all {snapshot.bytes} bytes are cached in each of {len(shared)} domains"
    return true(reasons.WARM, reasons.ALL_CACHED, text)
