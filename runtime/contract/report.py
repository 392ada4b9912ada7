"""The report: what an agent says of itself, at ``/report`` and in its CacheWorker.

All counters count from the agent's start. Bytes unless said otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from runtime.contract.plan import Mode, NetworkClass


@dataclass(frozen=True, slots=True)
class TierReport:
    """One tier's room.

    ``disk`` is the size of the file system that it lies on, 0 where that cannot be told. Without
    a ``message`` the tier takes bytes up to its quota.
    """

    medium: str
    path: str
    quota: int
    used: int
    state: Literal["Normal", "Recovering", "Full", "Failed"] = "Normal"
    disk: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """One Dataset on this node.

    ``owned_bytes`` are those this agent keeps for its domain, ``spare_bytes`` the copies it keeps
    beside another owner's. ``origin_bytes`` and ``peer_bytes`` came over the network to this node.
    ``taken`` is wall-clock text for people. ``error`` says why its snapshots cannot be taken or
    followed now, ``origin_error`` why bytes could not be fetched from its origin of late; each has
    a reason out of ``runtime.contract.troubles``.
    """

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


@dataclass(frozen=True, slots=True)
class PrewarmReport:
    """This agent's share of a prewarm."""

    uid: str
    state: Literal["Pending", "Running", "Complete", "Failed"]
    bytes_done: int = 0
    bytes_total: int = 0
    files_done: int = 0
    files_total: int = 0
    failed_files: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class Connections:
    """Every connection to or from another node, by the other side's address.

    ``forbidden`` counts those that the plan does not allow: accepted from an address that is no
    member's, or dialled to one.
    """

    dialled: dict[str, int] = field(default_factory=dict)
    accepted: dict[str, int] = field(default_factory=dict)
    forbidden: int = 0


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What one agent is, holds and did.

    ``announced_units`` is how many units its neighbours are told of; ``members_down`` counts the
    members of its domain that do not answer it now. ``problem`` says what part of its plan it
    cannot follow, or is empty.
    """

    node: str
    uid: str
    network_class: NetworkClass
    mode: Mode
    domain: str | None
    ready: bool
    plan_generation: int
    pid: int
    address: str
    port: int | None
    socket: str
    tiers: tuple[TierReport, ...] = ()
    datasets: tuple[DatasetReport, ...] = ()
    prewarms: tuple[PrewarmReport, ...] = ()
    announced_units: int = 0
    members_down: int = 0
    problem: str = ""
    counters: dict[str, int] = field(default_factory=dict)
    connections: Connections = field(default_factory=Connections)
    version: int = 1
