"""One pass over a Dataset: what its runtime's agents made of it. Plans are the runtime's pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cache_ctl.api import kinds, reasons
from cache_ctl.api.conditions import false, read
from cache_ctl.api.v1alpha1.cacheruntime import CacheRuntime
from cache_ctl.api.v1alpha1.dataset import Dataset
from cache_ctl.reconcile.access import denied, runtime_key
from cache_ctl.reconcile.dataset_decision import (
    DatasetView,
    decide_dataset,
    refused,
    silence_ends,
)
from cache_ctl.reconcile.gather import namespace_labels, workers_of
from cache_ctl.reconcile.loop import NEVER, Again, Gone, Key, Outcome
from cache_ctl.reconcile.parse import parse
from cache_ctl.reconcile.report import write_status

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cache_ctl.api.conditions import Finding
    from cache_ctl.api.kinds import Resource
    from cache_ctl.kube.cache import ObjectCache
    from cache_ctl.kube.cluster import Cluster
    from cache_ctl.reconcile.clock import Clock

Report = tuple["Mapping[str, Any]", "tuple[Finding, ...]", float]
"""The status, the findings, and in how many seconds to look again."""


class DatasetPass:
    """The pass; it remembers nothing."""

    def __init__(self, cluster: Cluster, cache: ObjectCache, clock: Clock) -> None:
        self._cluster = cluster
        self._cache = cache
        self._clock = clock

    async def __call__(self, key: Key) -> Outcome:
        """Bring the Dataset's status up to date."""
        namespace, name = key
        body = self._cache.get(kinds.DATASET, name, namespace)
        if body is None or "deletionTimestamp" in body["metadata"]:
            return Gone()
        dataset = parse(Dataset, body)
        if isinstance(dataset, str):
            invalid = false(reasons.READY, reasons.SPEC_INVALID, dataset)
            report: Report = {}, (invalid,), NEVER
        else:
            report = self._decide(dataset, was_ready=_is_ready(body))
        status, findings, due = report
        await write_status(self._cluster, body, status, findings, now=self._clock.wall())
        return Again(due)

    def _decide(self, dataset: Dataset, *, was_ready: bool) -> Report:
        space, name = runtime_key(dataset)
        body = self._cache.get(kinds.CACHE_RUNTIME, name, space)
        runtime = parse(CacheRuntime, body) if body is not None else None
        if runtime is None or (
            not isinstance(runtime, str) and runtime.metadata.deletion_timestamp
        ):
            text = f"there is no CacheRuntime {space}/{name}; create it, or correct runtimeRef"
            return {}, refused(reasons.RUNTIME_MISSING, text), NEVER
        if isinstance(runtime, str):
            text = f"CacheRuntime {space}/{name}: {runtime}"
            return {}, refused(reasons.SPEC_INVALID, text), NEVER
        why = denied(dataset, runtime, namespace_labels(self._cache))
        if why is not None:
            return {}, refused(reasons.NAMESPACE_NOT_ALLOWED, why), NEVER
        view = DatasetView(
            dataset=dataset,
            workers=workers_of(self._cache, (space, name)),
            generations={row.plan: row.generation for row in runtime.status.domains},
            was_ready=was_ready,
        )
        now = self._clock.wall()
        return *decide_dataset(view, now), silence_ends(view, now) or NEVER


def _is_ready(body: Resource) -> bool:
    """Tell whether the last pass found it ready, be it for an older spec."""
    return any(item.type == reasons.READY and item.status == "True" for item in read(body))
