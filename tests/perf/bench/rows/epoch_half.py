"""Shuffled epochs over twice as much data as the domain can hold.

Four nodes read each file once an epoch, as a distributed sampler deals them out: anew for every
epoch. Whatever policy there is, no more than what is kept can hit: half of the bytes come from the
origin in every epoch at best.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator
from pathlib import Path

from tests.perf.bench.agents import Agents, Seat, running_agents
from tests.perf.bench.cluster import make_objects, read_at
from tests.perf.bench.row import Case, Context, Single
from tests.support.lab import MIB
from tests.support.origin import OriginProcess, running_origin

NAME = "epoch-half"
WORK = "shuffled epochs on four nodes, the cache of the domain holding 50 % of the data"

NODES = 4
FILES = 512
FILE = MIB
BARS = {
    ("hit ratio less the optimum", ""): (-0.02, None),
    ("origin's bytes an epoch ÷ the optimum", ""): (1.02, None),
}


class _Epochs:
    """Reads epochs; notes the origin's bytes of each."""

    def __init__(self, agents: Agents, origin: OriginProcess) -> None:
        self._agents = agents
        self._origin = origin
        self._number = 0
        self.shares: list[float] = []
        """Of each measured epoch, the part of the data that the origin sent."""

    def _sent(self) -> int:
        return sum(client["bytes"] for client in self._origin.sent().values())

    def read(self) -> float:
        """Read one epoch; return the part of the data that the origin sent."""
        paths = [f"{number:04}" for number in range(FILES)]
        random.Random(self._number).shuffle(paths)
        self._number += 1
        before = self._sent()
        read_at([(agent, paths[at::NODES]) for at, agent in enumerate(self._agents)])
        return (self._sent() - before) / (FILES * FILE)

    def measure(self) -> float:
        """Read one epoch; return its hit ratio."""
        self.shares.append(self.read())
        return 1 - self.shares[-1]


def run(context: Context) -> Iterator[Case]:
    """Yield hit ratio and origin's bytes an epoch, once the caches are full."""
    folder = Path(context.memory) / "origin"
    make_objects(folder, {f"{number:04}": FILE for number in range(FILES)})
    with (
        running_origin(folder, "--manifest") as origin,
        running_agents(
            Path(context.folder) / "lab",
            f"{origin.url}/",
            seats=[Seat() for _ in range(NODES)],
            tier=Path(context.memory) / "tiers",
            medium="Memory",
            quota=FILES * FILE // 2 // NODES,
            dataset={"pack_below": 0},
        ) as agents,
    ):
        epochs = _Epochs(agents, origin)
        epochs.read()
        yield Single(
            case := "hit ratio less the optimum",
            "",
            lambda: epochs.measure() - 0.5,
            *BARS[case, ""],
            best="high",
            times=context.sized(3, 1),
            about="bytes not had from the origin over bytes read; the optimum is 0.5",
        )
        yield Single(
            case := "origin's bytes an epoch ÷ the optimum",
            "x",
            lambda: statistics.median(epochs.shares) / 0.5,
            *BARS[case, ""],
            about="the optimum is half of the data: what does not fit",
        )
