"""A domain of agents on hosts of their own, with an origin, and readers at any of them."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cache_ctl.domain.topology import DomainMember, degree_for, rings_of
from runtime.client.filesystem import CacheFileSystem
from tests.perf.bench.agents import DATASET, Agents, RunningAgent, Seat, running_agents
from tests.perf.bench.netlab import MBIT, Host, Network, copy_rate, network
from tests.perf.bench.row import Context
from tests.support.lab import MIB
from tests.support.origin import OriginProcess, running_origin

NIC = 200 * MBIT
PIECE = 4 * MIB
"""Bytes that a reader takes at once."""


@dataclass(frozen=True, slots=True)
class Read:
    """What some readers did at once: bytes in all, seconds until the last one was done."""

    seconds: float
    bytes: int


class Cluster:
    """The agents, the hosts that they run on, and the origin."""

    def __init__(self, net: Network, agents: Agents, origin: OriginProcess, folder: Path) -> None:
        self.net = net
        self.agents = agents
        self.folder = folder
        self._origin = origin

    def origin_sent(self) -> tuple[int, int]:
        """Return how many answers with bytes of files the origin gave, and those bytes."""
        with self.net.origin.entered():
            clients = self._origin.sent().values()
        return sum(one["requests"] for one in clients), sum(one["bytes"] for one in clients)

    def host_of(self, agent: RunningAgent) -> Host:
        """Return the host that an agent runs on."""
        return next(host for host in self.net.hosts if host.address == agent.address)

    def counted(self, name: str) -> list[int]:
        """Return a counter of every agent."""
        return [agent.report().counters[name] for agent in self.agents]


def rings(members: int) -> tuple[tuple[int, ...], ...]:
    """Return the graph that the controller gives the first agents of a lab."""
    made = [DomainMember(f"n{i}", f"uid-n{i}", "", "") for i in range(members)]
    return rings_of(made, degree_for(members, None))


@contextlib.contextmanager
def shaped_cluster(
    context: Context,
    files: Mapping[str, int],
    *,
    nodes: int,
    quota: int,
    rate: int = NIC,
    dataset: Mapping[str, Any] | None = None,
) -> Iterator[Cluster]:
    """Run ``nodes`` agents of one domain, each behind a NIC of ``rate``, over an origin.

    The origin's own NIC is not shaped, and holds random bytes in ``files`` (sizes by path). Tiers
    are in memory, so that no disk is measured.

    Raises:
        NoNetlabError: hosts cannot be had here.
    """
    folder = Path(context.memory) / "origin"
    make_objects(folder, files)
    with contextlib.ExitStack() as stack:
        net = stack.enter_context(network(nodes, rate=rate))
        got = copy_rate(net.hosts[0], net.hosts[-1], rate) / MBIT if nodes > 1 else 0
        context.versions["shape"] = f"{got:.0f} of {rate / MBIT:.0f} Mbit/s by one TCP copy"
        origin = stack.enter_context(
            running_origin(folder, "--manifest", host=net.origin.address, prefix=net.origin.prefix)
        )
        agents = stack.enter_context(
            running_agents(
                Path(context.folder) / "lab",
                f"{origin.url}/",
                seats=[Seat(host.address, host.prefix) for host in net.hosts],
                tier=Path(context.memory) / "tiers",
                medium="Memory",
                quota=quota,
                dataset=dataset,
                plan={"rings": rings(nodes)},
            )
        )
        yield Cluster(net, agents, origin, folder)


def make_objects(folder: Path, sizes: Mapping[str, int], seed: int = 1) -> None:
    """Write random bytes of given sizes below ``folder``, which an origin serves."""
    source = random.Random(seed)
    block = source.randbytes(PIECE)
    for path, size in sizes.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            # Different everywhere, and quick to make: one block, marked with its place.
            for at in range(0, size, len(block)):
                mark = source.randbytes(16)
                file.write((mark + block[16:])[: size - at])


def read_at(
    readers: Sequence[tuple[RunningAgent, Sequence[str]]], check: Path | None = None
) -> Read:
    """Let each reader read its paths at its agent, all at once, through the fsspec client.

    With ``check``, the folder of the true files, every byte is compared; that is not for timing.
    """
    gate = threading.Barrier(len(readers) + 1)
    ends: list[float] = [0.0] * len(readers)
    counts = [0] * len(readers)
    failures: list[BaseException] = []

    def read(number: int, agent: RunningAgent, paths: Sequence[str]) -> None:
        try:
            filesystem = CacheFileSystem(**agent.options, skip_instance_cache=True)
            filesystem.info(f"{DATASET}/{paths[0]}")  # the catalog is here before the start
            buffer = memoryview(bytearray(PIECE))
            gate.wait(60)
            for path in paths:
                counts[number] += _read_one(filesystem, path, buffer, check)
            ends[number] = time.perf_counter()
        except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
            failures.append(error)
            gate.abort()

    threads = [
        threading.Thread(target=read, args=(number, agent, paths))
        for number, (agent, paths) in enumerate(readers)
    ]
    for thread in threads:
        thread.start()
    with contextlib.suppress(threading.BrokenBarrierError):
        gate.wait(60)
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return Read(max(ends) - start, sum(counts))


def _read_one(
    filesystem: CacheFileSystem, path: str, buffer: memoryview, check: Path | None
) -> int:
    total = 0
    with filesystem.open(f"{DATASET}/{path}") as file:
        while got := file.readinto(buffer):
            if check is not None:
                with (check / path).open("rb") as true:
                    true.seek(total)
                    if true.read(got) != buffer[:got]:
                        raise ValueError(f"wrong bytes in {path} at {total}")
            total += got
    return total
