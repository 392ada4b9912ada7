"""Skewed reads of ten times more objects than fit: how often the Serving policy has them.

All policies see the same trace, of independent draws by Zipf's law; the first part fills them and
is not counted. The product's own policy is then run once more inside a real agent.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.perf.bench.agents import DATASET, running_agents
from tests.perf.bench.caches import REFERENCES, Hit, serving
from tests.perf.bench.cluster import make_objects
from tests.perf.bench.row import Case, Context, Single
from tests.support.origin import running_origin

NAME = "zipf"
WORK = "Serving policy, Zipf 0.9, a cache of 10 %: hit ratios on one trace"

SKEW = 0.9
SHARE = 10
OBJECT = 64 << 10
BARS = {
    ("hit ratio less that of the best other", ""): (-0.01, 0.0),
    ("hit ratio in an agent less that of the policy alone", ""): (-0.01, 0.0),
}


def trace(objects: int, length: int, seed: int = 9) -> list[int]:
    """Return objects as drawn by Zipf's law; their numbers say nothing of how often they come."""
    source = random.Random(seed)
    names = list(range(objects))
    source.shuffle(names)
    weights = itertools.accumulate(1 / (rank + 1) ** SKEW for rank in range(objects))
    return source.choices(names, cum_weights=list(weights), k=length)


def hit_ratio(hit: Hit, wanted: Sequence[int]) -> float:
    """Return the share of hits in the second half of a trace."""
    half = len(wanted) // 2
    for key in wanted[:half]:
        hit(key)
    return sum(hit(key) for key in wanted[half:]) / (len(wanted) - half)


def run(context: Context) -> Iterator[Case]:
    """Yield the policy against each other one, and inside an agent."""
    objects = 10_000
    wanted = trace(objects, context.sized(400_000, 150_000))
    capacity = objects // SHARE
    found = {name: hit_ratio(make(capacity), wanted) for name, make in REFERENCES.items()}
    ours = hit_ratio(serving(capacity), wanted)
    best = max(found, key=lambda name: found[name])
    yield Single("hit ratio", "", lambda: ours, best="high")
    for name, ratio in found.items():
        yield Single(f"hit ratio of {name}", "", lambda ratio=ratio: ratio, best="high")
    yield Single(
        case := "hit ratio less that of the best other",
        "",
        lambda: ours - found[best],
        *BARS[case, ""],
        best="high",
        about=f"the best other is {best}",
    )
    yield from _in_an_agent(context)


def _in_an_agent(context: Context) -> Iterator[Case]:
    """Yield the difference to the policy alone, on a trace that an agent's readers follow."""
    objects = context.sized(2000, 400)
    wanted = trace(objects, 12 * objects)
    folder = Path(context.memory) / "origin"
    make_objects(folder, {f"{number:05}": OBJECT for number in range(objects)})
    quota = objects * OBJECT // SHARE
    with (
        running_origin(folder, "--manifest") as origin,
        running_agents(
            Path(context.folder) / "lab",
            f"{origin.url}/",
            domain=None,
            tier=Path(context.memory) / "tiers",
            medium="Memory",
            quota=quota,
            dataset={"cache_policy": "Serving", "pack_below": 0},
        ) as agents,
    ):
        agent = agents[0]
        half = len(wanted) // 2

        def asked() -> int:
            return sum(client["requests"] for client in origin.sent().values())

        def less_than_alone() -> float:
            for number in wanted[:half]:
                agents.lab.ask(agent.node, "GET", f"/{DATASET}/{number:05}", authorization=bearer)
            before = asked()
            for number in wanted[half:]:
                status, _, body = agents.lab.ask(
                    agent.node, "GET", f"/{DATASET}/{number:05}", authorization=bearer
                )
                assert (status, len(body)) == (200, OBJECT)
            missed = (asked() - before) / (len(wanted) - half)
            (dataset,) = agent.report().datasets
            kept = (dataset.owned_bytes + dataset.spare_bytes) // OBJECT
            return 1 - missed - hit_ratio(serving(kept), wanted)

        bearer = f"Bearer {agent.token}"
        yield Single(
            case := "hit ratio in an agent less that of the policy alone",
            "",
            less_than_alone,
            *BARS[case, ""],
            best="high",
            about="objects of 64 KiB over HTTP; the policy alone has the room that they took",
        )
