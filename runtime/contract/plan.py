"""The plan: the versioned document that a domain's agents follow.

There is one plan per distributed domain, and one per network class for its LocalOnly nodes: those
have no members and know no peers. Generations only grow; an agent ignores an older one.
No plan carries a secret: a mount names the secret, whose keys reach the agent as files.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from runtime.contract.units import DEFAULT_CHUNK, DEFAULT_PACK_BELOW

NetworkClass = Literal["Cloud", "Dedicated", "Basic"]
Mode = Literal["Distributed", "LocalOnly"]
Role = Literal["cache", "client"]
CachePolicy = Literal["Epoch", "Serving"]
Medium = Literal["Memory", "SSD", "HDD"]


@dataclass(frozen=True, slots=True)
class Member:
    """An agent of the domain. ``weight`` is its share of ownership, 0 for clients."""

    uid: str
    name: str
    address: str
    port: int
    zone: str = ""
    weight: float = 1.0
    role: Role = "cache"


@dataclass(frozen=True, slots=True)
class TierPlan:
    """One tier of every agent, fastest first in the plan. Bytes; watermarks in percent."""

    medium: Medium
    path: str
    quota: int
    high: int = 95
    low: int = 90


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The origin's endpoint per network class; empty means ``options.endpoint``."""

    cloud: str = ""
    dedicated: str = ""
    basic: str = ""

    def for_class(self, network_class: NetworkClass) -> str:
        """Return the endpoint that nodes of this class use, or an empty string."""
        match network_class:
            case "Cloud":
                return self.cloud
            case "Dedicated":
                return self.dedicated
            case "Basic":
                return self.basic


@dataclass(frozen=True, slots=True)
class MountPlan:
    """A source of a Dataset, mounted at ``/name``; an empty name mounts at the root."""

    name: str
    source: str
    endpoints: Endpoints = field(default_factory=Endpoints)
    options: dict[str, str] = field(default_factory=dict)
    secret: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DatasetPlan:
    """What agents need to know of a Dataset.

    ``snapshot_request`` changes when a new snapshot is wanted although none is due; the refresh
    interval is in seconds, 0 for Pinned.
    """

    namespace: str
    name: str
    uid: str
    mounts: tuple[MountPlan, ...]
    snapshot_request: str = ""
    refresh_seconds: int = 0
    copies: int = 1
    cache_policy: CachePolicy = "Epoch"
    local_only: Literal["Cache", "Bypass", "Refuse"] = "Cache"
    chunk_size: int = DEFAULT_CHUNK
    pack_below: int = DEFAULT_PACK_BELOW

    @property
    def ref(self) -> str:
        """Return ``namespace/name``."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class PrewarmPlan:
    """A prewarm that this domain takes part in. Paths are prefixes in the Dataset; none: all.

    ``bytes_per_second`` is this domain's own limit for the prewarm, 0 for none but the line's.
    """

    namespace: str
    name: str
    uid: str
    dataset: str
    paths: tuple[str, ...] = ()
    copies: int = 1
    bytes_per_second: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """One generation of what a domain's agents do.

    ``rings`` are orderings of indexes into ``members``: neighbours in a ring are neighbours in the
    graph. No rings means the complete graph. ``line_bytes_per_second`` is the whole domain's
    budget towards the origin, for a LocalOnly plan each node's own; 0 is unlimited.
    """

    generation: int
    runtime: str
    network_class: NetworkClass
    mode: Mode
    domain: str | None = None
    members: tuple[Member, ...] = ()
    rings: tuple[tuple[int, ...], ...] = ()
    degree: int = 6
    tiers: tuple[TierPlan, ...] = ()
    datasets: tuple[DatasetPlan, ...] = ()
    prewarms: tuple[PrewarmPlan, ...] = ()
    line_bytes_per_second: int = 0
    version: int = 1

    def member(self, uid: str) -> Member | None:
        """Return the member with this uid, if it is one."""
        return next((member for member in self.members if member.uid == uid), None)

    def neighbours(self) -> dict[str, tuple[str, ...]]:
        """Return every member's neighbours in the graph, by uid, in a fixed order."""
        uids = [member.uid for member in self.members]
        if not self.rings:
            return {uid: tuple(other for other in uids if other != uid) for uid in uids}
        found: dict[str, dict[str, None]] = {uid: {} for uid in uids}
        for ring in self.rings:
            for left, right in zip(ring, ring[1:] + ring[:1], strict=True):
                if left != right:
                    found[uids[left]][uids[right]] = None
                    found[uids[right]][uids[left]] = None
        return {uid: tuple(near) for uid, near in found.items()}
