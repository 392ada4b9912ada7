"""The overview of a running local cluster: what ``cachectl status -o json`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cache_ctl.api import reasons
from cache_ctl.api.conditions import find
from cache_ctl.api.kinds import (
    CACHE_PREWARM,
    CACHE_WORKER,
    DATASET,
    NODE,
    labels_of,
    name_of,
    namespace_of,
)
from cache_ctl.manifests.labels import NETWORK_CLASS

if TYPE_CHECKING:
    from cache_ctl.api.kinds import Resource
    from cache_ctl.api.meta import Condition
    from cache_ctl.local.world import LocalWorld

NO_AGENT = "NoAgent"
"""The reason of a node that no CacheRuntime selects."""
NOT_SEEN = "Pending"
"""The reason of an object whose present spec no pass has looked at yet."""


def overview(world: LocalWorld) -> dict[str, Any]:
    """Return nodes, Datasets and prewarms as they are now, each sorted by name.

    A node's ``port`` is the one that its agent listens at, null for none.
    """
    workers = {body["spec"]["node"]: body["spec"] for body in world.objects.list(CACHE_WORKER)}
    bodies = {name_of(body): body for body in world.objects.list(NODE)}
    return {
        "nodes": [
            _agent(world, name, workers[name]) if name in workers else _bare(name, bodies[name])
            for name in sorted(bodies.keys() | workers.keys())
        ],
        "datasets": [_dataset(world, body) for body in world.objects.list(DATASET)],
        "prewarms": [_prewarm(body) for body in world.objects.list(CACHE_PREWARM)],
    }


def _agent(world: LocalWorld, node: str, spec: dict[str, Any]) -> dict[str, Any]:
    report = world.reports.get(node)
    process = world.processes.get(node)
    return {
        "name": node,
        "networkClass": spec["networkClass"],
        "domain": spec.get("domain"),
        "mode": spec["mode"],
        "reason": spec["reason"],
        "pid": process.pid if process else None,
        "address": spec["address"],
        "port": report.port if report else None,
        "socket": str(world.socket(node)),
        "ready": report is not None and report.ready,
    }


def _bare(node: str, body: Resource) -> dict[str, Any]:
    addresses = (body.get("status") or {}).get("addresses") or ()
    return {
        "name": node,
        "networkClass": labels_of(body).get(NETWORK_CLASS),
        "domain": None,
        "mode": None,
        "reason": NO_AGENT,
        "pid": None,
        "address": next((a["address"] for a in addresses if a["type"] == "InternalIP"), None),
        "port": None,
        "socket": None,
        "ready": False,
    }


def _dataset(world: LocalWorld, body: Resource) -> dict[str, Any]:
    ref = f"{namespace_of(body)}/{name_of(body)}"
    status = body.get("status") or {}
    snapshot, cached = status.get("snapshot") or {}, status.get("cached") or {}
    token = world.token_file(ref)
    return {
        "ref": ref,
        **_state("ready", find(body, reasons.READY)),
        "snapshot": snapshot.get("id"),
        "files": snapshot.get("files"),
        "bytes": snapshot.get("bytes"),
        "cachedBytes": cached.get("bytes", 0),
        "cachedPercent": cached.get("percent", 0),
        "hitRatio": status.get("hitRatio"),
        "originBytes": status.get("originBytes", 0),
        "lineBytesSaved": status.get("lineBytesSaved", 0),
        "tokenFile": str(token) if token.exists() else None,
    }


def _prewarm(body: Resource) -> dict[str, Any]:
    status = body.get("status") or {}
    target = body["spec"]["datasetRef"]
    failed = find(body, reasons.FAILED)
    return {
        "ref": f"{namespace_of(body)}/{name_of(body)}",
        "dataset": f"{target.get('namespace') or namespace_of(body)}/{target['name']}",
        **_state("complete", find(body, reasons.COMPLETE)),
        "failed": failed is not None and failed.status == "True",
        **{
            key: status.get(key, 0)
            for key in ("bytesDone", "bytesTotal", "filesDone", "filesTotal", "failedFiles")
        },
    }


def _state(name: str, condition: Condition | None) -> dict[str, Any]:
    """Return whether a condition holds, and why, under this name."""
    if condition is None:
        return {name: False, "reason": NOT_SEEN, "message": "the controller has not seen it yet"}
    return {
        name: condition.status == "True",
        "reason": condition.reason,
        "message": condition.message,
    }
