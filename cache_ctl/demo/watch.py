"""From what agents, readers and the controller say to figures and to frames of the live table."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from cache_ctl.api.kinds import CACHE_WORKER
from cache_ctl.demo.figures import Fetched, NodeFigures, Placing, PoolFigures, pools_of
from cache_ctl.demo.screen import LiveRow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cache_ctl.demo.processes import Reader
    from cache_ctl.local.world import LocalWorld
    from runtime.contract.report import NodeReport

RATE_SECONDS = 1.0
"""A rate is taken over about this long, so that it neither jumps nor lags."""


def placings(world: LocalWorld) -> dict[str, Placing]:
    """Return where the controller put each node, in the order of their names."""
    specs: list[dict[str, Any]] = [body["spec"] for body in world.objects.list(CACHE_WORKER)]
    return {
        spec["node"]: Placing(
            node=spec["node"],
            address=spec["address"],
            network_class=spec["networkClass"],
            mode=spec["mode"],
            domain=spec.get("domain"),
            reason=spec["reason"],
        )
        for spec in sorted(specs, key=lambda spec: str(spec["node"]))
    }


def fetched_by(report: NodeReport) -> Fetched:
    """Return what an agent has fetched for all its Datasets."""
    return Fetched(
        peer=sum(dataset.peer_bytes for dataset in report.datasets),
        origin=sum(dataset.origin_bytes for dataset in report.datasets),
    )


def node_figures(
    placed: Mapping[str, Placing],
    reports: Mapping[str, NodeReport],
    readers: Sequence[Reader] = (),
    before: Mapping[str, Fetched] | None = None,
    sent: Mapping[str, int] | None = None,
) -> tuple[NodeFigures, ...]:
    """Put together what each party says of each node that reports."""
    tallies = {reader.node: reader.tallies for reader in readers}
    return tuple(
        NodeFigures(
            placing=placing,
            tallies=tallies.get(node, ()),
            fetched=fetched_by(reports[node]),
            before=(before or {}).get(node, Fetched()),
            sent=(sent or {}).get(placing.address, 0),
            connections=reports[node].connections,
        )
        for node, placing in placed.items()
        if node in reports
    )


class Rates:
    """Bytes per second of each pool, over the last second or so."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, ...], deque[tuple[float, int]]] = {}

    def rate(self, pool: PoolFigures, done: int, now: float) -> float:
        """Take a pool's count at ``now`` (monotonic seconds) and return its present rate."""
        seen = self._seen.setdefault(pool.nodes, deque())
        seen.append((now, done))
        while len(seen) > 2 and now - seen[1][0] >= RATE_SECONDS:
            seen.popleft()
        (then, had), (_, has) = seen[0], seen[-1]
        return max(0.0, (has - had) / (now - then)) if now > then else 0.0


def frame(
    nodes: Sequence[NodeFigures],
    progress: Callable[[PoolFigures], tuple[int, int]],
    rates: Rates,
) -> list[LiveRow]:
    """Return the live table's rows; ``progress`` gives bytes done and to do of a pool."""
    now = time.monotonic()
    rows = []
    for pool in pools_of(nodes):
        done, total = progress(pool)
        rows.append(LiveRow(pool, done, total, rates.rate(pool, done, now)))
    return rows
