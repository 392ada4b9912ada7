"""What a domain of agents gives its readers, and what it never does."""

from __future__ import annotations

import socket
import time
from dataclasses import replace

import pytest

from runtime.contract.units import MIB
from tests.support.lab import Lab, make_files, prewarm
from tests.support.sockets import LISTEN, SocketWatch


@pytest.fixture(name="files")
def _files(origin):
    return make_files(origin.folder)


def domain(lab: Lab, origin, count: int = 3, **changes):
    """Start ``count`` agents of one domain that follow the origin's Dataset."""
    for number in range(count):
        lab.add(f"n{number}")
    lab.plan("cloud", **({"datasets": (lab.dataset(origin.source),)} | changes))
    lab.start()
    lab.until_ready()


def warm(lab: Lab) -> bool:
    return all(map(lab.is_warm, lab.nodes.values()))


def test_every_node_reads_every_byte_and_each_crosses_to_the_domain_once(lab, origin, files):
    domain(lab, origin, prewarms=(prewarm(),))
    lab.until(lambda: warm(lab), what="the prewarm")

    for node in lab.nodes.values():
        for path, data in files.items():
            assert lab.read(node, f"train/{path}") == data

    total = sum(len(data) for data in files.values())
    assert lab.count("origin_bytes") == total
    assert origin.body_bytes() == total
    assert lab.count("peer_bytes") > 0
    assert lab.count("forbidden_connections") == 0


def test_a_local_only_node_fetches_its_own_copy_and_opens_no_port(lab, origin, files):
    node = lab.add("basic", domain=None)
    other = lab.add("other", domain=None)
    lab.plan(None, datasets=(lab.dataset(origin.source),))
    lab.start()
    lab.until_ready()
    for path, data in files.items():
        assert lab.read(node, f"train/{path}") == data
        assert lab.read(node, f"train/{path}") == data

    report = lab.report(node)
    assert report.port is None
    assert report.datasets[0].origin_bytes == sum(len(data) for data in files.values())
    assert (report.connections.dialled, report.connections.accepted) == ({}, {})
    for address in (node.address, other.address):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, node.port), timeout=5)


def test_the_kernel_lists_no_connection_between_a_basic_node_and_a_peer(lab, origin, files):
    basic = [lab.add("b0", domain=None), lab.add("b1", domain=None)]
    peers = [lab.add("n0"), lab.add("n1")]
    dataset = lab.dataset(origin.source)
    lab.plan("cloud", datasets=(dataset,), prewarms=(prewarm(),))
    lab.plan(None, datasets=(dataset,), prewarms=(prewarm(),))
    with SocketWatch() as watch:
        lab.start()
        lab.until_ready()
        for node in lab.nodes.values():
            for path, data in files.items():
                assert lab.read(node, f"train/{path}") == data

    agents = {node.address for node in lab.nodes.values()}
    outside = {node.address for node in basic}
    inside = {node.address for node in peers}
    assert watch.between(inside, inside), "the watch sees what there is"
    assert watch.between(outside, {"127.0.0.1"}), "basic nodes do reach the origin"
    assert not watch.between(outside, agents)
    assert not {local for local, _, state in watch.seen if state == LISTEN} & outside


def test_a_node_that_turns_local_only_closes_its_port_and_dials_nobody(lab, origin, files):
    domain(lab, origin, prewarms=(prewarm(),))
    lab.until(lambda: warm(lab), what="the prewarm")
    node = lab.nodes["n0"]
    path, data = max(files.items(), key=lambda item: len(item[1]))
    lab.read(node, f"train/{path}")

    node.domain = None
    lab.plan("cloud", datasets=(lab.dataset(origin.source),))
    lab.plan(None, datasets=(lab.dataset(origin.source),))
    lab.until(lambda: lab.report(node).port is None, what="n0 closing its port")
    dialled = lab.report(node).connections.dialled

    for name, content in files.items():
        assert lab.read(node, f"train/{name}") == content
    assert lab.report(node).connections.dialled == dialled
    for other in ("n1", "n2"):
        lab.until(lambda o=other: lab.report(lab.nodes[o]).plan_generation >= 2)
        assert lab.read(lab.nodes[other], f"train/{path}") == data


def test_a_store_too_small_for_the_data_reads_through_and_keeps_its_quota(lab, origin, files):
    domain(lab, origin, tiers=(lab.tier(12 * MIB),))

    for node in lab.nodes.values():
        for path, data in files.items():
            assert lab.read(node, f"train/{path}") == data

    for node in lab.nodes.values():
        tier = lab.report(node).tiers[0]
        used = sum(
            f.stat().st_blocks * 512 for f in (lab.folder / "tiers" / node.name).rglob("*.*")
        )
        assert used <= 12 * MIB
        assert tier.used <= tier.quota


def test_a_cached_byte_is_served_when_origin_and_plan_are_gone_and_a_miss_fails_fast(
    lab, origin, files
):
    domain(lab, origin, count=2)
    node = lab.nodes["n0"]
    shard = max(files, key=lambda path: len(files[path]))
    lab.read(node, f"train/{shard}")
    lab.until(lambda: lab.settled(node))
    for each in lab.nodes.values():
        each.kill()
        (each.folder / "plan.json").unlink()
    origin.stop()
    lab.start()
    lab.until_ready()

    assert lab.read(node, f"train/{shard}") == files[shard]
    missing = next(path for path in files if path.startswith("shards") and path != shard)
    status, headers, body = lab.ask(node, "GET", f"/team/images/train/{missing}", timeout=20)
    assert status == 504
    assert headers["cachectl-error"] == "OriginUnavailable"
    assert b"Traceback" not in body


def test_a_dataset_that_leaves_the_plan_frees_its_bytes(lab, origin, files):
    domain(lab, origin, prewarms=(prewarm(),))
    lab.until(lambda: warm(lab), what="the prewarm")

    lab.plan("cloud")

    for node in lab.nodes.values():
        lab.until(lambda n=node: lab.report(n).tiers[0].used == 0, what="an empty tier")
        assert lab.report(node).datasets == ()
        assert not list((lab.folder / "tiers" / node.name).rglob("*.data"))


def test_a_domain_s_line_is_not_exceeded(lab, origin, files):
    rate = 8 * MIB
    domain(lab, origin, prewarms=(prewarm(),), line_bytes_per_second=rate)
    before, started = origin.body_bytes(), time.monotonic()
    lab.until(lambda: warm(lab), timeout=60, what="the prewarm")

    elapsed = time.monotonic() - started
    assert origin.body_bytes() - before < rate * elapsed + 6 * MIB
    assert elapsed > 1.5


def test_a_new_member_takes_over_its_share_from_peers_not_from_the_origin(lab, origin, files):
    dataset = replace(
        lab.dataset(origin.source), chunk_size=MIB // 4
    )  # so many chunks that some become the new member's
    domain(lab, origin, prewarms=(prewarm(),), datasets=(dataset,))
    lab.until(lambda: warm(lab), what="the prewarm")
    before = origin.body_bytes()

    node = lab.add("n3")
    lab.plan("cloud", datasets=(dataset,), prewarms=(prewarm(),))
    lab.start(node)
    lab.until_ready()
    lab.until(lambda: warm(lab), what="the new member's share")

    assert lab.report(node).datasets[0].owned_bytes > 0
    assert origin.body_bytes() == before


def test_a_tier_s_quota_can_be_edited_while_running(lab, origin, files):
    domain(lab, origin, prewarms=(prewarm(),))
    lab.until(lambda: warm(lab), what="the prewarm")
    small = lab.tier(8 * MIB)

    lab.plan("cloud", datasets=(lab.dataset(origin.source),), tiers=(small,))

    for node in lab.nodes.values():
        lab.until(lambda n=node: lab.report(n).tiers[0].quota == small.quota)
        lab.until(lambda n=node: lab.report(n).tiers[0].used <= small.quota)
    for path, data in files.items():
        assert lab.read(lab.nodes["n0"], f"train/{path}") == data


def test_refuse_on_local_only_nodes_is_a_clear_error(lab, origin, files):
    node = lab.add("basic", domain=None)
    lab.plan(None, datasets=(replace(lab.dataset(origin.source), local_only="Refuse"),))
    lab.start()
    lab.until_ready()

    status, headers, body = lab.ask(node, "GET", f"/team/images/train/{next(iter(files))}")

    assert (status, headers["cachectl-error"]) == (403, "RefusedByPolicy")
    assert b"spec.localOnly.policy" in body


def test_bypass_on_local_only_nodes_reads_through_and_keeps_nothing(lab, origin, files):
    node = lab.add("basic", domain=None)
    lab.plan(None, datasets=(replace(lab.dataset(origin.source), local_only="Bypass"),))
    lab.start()
    lab.until_ready()

    for path, data in files.items():
        assert lab.read(node, f"train/{path}") == data
    assert lab.report(node).tiers[0].used == 0
