"""Readers on more and more nodes of one domain, which holds the data between its members.

The domain has eight nodes throughout and each holds about an eighth of the files, warm. Readers on
one, two, four and eight of the nodes read all files there, in an order of the node's own; seven
eighths come from the other members. A node has four readers that share its files between them, as
a loader's workers do: with a single file in flight on each node, readers queue for one member's NIC
while others are idle, and the row would measure that. With n nodes reading the sum of their rates
is to be n times that of one. Every measurement has files of its own, as a node that has read one
keeps a copy.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.perf.bench.cluster import Cluster, read_at, shaped_cluster
from tests.perf.bench.netlab import NoNetlabError
from tests.perf.bench.row import Case, Context, Gap, Single
from tests.support.lab import MIB

NAME = "scale-out"
WORK = "readers on 1, 2, 4 and 8 nodes with NICs of 200 Mbit/s each read all of a warm domain"

NODES = 8
STEPS = (1, 2, 4, 8)
BARS = {(f"{step} nodes: sum of rates ÷ {step} x one's", ""): (0.85, 0.95) for step in STEPS[1:]}
FILE = 4 * MIB
WORKERS = 4


class _Scale:
    """Turns: each of the steps once, over files of its own."""

    def __init__(self, cluster: Cluster, files: int) -> None:
        self._cluster = cluster
        self._files = files
        self._turn = 0
        self.rates: dict[int, list[float]] = {step: [] for step in STEPS}

    def measure(self, step: int) -> float:
        """Let readers on ``step`` nodes read; return the sum of rates over ``step`` times one's."""
        if step == STEPS[1]:
            self._rate(STEPS[0])
        self._rate(step)
        ones = sum(self.rates[1]) / len(self.rates[1])
        return self.rates[step][-1] / (step * ones)

    def _rate(self, step: int) -> None:
        turn = len(self.rates[step])
        readers = []
        for number in range(step):
            own = paths(turn, step, self._files)
            random.Random(number).shuffle(own)
            agent = self._cluster.agents[number]
            readers += [(agent, own[worker::WORKERS]) for worker in range(WORKERS)]
        read = read_at(readers)
        self.rates[step].append(read.bytes / read.seconds)


def paths(turn: int, step: int, files: int) -> list[str]:
    """Return the paths of the files for one measurement."""
    return [f"{turn}/{step}/{number:03}" for number in range(files)]


def run(context: Context) -> Iterator[Case]:
    """Yield one case for each number of nodes."""
    count, turns = context.sized(64, 12), context.sized(2, 1)
    files = {
        path: FILE for turn in range(turns) for step in STEPS for path in paths(turn, step, count)
    }
    # Room for the own share, and for what the node reads beside it in one measurement or more.
    quota = sum(files.values()) // NODES * 2 + 2 * count * FILE
    try:
        with shaped_cluster(context, files, nodes=NODES, quota=quota) as cluster:
            cluster.agents.warm()
            sent_before, _ = cluster.origin_sent()
            scale = _Scale(cluster, count)
            for step, (case, _) in zip(STEPS[1:], BARS, strict=True):
                yield Single(
                    case,
                    "x",
                    lambda step=step: scale.measure(step),
                    *BARS[case, ""],
                    best="high",
                    times=turns,
                )
            yield Single("one node's rate", "B/s", lambda: sum(scale.rates[1]) / turns)
            yield Single(
                "origin's requests while warm",
                "",
                lambda: cluster.origin_sent()[0] - sent_before,
                bar=0,
            )
    except NoNetlabError as error:
        yield Gap(NAME, "", str(error))
