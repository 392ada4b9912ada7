"""Pure: specs of our kinds as the domain's facts and the contract's documents."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import xxhash

from cache_ctl.api.meta import dump
from cache_ctl.domain.facts import PrewarmFacts
from cache_ctl.domain.quantity import parse_bytes, parse_rate
from cache_ctl.errors import InvalidQuantity
from cache_ctl.manifests.labels import REFRESH
from runtime.contract.plan import DatasetPlan, Endpoints, MountPlan, PrewarmPlan, TierPlan

if TYPE_CHECKING:
    from cache_ctl.api.v1alpha1.cacheprewarm import CachePrewarm
    from cache_ctl.api.v1alpha1.cacheruntime import CacheRuntime, CacheRuntimeSpec
    from cache_ctl.api.v1alpha1.dataset import Dataset, Mount


def tier_plans(spec: CacheRuntimeSpec) -> tuple[TierPlan, ...]:
    """Return a runtime's tiers with their quotas in bytes.

    Raises:
        InvalidQuantity: a quota cannot be read, or is below one chunk.
    """
    chunk = parse_bytes(spec.chunk_size, "spec.chunkSize")
    found = []
    for index, tier in enumerate(spec.tiers):
        field = f"spec.tiers[{index}].quota"
        quota = parse_bytes(tier.quota, field)
        if quota < chunk:
            raise InvalidQuantity(
                f"{field} is {tier.quota}, and chunkSize is {spec.chunk_size}; "
                "a tier needs room for at least one chunk, so raise the quota"
            )
        found.append(TierPlan(tier.medium, tier.path, quota, high=tier.high, low=tier.low))
    return tuple(found)


def rate(text: str | None, field: str) -> int:
    """Return a rate in bytes per second, 0 where there is none."""
    return 0 if text is None else parse_rate(text, field)


def dataset_plan(dataset: Dataset, runtime: CacheRuntime) -> DatasetPlan:
    """Return what agents of the runtime need to know of a Dataset.

    Raises:
        InvalidQuantity: the runtime's chunkSize or packBelow cannot be read.
    """
    spec = dataset.spec
    return DatasetPlan(
        namespace=dataset.metadata.namespace,
        name=dataset.metadata.name,
        uid=dataset.metadata.uid,
        mounts=tuple(mount_plan(mount, dataset.metadata.namespace) for mount in spec.mounts),
        snapshot_request=snapshot_request(dataset),
        refresh_seconds=spec.refresh.interval_seconds if spec.refresh.policy == "Interval" else 0,
        copies=spec.replicas_per_domain,
        cache_policy=spec.cache_policy,
        local_only=spec.local_only.policy,
        chunk_size=parse_bytes(runtime.spec.chunk_size, "spec.chunkSize"),
        pack_below=parse_bytes(runtime.spec.pack_below, "spec.packBelow"),
    )


def mount_plan(mount: Mount, namespace: str) -> MountPlan:
    """Return a mount as agents read it; its Secret lies in the Dataset's ``namespace``."""
    return MountPlan(
        name="" if mount.path == "/" else mount.name,
        source=mount.source,
        endpoints=Endpoints(
            cloud=mount.endpoints.cloud,
            dedicated=mount.endpoints.dedicated,
            basic=mount.endpoints.basic,
        ),
        options=dict(sorted(mount.options.items())),
        secret=secret_folder(namespace, mount.secret_ref.name) if mount.secret_ref else "",
        include=mount.include,
        exclude=mount.exclude,
    )


def secret_folder(namespace: str, name: str) -> str:
    """Return the name of the folder that holds a Secret's keys on a node.

    A namespace has no dot, so no two Secrets share a folder.
    """
    return f"{namespace}.{name}"


def snapshot_request(dataset: Dataset) -> str:
    """Return what changes exactly when a new snapshot is wanted: the sources, or the annotation."""
    mounts = [dump(mount) for mount in dataset.spec.mounts]
    for mount in mounts:
        mount.pop("secretRef", None)
    sources = xxhash.xxh3_64_hexdigest(json.dumps(mounts, sort_keys=True).encode())
    asked = dataset.metadata.annotations.get(REFRESH, "")
    return f"{sources}:{asked}" if asked else sources


def prewarm_facts(prewarm: CachePrewarm) -> PrewarmFacts:
    """Return a prewarm as planning needs it.

    Raises:
        InvalidQuantity: its bandwidth cannot be read.
    """
    spec = prewarm.spec
    namespace, name = spec.dataset_ref.within(prewarm.metadata.namespace)
    return PrewarmFacts(
        plan=PrewarmPlan(
            namespace=prewarm.metadata.namespace,
            name=prewarm.metadata.name,
            uid=prewarm.metadata.uid,
            dataset=f"{namespace}/{name}",
            paths=tuple(sorted(spec.paths)),
            copies=spec.target.copies,
            bytes_per_second=rate(spec.bandwidth, "spec.bandwidth"),
        ),
        network_classes=frozenset(spec.target.network_classes),
        domains=frozenset(spec.target.domains),
        include_local_only=spec.include_local_only,
    )
