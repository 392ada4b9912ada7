"""How long the decisions take for 10,000 nodes in 200 pools, on one core, in processor time.

Run with ``pytest -m perf -s tests/perf/test_decisions.py``; it prints figures and asserts none.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager

import pytest

from cache_ctl.domain.classify import classify
from cache_ctl.domain.facts import AgentFacts, PlanningFacts, RuntimeFacts
from cache_ctl.domain.hold import Settled, settle
from cache_ctl.domain.observe import cluster_facts
from cache_ctl.domain.planning import plan
from cache_ctl.domain.routes import links_of, routes
from cache_ctl.domain.topology import build_topology
from runtime.contract.codec import dumps
from runtime.contract.plan import TierPlan
from tests.support.clusters import CLOUD, ack_pool, in_pool, node

NODES, POOLS = 10_000, 200


@contextmanager
def timed(name, figures):
    start = time.process_time()
    yield
    figures[name] = time.process_time() - start


def one_cluster(shape):
    """Return 10,000 nodes in pools of 50, every fifth basic, or half of them in the cloud."""
    objects = [ack_pool(f"np-{i}", "public" if i % 5 == 0 else "private") for i in range(POOLS)]
    for index in range(NODES):
        cloud = shape == "half in the cloud" and index % 2
        labels = CLOUD if cloud else in_pool(f"np-{index % POOLS}")
        zone = {"topology.kubernetes.io/zone": f"z{index % 3}"}
        ip = f"10.{index >> 16}.{index >> 8 & 255}.{index & 255}"
        objects.append(node(f"node-{index:05}", labels | zone, ip=ip))
    return objects


@pytest.mark.perf
@pytest.mark.parametrize("shape", ["pools of 50", "half in the cloud"])
def test_ten_thousand_nodes_are_decided(shape, capsys):
    objects = one_cluster(shape)
    figures: dict[str, float] = {}
    with timed("observe (not in the sum)", figures):
        facts = cluster_facts(objects)
    with timed("classify", figures):
        found = classify(facts)
    with timed("settle", figures):
        settled = settle(Settled(), found, 0).classifications
    with timed("topology with edges", figures):
        topology = build_topology(settled, facts.nodes)
        edges = sum(len(domain.edges) for domain in topology.domains)
    with timed("routes", figures):
        ways = routes(links_of(topology.domains))
    runtime = RuntimeFacts(
        "cache-system/edge-cache",
        agents=tuple(AgentFacts(node.uid) for node in facts.nodes),
        tiers=(TierPlan("SSD", "/var/lib/cachectl", 1 << 40),),
        line_bytes_per_second=10**8,
    )
    with timed("plans (topology again, and checked)", figures):
        planned = plan(settled, PlanningFacts(nodes=facts.nodes, runtime=runtime))
    with timed("render", figures):
        size = sum(len(dumps(made)) for made in planned.plans.values())

    total = sum(value for name, value in figures.items() if "not in" not in name)
    lines = [f"{NODES} nodes in {POOLS} pools, {shape}: {total:.2f} s"]
    lines += [f"  {name:36} {value * 1000:6.0f} ms" for name, value in figures.items()]
    lines.append(f"  {edges} edges, {len(ways)} routes, {len(planned.plans)} plans, {size} bytes")
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(lines) + "\n")
    assert len(planned.followed) == NODES
