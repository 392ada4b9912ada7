"""One pass over a CachePrewarm: how far it is, and its end. The work is the owners', by plan."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from cache_ctl.api import kinds, reasons
from cache_ctl.api.conditions import read_time
from cache_ctl.api.kinds import name_of, namespace_of, uid_of
from cache_ctl.api.v1alpha1.cacheprewarm import CachePrewarm
from cache_ctl.api.v1alpha1.dataset import Dataset
from cache_ctl.reconcile.access import runtime_key
from cache_ctl.reconcile.gather import workers_of
from cache_ctl.reconcile.loop import Again, Gone, Key, Outcome
from cache_ctl.reconcile.parse import parse
from cache_ctl.reconcile.prewarm_decision import (
    PrewarmDecision,
    decide_prewarm,
    waiting,
)
from cache_ctl.reconcile.report import write_status
from cache_ctl.reconcile.runtime_decision import finished

if TYPE_CHECKING:
    from cache_ctl.api.kinds import Resource
    from cache_ctl.kube.cache import ObjectCache
    from cache_ctl.kube.cluster import Cluster
    from cache_ctl.reconcile.clock import Clock


class PrewarmPass:
    """The pass; it remembers nothing."""

    def __init__(self, cluster: Cluster, cache: ObjectCache, clock: Clock) -> None:
        self._cluster = cluster
        self._cache = cache
        self._clock = clock

    async def __call__(self, key: Key) -> Outcome:
        """Bring the prewarm's status up to date, and delete it when its time is over."""
        namespace, name = key
        body = self._cache.get(kinds.CACHE_PREWARM, name, namespace)
        if body is None or "deletionTimestamp" in body["metadata"]:
            return Gone()
        prewarm = parse(CachePrewarm, body)
        if isinstance(prewarm, str):
            findings = waiting(reasons.SPEC_INVALID, prewarm)
            await write_status(self._cluster, body, {}, findings, now=self._clock.wall())
            return Again()
        if finished(prewarm):
            return await self._after_the_end(prewarm, body)
        decision = self._decide(prewarm)
        await write_status(
            self._cluster, body, decision.status, decision.findings, now=self._clock.wall()
        )
        return Again(decision.due)

    def _decide(self, prewarm: CachePrewarm) -> PrewarmDecision:
        namespace, name = prewarm.spec.dataset_ref.within(prewarm.metadata.namespace)
        if namespace != prewarm.metadata.namespace:
            text = f"datasetRef.namespace is {namespace}; a prewarm lives beside its Dataset"
            return PrewarmDecision({}, waiting(reasons.NAMESPACE_NOT_ALLOWED, text))
        body = self._cache.get(kinds.DATASET, name, namespace)
        dataset = parse(Dataset, body) if body is not None else None
        if not isinstance(dataset, Dataset):
            text = (
                f"there is no usable Dataset {namespace}/{name}; create it, or correct datasetRef"
            )
            return PrewarmDecision({}, waiting(reasons.DATASET_MISSING, text))
        workers = workers_of(self._cache, runtime_key(dataset))
        return decide_prewarm(prewarm, workers, self._clock.wall(), hindrance=_hindrance(dataset))

    async def _after_the_end(self, prewarm: CachePrewarm, body: Resource) -> Outcome:
        """An end is final: its status stays as it is until the object goes."""
        keep = prewarm.spec.ttl_seconds_after_finished
        ended = prewarm.status.completion_time
        if keep is None or ended is None:
            return Again()
        left: Any = read_time(ended) + timedelta(seconds=keep) - self._clock.wall()
        if left.total_seconds() > 0:
            return Again(left.total_seconds())
        await self._cluster.delete(
            kinds.CACHE_PREWARM, name_of(body), namespace_of(body), uid=uid_of(body)
        )
        return Again()


def _hindrance(dataset: Dataset) -> str:
    """Return why nothing of a Dataset can be loaded now, or an empty string."""
    ready = next((item for item in dataset.status.conditions if item.type == reasons.READY), None)
    if ready is None or ready.status != "False" or ready.reason in reasons.STARTING:
        return ""
    return f"Dataset {dataset.ref} is not ready: {ready.message}"
