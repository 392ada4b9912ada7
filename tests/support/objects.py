"""Kubernetes objects for tests of the control plane."""

from __future__ import annotations

from typing import Any

GROUP = "cachectl.dev/v1alpha1"
SPACE = "cache-system"


def node(name: str, address: str, **parts: Any) -> dict[str, Any]:
    """Return a Node; ``parts`` are labels, annotations, taints, ready."""
    ready = "True" if parts.get("ready", True) else "False"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/hostname": name, **parts.get("labels", {})},
            "annotations": parts.get("annotations", {}),
        },
        "spec": {"taints": parts.get("taints", [])},
        "status": {
            "addresses": [{"type": "InternalIP", "address": address}],
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }


def cloud_node(number: int, **parts: Any) -> dict[str, Any]:
    labels = {
        "alibabacloud.com/is-edge-worker": "false",
        "topology.kubernetes.io/region": "cn-hangzhou",
        **parts.pop("labels", {}),
    }
    return node(f"cloud-{number}", f"10.0.1.{number}", labels=labels, **parts)


def edge_node(pool: str, number: int, **parts: Any) -> dict[str, Any]:
    labels = {
        "alibabacloud.com/is-edge-worker": "true",
        "alibabacloud.com/nodepool-id": pool,
        **parts.pop("labels", {}),
    }
    octet = sum(pool.encode()) % 200 + 20
    return node(f"{pool}-{number}", f"10.0.{octet}.{number}", labels=labels, **parts)


def pool(name: str, mode: str) -> dict[str, Any]:
    """Return an ACK NodePool; ``mode`` is its interconnection mode."""
    return {
        "apiVersion": "apps.openyurt.io/v1beta2",
        "kind": "NodePool",
        "metadata": {
            "name": name,
            "annotations": {"alibabacloud.com/interconnection-mode": mode},
        },
        "spec": {"type": "Edge"},
    }


def runtime(name: str = "edge", **spec: Any) -> dict[str, Any]:
    tiers = [{"medium": "SSD", "path": "/var/lib/cachectl", "quota": "10Gi"}]
    return {
        "apiVersion": GROUP,
        "kind": "CacheRuntime",
        "metadata": {"name": name, "namespace": SPACE},
        "spec": {"tiers": tiers, **spec},
    }


def dataset(name: str = "images", *, namespace: str = SPACE, **spec: Any) -> dict[str, Any]:
    base = {
        "runtimeRef": {"name": "edge", "namespace": SPACE},
        "mounts": [{"name": "train", "source": "oss://bucket/train"}],
    }
    return {
        "apiVersion": GROUP,
        "kind": "Dataset",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {**base, **spec},
    }


def prewarm(name: str = "warm", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": GROUP,
        "kind": "CachePrewarm",
        "metadata": {"name": name, "namespace": SPACE},
        "spec": {"datasetRef": {"name": "images"}, **spec},
    }
