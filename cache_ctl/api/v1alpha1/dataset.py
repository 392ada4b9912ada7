"""Dataset: what a training user writes, and what they read in its status."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cache_ctl.api.meta import (
    Condition,
    KubeObject,
    Label,
    Model,
    ObjectReference,
    SecretReference,
)

Globs = tuple[Annotated[str, Field(min_length=1, max_length=1024)], ...]


class MountEndpoints(Model):
    """The origin's endpoint per network class; an absent one falls back to options.endpoint."""

    cloud: Annotated[str, Field(max_length=2048)] = ""
    dedicated: Annotated[str, Field(max_length=2048)] = ""
    basic: Annotated[str, Field(max_length=2048)] = ""


class Mount(Model):
    """A source, seen as the folder ``/name`` of the Dataset, or as its root."""

    name: Label
    path: Literal["/"] | None = None
    source: Annotated[str, Field(pattern=r"^[a-z][a-z0-9+.-]*://", max_length=2048)]
    endpoints: MountEndpoints = Field(default_factory=MountEndpoints)
    options: Annotated[dict[str, str], Field(max_length=64)] = Field(default_factory=dict)
    secret_ref: SecretReference | None = None
    include: Annotated[Globs, Field(max_length=64)] = ()
    exclude: Annotated[Globs, Field(max_length=64)] = ()


class Refresh(Model):
    """When a new snapshot is taken: never by itself, or every so many seconds."""

    policy: Literal["Pinned", "Interval"] = "Pinned"
    interval_seconds: Annotated[int, Field(ge=10, le=31_536_000)] = 3600


class LocalOnlyReads(Model):
    """What LocalOnly nodes do: cache on the node, read through, or refuse with a clear error."""

    policy: Literal["Cache", "Bypass", "Refuse"] = "Cache"


class DatasetSpec(Model):
    """The wish of a training user."""

    runtime_ref: ObjectReference
    mounts: Annotated[tuple[Mount, ...], Field(min_length=1, max_length=32)]
    refresh: Refresh = Field(default_factory=Refresh)
    replicas_per_domain: Annotated[int, Field(ge=1, le=3)] = 1
    cache_policy: Literal["Epoch", "Serving"] = "Epoch"
    local_only: LocalOnlyReads = Field(default_factory=LocalOnlyReads)

    @model_validator(mode="after")
    def _mounts_are_apart(self) -> Self:
        names = [mount.name for mount in self.mounts]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two mounts have the name {twice}; give each its own name")
        if sum(mount.path == "/" for mount in self.mounts) > 1:
            raise ValueError("two mounts have the path /; only one may be the root")
        return self


class SnapshotStatus(Model):
    """The listing that most agents follow."""

    id: str
    files: int
    bytes: int
    taken_at: str


class CachedStatus(Model):
    """Bytes that the Dataset's domains keep, and the share of what they could keep."""

    bytes: int
    percent: int


class DatasetDomain(Model):
    """One distributed domain, or all LocalOnly nodes of one network class."""

    name: str
    network_class: str
    mode: str
    reason: str
    nodes: int
    cached_bytes: int
    cached_percent: int
    origin_bytes: int
    peer_bytes: int


class DatasetStatus(Model):
    """What became of it.

    ``hit_ratio`` is that of the caches which domains share: of the bytes that members of domains
    lacked and fetched, the share that another member had. Reads of what is on the node itself take
    no agent and are not counted; LocalOnly nodes share nothing and do not count.
    ``line_bytes_saved`` are the bytes that nodes of dedicated pools had from each other instead of
    over their line.
    """

    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()
    snapshot: SnapshotStatus | None = None
    cached: CachedStatus | None = None
    hit_ratio: str | None = None
    origin_bytes: int = 0
    line_bytes_saved: int = 0
    domains: tuple[DatasetDomain, ...] = ()


class Dataset(KubeObject):
    """A set of files at an origin, to be read through the cache."""

    spec: DatasetSpec
    status: DatasetStatus = Field(default_factory=DatasetStatus)
