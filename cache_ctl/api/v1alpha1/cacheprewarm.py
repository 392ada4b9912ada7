"""CachePrewarm: a job that brings a Dataset's bytes to the nodes before anybody reads them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cache_ctl.api.meta import Condition, KubeObject, Model, ObjectReference, Rate


class PrewarmTarget(Model):
    """Which domains take part; an empty list is no limit."""

    network_classes: Annotated[
        tuple[Literal["Cloud", "Dedicated", "Basic"], ...], Field(max_length=3)
    ] = ()
    domains: Annotated[tuple[str, ...], Field(max_length=256)] = ()
    copies: Annotated[int, Field(ge=1, le=3)] = 1


class CachePrewarmSpec(Model):
    """The wish of a pipeline. ``paths`` are prefixes in the Dataset; none: all of it."""

    dataset_ref: ObjectReference
    paths: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=4096)], ...], Field(max_length=256)
    ] = ()
    target: PrewarmTarget = Field(default_factory=PrewarmTarget)
    include_local_only: bool = False
    bandwidth: Rate | None = None
    deadline_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = None
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] | None = None


class PrewarmDomain(Model):
    """One distributed domain's share, or that of all LocalOnly nodes of one network class."""

    name: str
    network_class: str
    nodes: int
    nodes_done: int
    bytes_done: int
    bytes_total: int
    files_done: int
    files_total: int
    failed_files: int


class CachePrewarmStatus(Model):
    """How far it is. Totals are sums over domains, as each has its own copy."""

    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()
    start_time: str | None = None
    completion_time: str | None = None
    bytes_done: int = 0
    bytes_total: int = 0
    files_done: int = 0
    files_total: int = 0
    failed_files: int = 0
    domains: tuple[PrewarmDomain, ...] = ()


class CachePrewarm(KubeObject):
    """A prewarm job."""

    spec: CachePrewarmSpec
    status: CachePrewarmStatus = Field(default_factory=CachePrewarmStatus)
