"""Pure: which runtime a Dataset belongs to and whether it may use it; a runtime's nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cache_ctl.api.kinds import Resource
    from cache_ctl.api.v1alpha1.cacheruntime import CacheRuntime, RuntimeNodes, Toleration
    from cache_ctl.api.v1alpha1.dataset import Dataset

_TOLERATED_BY_DAEMONS: Final = frozenset(
    f"node.kubernetes.io/{name}"
    for name in (
        "disk-pressure",
        "memory-pressure",
        "network-unavailable",
        "not-ready",
        "pid-pressure",
        "unreachable",
        "unschedulable",
    )
)
"""Taints that every DaemonSet's pods tolerate."""


def runtime_key(dataset: Dataset) -> tuple[str, str]:
    """Return namespace and name of the runtime that a Dataset refers to."""
    return dataset.spec.runtime_ref.within(dataset.metadata.namespace)


def denied(
    dataset: Dataset, runtime: CacheRuntime, namespaces: Mapping[str, Mapping[str, str]]
) -> str | None:
    """Return why a Dataset may not use the runtime, or None where it may.

    ``namespaces`` are the labels of every namespace.
    """
    ours, theirs = dataset.metadata.namespace, runtime.metadata.namespace
    allowed = runtime.spec.allowed_namespaces
    where = f"CacheRuntime {runtime.ref} (spec.allowedNamespaces.from: {allowed.origin})"
    if ours == theirs or allowed.origin == "All":
        return None
    if allowed.origin == "Same":
        return f"{where} serves Datasets of its own namespace only; ask its owner to allow {ours}"
    labels = {"kubernetes.io/metadata.name": ours, **namespaces.get(ours, {})}
    if allowed.selector is not None and allowed.selector.matches(labels):
        return None
    return f"{where} has a selector that does not match the namespace {ours}; ask its owner"


def selects(nodes: RuntimeNodes, node: Resource) -> bool:
    """Tell whether a runtime's agents run on a node: selected, and its taints tolerated."""
    metadata = node.get("metadata", {})
    taints: Iterable[Mapping[str, Any]] = (node.get("spec") or {}).get("taints") or ()
    return nodes.selector.matches(dict(metadata.get("labels") or {})) and all(
        taint.get("effect") == "PreferNoSchedule"
        or taint.get("key") in _TOLERATED_BY_DAEMONS
        or any(_tolerates(toleration, taint) for toleration in nodes.tolerations)
        for taint in taints
    )


def _tolerates(toleration: Toleration, taint: Mapping[str, Any]) -> bool:
    if toleration.effect and toleration.effect != taint.get("effect"):
        return False
    if not toleration.key:
        return toleration.operator == "Exists"
    if toleration.key != taint.get("key"):
        return False
    return toleration.operator == "Exists" or toleration.value == taint.get("value", "")
