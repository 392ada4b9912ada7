"""CacheWorker: one per agent. The controller assigns in the spec, the agent reports in the status.

So an agent cannot give itself a class or a domain: it may write the status alone.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cache_ctl.api.meta import KubeObject, Model, ObjectReference

NetworkClass = Literal["Cloud", "Dedicated", "Basic"]
Mode = Literal["Distributed", "LocalOnly"]


class CacheWorkerSpec(Model):
    """Which plan the node's agent follows, and as what. ``plan`` names a ConfigMap beside it."""

    node: str
    node_uid: str
    address: str
    port: int
    runtime_ref: ObjectReference
    plan: str
    network_class: NetworkClass
    domain: str | None = None
    mode: Mode
    role: Literal["cache", "client"] = "cache"
    reason: str
    message: str = ""


class WorkerTier(Model):
    """One tier's room in bytes."""

    medium: str
    path: str
    quota: int
    used: int
    state: str
    disk: int = 0
    message: str = ""


class WorkerDataset(Model):
    """One Dataset on this node; bytes since the agent's start."""

    dataset: str
    snapshot: str = ""
    taken: str = ""
    files: int = 0
    bytes: int = 0
    owned_bytes: int = 0
    spare_bytes: int = 0
    origin_bytes: int = 0
    peer_bytes: int = 0
    error: str = ""
    reason: str = ""
    origin_error: str = ""
    origin_reason: str = ""


class WorkerPrewarm(Model):
    """This agent's share of a prewarm."""

    uid: str
    state: Literal["Pending", "Running", "Complete", "Failed"]
    bytes_done: int = 0
    bytes_total: int = 0
    files_done: int = 0
    files_total: int = 0
    failed_files: int = 0
    message: str = ""


class CacheWorkerStatus(Model):
    """What the agent says of itself; ``message`` is what is wrong with it, where that is known."""

    ready: bool = False
    message: str = ""
    plan_generation: int = 0
    network_class: NetworkClass | None = None
    mode: Mode | None = None
    domain: str | None = None
    tiers: tuple[WorkerTier, ...] = ()
    datasets: tuple[WorkerDataset, ...] = ()
    prewarms: tuple[WorkerPrewarm, ...] = ()
    counters: dict[str, int] = Field(default_factory=dict)
    forbidden_connections: int = 0


class CacheWorker(KubeObject):
    """One agent."""

    spec: CacheWorkerSpec
    status: CacheWorkerStatus = Field(default_factory=CacheWorkerStatus)
