"""Sixty-four readers on four nodes want the same cold files at the same moment.

The domain is to ask the origin for each chunk once, and the herd is to wait hardly longer than one
reader does. NICs are shaped, so that both are bound by the network and not by this machine's cores.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator

from tests.perf.bench.cluster import Cluster, read_at, shaped_cluster
from tests.perf.bench.netlab import NoNetlabError
from tests.perf.bench.row import Case, Context, Gap, Single
from tests.support.lab import MIB

NAME = "herd"
WORK = "64 readers on 4 nodes read the same cold files at once"

NODES = 4
READERS = 64
BARS = {
    ("time ÷ one reader's", ""): (1.3, 1.1),
    ("origin's requests ÷ chunks", ""): (1.0, None),
    ("origin's requests ÷ small objects", ""): (1.0, None),
}
LARGE = 7 * MIB
"""Two chunks, the second one shorter."""
SMALL = 100 << 10
SMALL_FILES = 120
"""Packed in the store; at the origin each is asked for by itself."""


class _Herd:
    """Turns: one reader over a cold set of files, then all readers over another one."""

    def __init__(self, cluster: Cluster, large: int) -> None:
        self._cluster = cluster
        self._large = large
        self._sets = itertools.count()
        self._excess: list[float] = []
        self._took: list[float] = []

    def _paths(self) -> list[str]:
        number = next(self._sets)
        return paths(number, self._large)

    def turn(self) -> float:
        """Return the herd's seconds over one reader's."""
        agents = self._cluster.agents.running
        alone = read_at([(agents[0], self._paths())])
        before, _ = self._cluster.origin_sent()
        same = self._paths()
        herd = read_at([(agents[number % NODES], same) for number in range(READERS)])
        asked = self._cluster.origin_sent()[0] - before
        self._excess.append(asked / (2 * self._large))
        self._took.append(herd.seconds)
        return herd.seconds / alone.seconds

    def requests(self) -> float:
        """Return the origin's requests over chunks, of the worst turn."""
        return max(self._excess)

    def small(self) -> float:
        """Let the herd read small objects; return the origin's requests over objects."""
        agents = self._cluster.agents.running
        before, _ = self._cluster.origin_sent()
        read_at([(agents[number % NODES], SMALL_PATHS) for number in range(READERS)])
        return (self._cluster.origin_sent()[0] - before) / SMALL_FILES

    def seconds(self) -> float:
        """Return how long the herd took."""
        return statistics.median(self._took)


SMALL_PATHS = [f"small/{one:03}" for one in range(SMALL_FILES)]


def paths(number: int, large: int) -> list[str]:
    """Return the paths of one set of files."""
    return [f"{number}/{one}" for one in range(large)]


def run(context: Context) -> Iterator[Case]:
    """Yield the herd's time and what it asked of the origin."""
    large, turns = context.sized(9, 4), context.sized(3, 1)
    files = {path: LARGE for number in range(2 * turns) for path in paths(number, large)}
    files |= dict.fromkeys(SMALL_PATHS, SMALL)
    try:
        with shaped_cluster(context, files, nodes=NODES, quota=sum(files.values())) as cluster:
            herd = _Herd(cluster, large)
            yield Single(
                case := "time ÷ one reader's",
                "x",
                herd.turn,
                *BARS[case, ""],
                times=turns,
                about="each time on files that nobody has read; NICs of 200 Mbit/s",
            )
            yield Single(
                case := "origin's requests ÷ chunks",
                "x",
                herd.requests,
                *BARS[case, ""],
                about="GETs of the worst turn over the chunks of the files",
            )
            case = "origin's requests ÷ small objects"
            yield Single(case, "x", herd.small, *BARS[case, ""])
            yield Single("seconds of the herd", "s", herd.seconds)
    except NoNetlabError as error:
        yield Gap(NAME, "", str(error))
