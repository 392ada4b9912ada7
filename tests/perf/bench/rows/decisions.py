"""How long the controller's decisions take for large clusters, and how much they remember.

Every size is decided in a process of its own, in processor seconds; pools of 50, every fifth of
them basic. No peer does this work; the slope tells whether it grows faster than the cluster.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache

from cache_ctl.domain.classify import classify
from cache_ctl.domain.facts import AgentFacts, PlanningFacts, RuntimeFacts
from cache_ctl.domain.hold import Settled, settle
from cache_ctl.domain.observe import cluster_facts
from cache_ctl.domain.planning import Planned, plan
from cache_ctl.domain.topology import build_topology
from runtime.contract.codec import dumps
from runtime.contract.plan import DatasetPlan, MountPlan, TierPlan
from tests.perf.bench.process import usage
from tests.perf.bench.row import Case, Context, Single
from tests.support.clusters import CLOUD, ack_pool, in_pool, node

NAME = "decisions"
WORK = "classify, topology and plans of 1 k, 10 k and 50 k nodes; a plan's size on the wire"

SIZES = (1_000, 10_000, 50_000)
POOL = 50
DOMAINS = (50, 500, 5_000)
CONFIG_MAP = 1 << 20
"""What a ConfigMap holds."""
BARS = {
    ("slope of time", ""): (1.2, None),
    ("plan of 50 members", ""): (CONFIG_MAP, None),
    ("plan of 500 members", ""): (CONFIG_MAP, None),
    ("plan of 5,000 members", ""): (CONFIG_MAP, None),
}


def cluster_objects(nodes: int) -> list[dict[str, object]]:
    """Return nodes in pools of 50, every fifth pool basic."""
    pools = nodes // POOL
    objects = [ack_pool(f"np-{i}", "public" if i % 5 == 0 else "private") for i in range(pools)]
    for index in range(nodes):
        zone = {"topology.kubernetes.io/zone": f"z{index % 3}"}
        ip = f"10.{index >> 16}.{index >> 8 & 255}.{index & 255}"
        objects.append(node(f"node-{index:05}", in_pool(f"np-{index % pools}") | zone, ip=ip))
    return objects


def cloud_objects(nodes: int) -> list[dict[str, object]]:
    """Return nodes of one domain."""
    return [
        node(f"node-{index:05}", CLOUD, ip=f"10.0.{index >> 8}.{index & 255}")
        for index in range(nodes)
    ]


def decide(objects: list[dict[str, object]]) -> tuple[dict[str, float], Planned]:
    """Decide; return the processor seconds of each step, and the plans."""
    facts = cluster_facts(objects)
    seconds: dict[str, float] = {}

    def mark(name: str, since: float) -> float:
        now = time.process_time()
        seconds[name] = now - since
        return now

    at = time.process_time()
    found = classify(facts)
    settled = settle(Settled(), found, 0).classifications
    at = mark("classify", at)
    build_topology(settled, facts.nodes)
    at = mark("topology", at)
    dataset = DatasetPlan("team", "images", "ds-1", (MountPlan("train", "oss://bucket/images"),))
    runtime = RuntimeFacts(
        "cache-system/edge-cache",
        agents=tuple(AgentFacts(one.uid) for one in facts.nodes),
        tiers=(TierPlan("SSD", "/var/lib/cachectl", 1 << 40),),
        line_bytes_per_second=10**8,
    )
    planned = plan(settled, PlanningFacts(nodes=facts.nodes, runtime=runtime, datasets=(dataset,)))
    mark("plan", at)
    return seconds, planned


@cache
def measured(nodes: int) -> dict[str, float]:
    """Decide for a cluster of this size in a process of its own; return what it took."""
    command = [sys.executable, "-m", "tests.perf.bench.rows.decisions", str(nodes)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def plan_bytes(members: int) -> int:
    """Return the size of the plan of one domain, as it goes into its ConfigMap."""
    _, planned = decide(cloud_objects(members))
    return max(len(dumps(made)) for made in planned.plans.values())


def run(context: Context) -> Iterator[Case]:
    """Yield time and memory by size, their slope, and plans' sizes."""
    sizes = SIZES[:2] if context.quick else SIZES
    for nodes in sizes:
        for step in ("classify", "topology", "plan"):
            yield Single(f"{nodes:,} nodes: {step}", "s", lambda n=nodes, s=step: measured(n)[s])
        yield Single(f"{nodes:,} nodes: in all", "s", lambda n=nodes: measured(n)["all"])
        yield Single(f"{nodes:,} nodes: peak memory", "B", lambda n=nodes: measured(n)["peak"])
    first, last = sizes[0], sizes[-1]
    yield Single(
        case := "slope of time",
        "",
        lambda: math.log(measured(last)["all"] / measured(first)["all"]) / math.log(last / first),
        *BARS[case, ""],
        about="the exponent with which time grows from the smallest to the largest; 1 is linear",
    )
    for members in DOMAINS:
        yield Single(
            case := f"plan of {members:,} members",
            "B",
            lambda m=members: plan_bytes(m),
            *BARS[case, ""],
            about="a ConfigMap holds 1 MiB",
        )


def _main(nodes: int) -> None:
    objects = cluster_objects(nodes)
    seconds, planned = decide(objects)
    assert len(planned.followed) == nodes
    # Not getrusage's: that one starts with what the parent's was.
    figures = seconds | {"all": sum(seconds.values()), "peak": usage([os.getpid()]).peak}
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    _main(int(sys.argv[1]))
