"""The loops of all kinds, and which change wakes which of them.

Fed by a cache: whoever feeds it (a watch here, an operator framework's handlers elsewhere) needs
to know nothing of this.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from cache_ctl.api import kinds
from cache_ctl.api.kinds import name_of, namespace_of
from cache_ctl.manifests.labels import RUNTIME, label_value
from cache_ctl.reconcile.cacheruntime import RuntimePass
from cache_ctl.reconcile.dataset import DatasetPass
from cache_ctl.reconcile.gather import WATCHED
from cache_ctl.reconcile.loop import Key, Loops, Outcome, Pace
from cache_ctl.reconcile.prewarm import PrewarmPass

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from cache_ctl.api.kinds import Kind, Resource
    from cache_ctl.kube.cache import ObjectCache
    from cache_ctl.kube.cluster import Cluster
    from cache_ctl.reconcile.clock import Clock


@dataclass(frozen=True, slots=True)
class Delays:
    """How long changes of a kind are collected before the pass that they call for, in seconds."""

    spec: float = 0.02
    reports: float = 0.2


class Passes:
    """The passes over every CacheRuntime, Dataset and CachePrewarm, while entered."""

    def __init__(
        self,
        cluster: Cluster,
        cache: ObjectCache,
        *,
        clock: Clock,
        pace: Pace | None = None,
        delays: Delays | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._cache = cache
        self._delays = delays or Delays()

        def loops(kind: Kind, reconcile: Callable[[Key], Awaitable[Outcome]]) -> Loops:
            async def when_heard(key: Key) -> Outcome:
                # A pass that sees only half of the nodes would plan for half of them.
                await cache.heard_of(WATCHED)
                return await reconcile(key)

            return Loops(kind.name, when_heard, clock=clock, pace=pace or Pace(), jitter=jitter)

        self._loops = {
            kinds.CACHE_RUNTIME: loops(kinds.CACHE_RUNTIME, RuntimePass(cluster, cache, clock)),
            kinds.DATASET: loops(kinds.DATASET, DatasetPass(cluster, cache, clock)),
            kinds.CACHE_PREWARM: loops(kinds.CACHE_PREWARM, PrewarmPass(cluster, cache, clock)),
        }

    async def __aenter__(self) -> Self:
        self._cache.subscribe(self.changed)
        for kind in self._loops:
            self._wake_all(kind)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for loops in self._loops.values():
            await loops.close()

    def changed(self, kind: Kind, before: Resource | None, after: Resource | None) -> None:
        """Wake what depends on an object that has changed."""
        body = after or before
        if body is None or (
            before and after and _substance(kind, before) == _substance(kind, after)
        ):
            return
        if kind in self._loops:
            self._loops[kind].wake((namespace_of(body), name_of(body)), within=self._delays.spec)
        match kind:
            case kinds.CACHE_RUNTIME:
                for other in self._loops:
                    self._wake_all(other)
            case kinds.DATASET:
                self._wake_all(kinds.CACHE_RUNTIME)
                self._wake_all(kinds.CACHE_PREWARM)
            case kinds.CACHE_PREWARM | kinds.NODE | kinds.NETWORK_TOPOLOGY:
                self._wake_all(kinds.CACHE_RUNTIME)
            case kinds.NAMESPACE:
                self._wake_all(kinds.CACHE_RUNTIME)
                self._wake_all(kinds.DATASET)
            case kinds.CONFIG_MAP | kinds.CACHE_WORKER:
                self._wake_owner(kind, body)
            case _:
                if kind in kinds.POOL_KINDS:
                    self._wake_all(kinds.CACHE_RUNTIME)

    def _wake_all(self, kind: Kind, *, within: float | None = None) -> None:
        delay = self._delays.spec if within is None else within
        for key in self._cache.keys(kind):
            self._loops[kind].wake(key, within=delay)

    def _wake_owner(self, kind: Kind, child: Resource) -> None:
        """Wake the runtime that owns an object, and what shows the reports of its agents."""
        namespace = namespace_of(child)
        label = kinds.labels_of(child).get(RUNTIME)
        if label is None:
            return
        within = self._delays.reports if kind is kinds.CACHE_WORKER else self._delays.spec
        for key in self._cache.keys(kinds.CACHE_RUNTIME):
            if key[0] == namespace and label_value(key[1]) == label:
                self._loops[kinds.CACHE_RUNTIME].wake(key, within=within)
        if kind is kinds.CACHE_WORKER:
            self._wake_all(kinds.DATASET, within=within)
            self._wake_all(kinds.CACHE_PREWARM, within=within)


def _substance(kind: Kind, body: Resource) -> Any:
    """Return the part of an object whose change calls for a pass.

    A Node's status is written every few seconds; all but its addresses and its readiness is noise.
    """
    metadata = body.get("metadata", {})
    named = ("uid", "labels", "annotations", "ownerReferences", "finalizers", "deletionTimestamp")
    rest = {
        key: value
        for key, value in body.items()
        if key != "metadata" and not (kind is kinds.NODE and key == "status")
    }
    if kind is kinds.NODE:
        status = body.get("status") or {}
        rest["addresses"] = status.get("addresses")
        rest["ready"] = [
            item.get("status")
            for item in status.get("conditions") or ()
            if item.get("type") == "Ready"
        ]
    return rest, {key: metadata.get(key) for key in named}
