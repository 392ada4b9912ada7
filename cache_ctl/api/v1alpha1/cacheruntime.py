"""CacheRuntime: one set of agents that serves many Datasets; the operator's object."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from cache_ctl.api.meta import (
    Bytes,
    Chunk,
    Condition,
    KubeObject,
    LabelSelector,
    Model,
    Rate,
)
from runtime.contract.protocol import DEFAULT_PORT


class Toleration(Model):
    """A Kubernetes toleration."""

    key: str = ""
    operator: Literal["Exists", "Equal"] = "Equal"
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""


class RuntimeNodes(Model):
    """Which nodes get an agent; an absent selector means all."""

    selector: LabelSelector = Field(default_factory=LabelSelector)
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=32)] = ()


class Tier(Model):
    """One medium of the store, fastest first; watermarks in percent of the quota."""

    medium: Literal["Memory", "SSD", "HDD"]
    path: Annotated[str, Field(pattern=r"^/", max_length=1024)]
    quota: Bytes
    high: Annotated[int, Field(ge=1, le=100)] = 95
    low: Annotated[int, Field(ge=0, le=99)] = 90

    @model_validator(mode="after")
    def _room_between_watermarks(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low is {self.low} and high is {self.high}; low must be below high")
        if not self.quota.strip("0.kMGTPi"):
            raise ValueError(f"quota is {self.quota}; a tier needs room for at least one chunk")
        return self


class Topology(Model):
    """How agents of one domain are connected. Without a degree, the domain's size decides.

    ``dedicated_peering`` stands for whether dedicated pools may ask cloud nodes: not yet.
    """

    degree: Annotated[int, Field(ge=2, le=32, multiple_of=2)] | None = None
    dedicated_peering: Literal["None"] = "None"
    allow_connected_islands: bool = False

    @field_validator("dedicated_peering", mode="before")
    @classmethod
    def _peering_is_offered(cls, value: object) -> object:
        if value == "Cloud":
            raise ValueError("Cloud is not offered yet; use None")
        return value


class Bandwidth(Model):
    """Budgets towards the origin: of each domain's line, and of every Basic node."""

    per_domain_line: Rate | None = None
    per_basic_node: Rate | None = None


class AllowedNamespaces(Model):
    """Whose Datasets may use this runtime."""

    origin: Annotated[Literal["Same", "All", "Selector"], Field(alias="from")] = "Same"
    selector: LabelSelector | None = None

    @model_validator(mode="after")
    def _selector_where_asked(self) -> Self:
        if (self.origin == "Selector") != (self.selector is not None):
            raise ValueError("from: Selector needs a selector, and only it may have one")
        return self


class CacheRuntimeSpec(Model):
    """The wish of an operator. ``replicas`` counts agents in role cache; absent: all."""

    nodes: RuntimeNodes = Field(default_factory=RuntimeNodes)
    replicas: Annotated[int, Field(ge=0, le=100_000)] | None = None
    tiers: Annotated[tuple[Tier, ...], Field(min_length=1, max_length=4)]
    chunk_size: Chunk = "4Mi"
    pack_below: Bytes = "1Mi"
    topology: Topology = Field(default_factory=Topology)
    bandwidth: Bandwidth = Field(default_factory=Bandwidth)
    allowed_namespaces: AllowedNamespaces = Field(default_factory=AllowedNamespaces)
    port: Annotated[int, Field(ge=1024, le=65535)] = DEFAULT_PORT

    @model_validator(mode="after")
    def _tiers_are_apart(self) -> Self:
        paths = [tier.path.rstrip("/") for tier in self.tiers]
        twice = next((path for path in paths if paths.count(path) > 1), None)
        if twice is not None:
            raise ValueError(f"two tiers have the path {twice}; give each its own folder")
        return self


class RuntimeDomain(Model):
    """One distributed domain, or all LocalOnly nodes of one network class."""

    name: str
    network_class: str
    mode: str
    nodes: int
    plan: str
    generation: int


class CacheRuntimeStatus(Model):
    """What became of it. ``replicas`` and ``selector`` are what /scale reads."""

    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()
    replicas: int = 0
    selector: str = ""
    plan_generation: int = 0
    domains: tuple[RuntimeDomain, ...] = ()
    unclassified_nodes: int = 0


class CacheRuntime(KubeObject):
    """The agents of a set of nodes, their tiers and how they are connected."""

    spec: CacheRuntimeSpec
    status: CacheRuntimeStatus = Field(default_factory=CacheRuntimeStatus)
