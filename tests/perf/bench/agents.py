"""Real agents for the rows: as many as wanted, where wanted, over a given origin.

``running_agents`` writes plan, keys and settings, starts ``python -m runtime`` once a seat and
waits until each follows its snapshot. The lab of the tests does the work; see
``tests/support/lab.py`` for what else ``Agents.lab`` can be asked and told.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runtime.contract.plan import DatasetPlan, Medium, MountPlan, TierPlan
from runtime.contract.report import NodeReport
from tests.perf.bench.process import Usage, usage
from tests.support.lab import Lab, Node, prewarm

DATASET = "team/images"
DOMAIN = "cloud"
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Seat:
    """Where one agent runs.

    Attributes:
        address: the node's address; a loopback one of its own without.
        prefix: put before the agent's command, such as ``("ip", "netns", "exec", "n1")``.
        environment: variables beside those of this process.
        cpus: the cores it may use; all without.
    """

    address: str = ""
    prefix: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    cpus: tuple[int, ...] = ()


class RunningAgent:
    """One agent that runs."""

    def __init__(self, lab: Lab, node: Node) -> None:
        self._lab = lab
        self.node = node
        self.socket = node.socket
        self.address = node.address
        self.port = node.port
        self.token = lab.token(DATASET)

    @property
    def pid(self) -> int:
        assert self.node.process is not None
        return self.node.process.pid

    @property
    def options(self) -> dict[str, Any]:
        """What the client's file system needs to read through this agent."""
        return {"socket": self.socket, "token": self.token}

    @property
    def url(self) -> str:
        """Where the Dataset is over HTTP, with the token as a bearer; only with a domain."""
        return f"http://{self.address}:{self.port}/{DATASET}"

    def report(self) -> NodeReport:
        return self._lab.report(self.node)

    def metrics(self) -> str:
        """Return the Prometheus text."""
        status, _, body = self._lab.ask(self.node, "GET", "/metrics")
        assert status == 200, body
        return body.decode()

    def usage(self) -> Usage:
        return usage([self.pid])

    def held(self) -> int:
        """Return how many bytes its tiers use."""
        return sum(tier.used for tier in self.report().tiers)


class Agents:
    """The agents of a row, in the order of their seats."""

    def __init__(self, lab: Lab, domain: str | None, plan: dict[str, Any]) -> None:
        self.lab = lab
        self.running = [RunningAgent(lab, node) for node in lab.nodes.values()]
        self._domain = domain
        self._plan = plan

    def __iter__(self) -> Iterator[RunningAgent]:
        return iter(self.running)

    def __getitem__(self, index: int) -> RunningAgent:
        return self.running[index]

    @property
    def pids(self) -> list[int]:
        return [agent.pid for agent in self.running]

    def follow(self, **changes: Any) -> None:
        """Give them their next plan, with other fields of ``Plan``."""
        self._plan |= changes
        self.lab.plan(self._domain, **self._plan)

    def warm(self, *paths: str, copies: int = 1, timeout: float = 600) -> None:
        """Prewarm the paths (none: all) and wait until every agent has its share."""
        uid = f"pw-{self.lab.generation}"
        wanted = replace(prewarm(DATASET), uid=uid, paths=paths, copies=copies)
        self.follow(prewarms=(wanted,))

        def is_warm() -> bool:
            found = [
                report.state
                for agent in self.running
                for report in agent.report().prewarms
                if report.uid == uid
            ]
            assert "Failed" not in found, [agent.report().prewarms for agent in self.running]
            return found.count("Complete") == len(self.running)

        self.lab.until(is_warm, timeout, "the prewarm")

    def stop(self, agent: RunningAgent) -> None:
        """End one agent as a node's shutdown does."""
        assert agent.node.process is not None
        agent.node.process.terminate()
        agent.node.process.wait()

    def start(self, agent: RunningAgent) -> None:
        """Start one that was stopped, and wait for nothing."""
        self.lab.start(agent.node, trust=False)

    def restart(self, *agents: RunningAgent) -> None:
        """Stop and start agents; what their tiers hold stays."""
        for agent in agents or self.running:
            self.stop(agent)
            self.start(agent)
        self.lab.until_ready(*(agent.node for agent in agents or self.running), timeout=60)


@contextlib.contextmanager
def running_agents(
    folder: str | Path,
    source: str,
    *,
    seats: Sequence[Seat] = (Seat(),),
    domain: str | None = DOMAIN,
    tier: str | Path | None = None,
    medium: Medium = "SSD",
    quota: int = 64 * GIB,
    mount: Mapping[str, str] | None = None,
    timeout: float = 120,
    dataset: Mapping[str, Any] | None = None,
    plan: Mapping[str, Any] | None = None,
    prepare: Callable[[Node, Path], None] | None = None,
) -> Iterator[Agents]:
    """Run agents over the origin at ``source`` for the time of the block.

    Args:
        folder: for their state, sockets and logs; must not exist or be empty. A socket's path
            may have 107 characters, so keep it short.
        source: the origin's URL, with ``manifest.jsonl`` below it unless ``mount`` says otherwise.
        seats: where each of them runs.
        domain: the domain they share, which also opens the port of a single one; None makes
            LocalOnly agents, which have a Unix socket only.
        tier: the folder of their tiers, on the medium to be measured; below ``folder`` without.
            Each agent uses a folder of its own in it.
        medium: what to call it. Memory is not synced.
        quota: bytes an agent may keep.
        mount: options of the origin's file system; by default those of a manifest.
        timeout: seconds until all must follow their snapshot.
        dataset: other fields of ``DatasetPlan``, such as ``cache_policy``.
        plan: other fields of ``Plan``, such as ``degree`` or ``line_bytes_per_second``.
        prepare: called with each node and the folder of its tier before anything starts.
    """
    lab = Lab(Path(folder))
    try:
        for number, seat in enumerate(seats):
            node = lab.add(f"n{number}", domain=domain, address=seat.address)
            node.prefix, node.environment = seat.prefix, dict(seat.environment)
        options = {"manifest": "manifest.jsonl"} if mount is None else dict(mount)
        namespace, name = DATASET.split("/")
        one = DatasetPlan(namespace, name, "ds-1", (MountPlan("", source, options=options),))
        kept = TierPlan(medium, str(tier or lab.folder / "tiers"), quota)
        fields = {"tiers": (kept,), "datasets": (replace(one, **(dataset or {})),)}
        agents = Agents(lab, domain, fields | dict(plan or {}))
        agents.follow()
        for node in lab.nodes.values():
            if prepare is not None:
                prepare(node, Path(kept.path) / node.name)
        lab.start(trust=False)
        for seat, agent in zip(seats, agents, strict=True):
            if seat.cpus:
                os.sched_setaffinity(agent.pid, seat.cpus)
        lab.until_ready(timeout=timeout)
        yield agents
    finally:
        lab.stop()
