"""Sixteen nodes with slow NICs want one cold object at the same moment.

One uplink that served all fifteen others would need 15 times S ÷ B. What is measured is how near
the nodes, which pass on what they receive, come to S ÷ B: the time in which one NIC takes the
object in. B is the NIC's nominal rate, of which TCP's payload gets 0.95.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.perf.bench.cluster import NIC, Cluster, read_at, shaped_cluster
from tests.perf.bench.netlab import NoNetlabError
from tests.perf.bench.row import Case, Context, Gap, Single
from tests.support.lab import MIB

NAME = "swarm"
WORK = "16 nodes with NICs of 200 Mbit/s read one cold object at once"

NODES = 16
DEGREE = 6
BARS = {
    ("small: time ÷ (S ÷ B)", ""): (4.0, 2.0),
    ("small: busiest uplink ÷ S", ""): (DEGREE, None),
    ("small: origin's bytes ÷ S", ""): (1.0, None),
    ("large: time ÷ (S ÷ B)", ""): (1.5, 1.15),
    ("large: busiest uplink ÷ S", ""): (DEGREE, None),
    ("large: origin's bytes ÷ S", ""): (1.0, None),
}


@dataclass
class _Last:
    """What the last turn gave, beside its time."""

    uplink: float = 0.0
    origin: float = 0.0


class _Swarm:
    """Turns over objects of one size, each read once by everybody."""

    def __init__(self, cluster: Cluster, paths: list[str], size: int) -> None:
        self._cluster = cluster
        self._left = list(paths)
        self.size = size
        self.last = _Last()

    def turn(self) -> float:
        """Read the next object on all nodes; return the seconds over S ÷ B."""
        path, cluster = self._left.pop(), self._cluster
        _, bytes_before = cluster.origin_sent()
        before = [host.traffic() for host in cluster.net.hosts]
        read = read_at([(agent, [path]) for agent in cluster.agents])
        after = [host.traffic() for host in cluster.net.hosts]
        if read.bytes != NODES * self.size:
            raise ValueError(f"{read.bytes} bytes were read of {NODES} x {self.size}")
        sent = [late.since(early).sent for early, late in zip(before, after, strict=True)]
        # Many owners share a large object; the busiest uplink of all is held to one owner's bar.
        self.last.uplink = max(sent) / self.size
        self.last.origin = (cluster.origin_sent()[1] - bytes_before) / self.size
        return read.seconds / (self.size / NIC)


def run(context: Context) -> Iterator[Case]:
    """Yield time, uplink and origin's bytes for a small and a large object."""
    large = context.sized(256, 32) * MIB
    small = [f"small/{number}" for number in range(6)]
    files = dict.fromkeys(small, 4 * MIB) | {"large/checked": 4 * MIB, "large/0": large}
    try:
        with shaped_cluster(context, files, nodes=NODES, quota=large + 64 * MIB) as cluster:
            read_at([(agent, ["large/checked"]) for agent in cluster.agents], cluster.folder)
            yield from _cases("small", _Swarm(cluster, small, 4 * MIB), times=5)
            yield from _cases("large", _Swarm(cluster, ["large/0"], large), times=1)
    except NoNetlabError as error:
        yield Gap(NAME, "", str(error))


def _cases(kind: str, swarm: _Swarm, *, times: int) -> Iterator[Case]:
    figures = {
        "time ÷ (S ÷ B)": (
            swarm.turn,
            times,
            f"until the last of {NODES} readers has all of {swarm.size // MIB} MiB",
        ),
        "busiest uplink ÷ S": (
            lambda: swarm.last.uplink,
            1,
            "bytes that left the busiest NIC, headers included, in the last turn",
        ),
        "origin's bytes ÷ S": (
            lambda: swarm.last.origin,
            1,
            "bytes of the object that the origin sent, in the last turn",
        ),
    }
    for figure, (measure, turns, about) in figures.items():
        case = f"{kind}: {figure}"
        yield Single(case, "x", measure, *BARS[case, ""], times=turns, about=about)
