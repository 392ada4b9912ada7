"""From what the cluster holds to one value per pass. Reads, and decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from cache_ctl.api import kinds
from cache_ctl.api.kinds import labels_of, name_of, namespace_of
from cache_ctl.api.v1alpha1.cacheprewarm import CachePrewarm
from cache_ctl.api.v1alpha1.cacheruntime import CacheRuntime
from cache_ctl.api.v1alpha1.cacheworker import CacheWorker
from cache_ctl.api.v1alpha1.dataset import Dataset
from cache_ctl.domain import observe
from cache_ctl.domain.facts import ClusterFacts
from cache_ctl.manifests.labels import owned_by_runtime
from cache_ctl.manifests.objects import plan_of
from cache_ctl.reconcile.access import denied, runtime_key, selects
from cache_ctl.reconcile.parse import parse
from runtime.contract.plan import Plan
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from cache_ctl.api.kinds import Resource
    from cache_ctl.domain.facts import KindState, PoolKind
    from cache_ctl.kube.cache import ObjectCache
    from cache_ctl.kube.cluster import Cluster
    from cache_ctl.reconcile.loop import Key

WATCHED: Final = (
    *kinds.OUR_KINDS,
    kinds.NODE,
    kinds.NAMESPACE,
    kinds.CONFIG_MAP,
    *kinds.POOL_KINDS,
)
"""Every kind that a pass reads from the cache."""


@dataclass(frozen=True, slots=True)
class RuntimeView:
    """All that a pass over a CacheRuntime looks at.

    ``claimed`` are names of the nodes that this runtime serves; ``taken`` counts those it selects
    although an older runtime serves them. ``previous`` are the plans in force by name.
    """

    runtime: CacheRuntime
    cluster: ClusterFacts
    claimed: frozenset[str]
    taken: int
    datasets: tuple[Dataset, ...]
    prewarms: tuple[CachePrewarm, ...]
    workers: tuple[CacheWorker, ...]
    previous: Mapping[str, Plan]


def cluster_facts(cache: ObjectCache) -> ClusterFacts:
    """Return what classification looks at: nodes, pools and the operator's rules.

    Raises:
        InvalidInput: an object has a field of the wrong type.
    """
    found = (kinds.NODE, kinds.NETWORK_TOPOLOGY, *kinds.POOL_KINDS)
    served: dict[PoolKind, KindState] = {
        cast("PoolKind", kind.name): cache.availability(kind) for kind in kinds.POOL_KINDS
    }
    return observe.cluster_facts((body for kind in found for body in cache.list(kind)), served)


def live_runtimes(cache: ObjectCache) -> list[CacheRuntime]:
    """Return the usable runtimes that are not being deleted, the oldest first."""
    found = [parse(CacheRuntime, body) for body in cache.list(kinds.CACHE_RUNTIME)]
    live = [item for item in found if not isinstance(item, str)]
    return sorted(
        (item for item in live if not item.metadata.deletion_timestamp),
        key=lambda item: (item.metadata.creation_timestamp, item.ref),
    )


def claims(cache: ObjectCache) -> dict[str, tuple[str, ...]]:
    """Return for each node the refs of the runtimes that select it; the first one serves it.

    A node has one agent, as agents of two runtimes would share its port and its memory.
    """
    runtimes = live_runtimes(cache)
    return {
        name_of(node): tuple(item.ref for item in runtimes if selects(item.spec.nodes, node))
        for node in cache.list(kinds.NODE)
    }


def datasets_of(cache: ObjectCache, runtime: CacheRuntime) -> tuple[Dataset, ...]:
    """Return the Datasets that refer to a runtime and may use it."""
    namespaces = namespace_labels(cache)
    found = (parse(Dataset, body) for body in cache.list(kinds.DATASET))
    return tuple(
        item
        for item in found
        if not isinstance(item, str)
        and runtime_key(item) == (runtime.metadata.namespace, runtime.metadata.name)
        and not item.metadata.deletion_timestamp
        and denied(item, runtime, namespaces) is None
    )


def namespace_labels(cache: ObjectCache) -> dict[str, dict[str, str]]:
    """Return the labels of every namespace."""
    return {name_of(body): labels_of(body) for body in cache.list(kinds.NAMESPACE)}


def workers_of(cache: ObjectCache, runtime: Key) -> tuple[CacheWorker, ...]:
    """Return the CacheWorkers of a runtime."""
    namespace, name = runtime
    wanted = owned_by_runtime(name).items()
    found = (
        parse(CacheWorker, body)
        for body in cache.list(kinds.CACHE_WORKER, namespace=namespace)
        if wanted <= labels_of(body).items()
    )
    return tuple(item for item in found if not isinstance(item, str))


def prewarms_of(cache: ObjectCache, datasets: tuple[Dataset, ...]) -> tuple[CachePrewarm, ...]:
    """Return the prewarms of these Datasets. A prewarm and its Dataset share a namespace."""
    refs = {(item.metadata.namespace, item.metadata.name) for item in datasets}
    found = (parse(CachePrewarm, body) for body in cache.list(kinds.CACHE_PREWARM))
    return tuple(
        item
        for item in found
        if not isinstance(item, str)
        and not item.metadata.deletion_timestamp
        and item.spec.dataset_ref.within(item.metadata.namespace) in refs
    )


async def plans_in_force(cluster: Cluster, runtime: Resource) -> dict[str, Plan]:
    """Return a runtime's plans by name, read from the cluster itself.

    A cache may be behind our own last write, and a generation must never be given out twice.
    """
    found = await cluster.list(
        kinds.CONFIG_MAP,
        namespace=namespace_of(runtime),
        labels=owned_by_runtime(name_of(runtime)),
    )
    plans = {}
    for body in found:
        try:
            plans[name_of(body)] = plan_of(body)
        except ConfigError:  # written by someone else: it is replaced
            continue
    return plans


async def gather_runtime(
    cluster: Cluster, cache: ObjectCache, runtime: CacheRuntime, body: Resource
) -> RuntimeView:
    """Return all that a pass over a runtime looks at."""
    by_node = claims(cache)
    datasets = datasets_of(cache, runtime)
    key = (runtime.metadata.namespace, runtime.metadata.name)
    return RuntimeView(
        runtime=runtime,
        cluster=cluster_facts(cache),
        claimed=frozenset(node for node, refs in by_node.items() if refs[:1] == (runtime.ref,)),
        taken=sum(runtime.ref in refs[1:] for refs in by_node.values()),
        datasets=datasets,
        prewarms=prewarms_of(cache, datasets),
        workers=workers_of(cache, key),
        previous=await plans_in_force(cluster, body),
    )
