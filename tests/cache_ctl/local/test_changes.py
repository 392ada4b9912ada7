"""The running system is edited: nothing restarts, no valid byte is lost, no reader fails."""

from __future__ import annotations

import asyncio
import os

import pytest

from cache_ctl.api.kinds import CACHE_RUNTIME, CACHE_WORKER, DATASET, NODE
from tests.support.lab_origin import LabOrigin
from tests.support.live_world import (
    REF,
    JumpingClock,
    below,
    fleet,
    live,
    make_files,
)
from tests.support.local_world import quiet
from tests.support.objects import cloud_node

CLASS = "cachectl.dev/network-class"


@pytest.fixture
def files(tmp_path):
    return make_files(tmp_path / "origin")


@pytest.fixture
def origin(tmp_path, files):
    found = LabOrigin(tmp_path / "origin")
    yield found
    found.stop()


@pytest.fixture
def elsewhere(tmp_path):
    """Another origin, with the same names and other bytes."""
    files = make_files(tmp_path / "elsewhere")
    found = LabOrigin(tmp_path / "elsewhere")
    yield found, files
    found.stop()


def mount(origin, name="train", **more):
    return {"name": name, "source": origin.source, **more}


def pids(world):
    return {node: report.pid for node, report in world.world.reports.items()}


def cached(world, node):
    """Return the bytes of the Dataset that a node keeps."""
    found = world.report(node).datasets[0]
    return found.owned_bytes + found.spare_bytes


def reason(world, node):
    """Return why a node has the class and the mode that it is assigned."""
    workers = world.world.objects.list(CACHE_WORKER)
    return next(body["spec"]["reason"] for body in workers if body["spec"]["node"] == node)


def connections(world, node):
    """Return how many connections other nodes made to a node, as they tell it."""
    address = world.report(node).address
    others = [report for name, report in world.world.reports.items() if name != node]
    return sum(report.connections.dialled.get(address, 0) for report in others)


async def test_a_node_that_becomes_basic_leaves_its_peers_at_once_and_returns_after_a_minute(
    tmp_path, origin, files
):
    clock = JumpingClock()
    # So many chunks that each member of the pool owns some.
    chunks = {"chunkSize": "64Ki", "packBelow": "1Ki"}
    async with live(tmp_path, fleet(), mounts=[mount(origin)], clock=clock, **chunks) as world:
        await world.until_ready()
        await world.warm()
        before = pids(world)
        held = cached(world, "plant-2")
        expected = below("train", files)

        async with world.reading(expected, "plant-1", "plant-2", "cloud-1"):
            world.nodes["plant-2"]["metadata"]["annotations"][CLASS] = "basic"
            await world.apply()
            await world.until(
                lambda: (
                    world.report("plant-2").network_class == "Basic"
                    and world.report("plant-2").port is None
                    and world.report("plant-1").mode == "LocalOnly"
                ),
                "plant-2 to be alone",
            )
            assert cached(world, "plant-2") >= held > 0
            dialled = connections(world, "plant-2")
            await world.until_ready()

        assert pids(world) == before
        assert connections(world, "plant-2") == dialled
        assert world.report("plant-2").connections.forbidden == 0

        del world.nodes["plant-2"]["metadata"]["annotations"][CLASS]
        async with world.reading(expected, "plant-1", "plant-2", "cloud-1"):
            await world.apply()
            await world.until(lambda: reason(world, "plant-2") == "EvidenceHolding", "the hold")
            clock.jump(55)
            await quiet(world.world)
            assert world.report("plant-2").network_class != "Dedicated"
            assert connections(world, "plant-2") == dialled
            clock.jump(6)
            await world.until(
                lambda: (
                    world.report("plant-2").mode == "Distributed"
                    and world.report("plant-1").mode == "Distributed"
                ),
                "plant-2 to be back",
            )
            await world.until_ready()
        assert pids(world) == before


async def test_mounts_come_go_and_turn_while_others_stay_as_they_are(
    tmp_path, origin, files, elsewhere
):
    other, others = elsewhere
    async with live(tmp_path, fleet(), mounts=[mount(origin)]) as world:
        await world.until_ready()
        await world.warm()
        before = pids(world)
        origin.reset()

        async with world.reading(below("train", files), *world.nodes):
            world.data["mounts"].append(mount(other, "extra"))
            await world.apply()
            await world.until(lambda: _files(world) == {8}, "the added mount's files")
            for node in ("cloud-1", "shop-1"):
                for path, data in below("extra", others).items():
                    assert await world.read(node, path) == data

            world.data["mounts"].pop()
            await world.apply()
            await world.until(lambda: _files(world) == {4}, "the mount to be gone")
            with pytest.raises(FileNotFoundError):
                await world.read("cloud-1", "extra/0.bin")
        assert origin.body_bytes() == 0, "what is unchanged is not fetched again"

        world.data["mounts"][0]["source"] = other.source
        snapshots = _snapshots(world)
        await world.apply()
        await world.until(lambda: not snapshots & _snapshots(world), "the other source's snapshot")
        for node in world.nodes:
            for path, data in below("train", others).items():
                assert await world.read(node, path) == data
        assert origin.body_bytes() == 0
        assert pids(world) == before


async def test_another_source_with_the_same_names_sizes_and_versions_is_another_object(
    tmp_path, origin, files, elsewhere
):
    """Versions of many origins say nothing of another origin's objects: here, of its bytes."""
    old, new = files, elsewhere[1]
    for folder in ("origin", "elsewhere"):
        for name in old:
            os.utime(tmp_path / folder / name, (1_700_000_000, 1_700_000_000))
    one, two = origin, elsewhere[0]
    for each in (one, two):
        each.fault("dated")  # no etags: a version is a time and a size
    async with live(tmp_path, [cloud_node(1)], mounts=[mount(one)]) as world:
        await world.until_ready()
        assert await world.read("cloud-1", "train/1.bin") == old["1.bin"]
        snapshots = _snapshots(world)
        held = await asyncio.to_thread(world.filesystem("cloud-1").open, f"{REF}/train/2.bin", "rb")
        with held:
            world.data["mounts"][0]["source"] = two.source
            await world.apply()
            await world.until(lambda: not snapshots & _snapshots(world), "the new snapshot")

            assert await world.read("cloud-1", "train/1.bin") == new["1.bin"]
            assert await world.read("cloud-1", "train/2.bin") == new["2.bin"]
            assert await asyncio.to_thread(held.read) == old["2.bin"], (
                "who has it open reads what it opened"
            )


async def test_a_quota_that_shrinks_holds_at_once_and_one_that_grows_is_used(
    tmp_path, origin, files
):
    whole = sum(map(len, files.values()))
    async with live(
        tmp_path, fleet(), mounts=[mount(origin)], quota="16Mi", chunkSize="64Ki", packBelow="1Ki"
    ) as world:
        await world.until_ready()
        await world.warm()
        before = pids(world)
        async with world.reading(below("train", files), "cloud-1", "shop-1"):
            world.spec["tiers"][0]["quota"] = "512Ki"
            await world.apply()
            await world.until(
                lambda: all(
                    report.tiers[0].quota == 512 << 10 and report.tiers[0].used <= 512 << 10
                    for report in world.world.reports.values()
                ),
                "every store to be within its quota",
            )
            await world.until(
                lambda: all(
                    f"{domain}: the tiers hold {2 * 512 << 10} bytes"
                    in world.conditions()["Warm"]["message"]
                    for domain in ("cn-hangzhou", "pool:plant")
                ),
                "the tiers to be too small",
            )
            said = await world.until_said(DATASET, "Warm", "False", "TiersTooSmall")
            assert f"needs {whole}" in said

            world.spec["tiers"][0]["quota"] = "32Mi"
            await world.apply()
            await world.until(
                lambda: all(
                    report.tiers[0].quota == 32 << 20 for report in world.world.reports.values()
                ),
                "the greater quota",
            )
            await world.warm("again")
        await world.until_said(DATASET, "Warm", "True", "AllBytesCached")
        assert pids(world) == before


async def test_a_tier_is_added_before_the_other_and_taken_away_again(tmp_path, origin, files):
    async with live(tmp_path, [cloud_node(1), cloud_node(2)], mounts=[mount(origin)]) as world:
        await world.until_ready()
        await world.warm()
        before = pids(world)
        origin.reset()
        async with world.reading(below("train", files), *world.nodes):
            added = {"medium": "Memory", "path": str(tmp_path / "fast"), "quota": "16Mi"}
            world.spec["tiers"].insert(0, added)
            await world.apply()
            await world.until(
                lambda: all(len(report.tiers) == 2 for report in world.world.reports.values()),
                "two tiers",
            )
            await world.until_said(CACHE_RUNTIME, "TiersUsable", "True", "AllTiersUsable")
        assert origin.body_bytes() == 0

        async with world.reading(below("train", files), *world.nodes):
            world.spec["tiers"].pop()
            await world.apply()
            await world.until(
                lambda: all(len(report.tiers) == 1 for report in world.world.reports.values()),
                "one tier",
            )
        assert pids(world) == before
        assert list((tmp_path / "tier" / "cloud-1").glob("**/*.data")) == []


async def test_bandwidth_reaches_the_reader_who_waits_for_it(tmp_path, origin, files):
    bandwidth = {"perDomainLine": "8kbit", "perBasicNode": "8kbit"}
    async with live(
        tmp_path, [cloud_node(1), cloud_node(2)], mounts=[mount(origin)], bandwidth=bandwidth
    ) as world:
        await world.until_ready()
        before = pids(world)
        # More than the burst of 256 KiB: at this rate it would take an hour.
        reads = [asyncio.create_task(world.read("cloud-1", path)) for path in below("train", files)]
        await world.until(
            lambda: any(report.datasets[0].origin_bytes for report in world.world.reports.values()),
            "the first bytes",
        )
        world.spec["bandwidth"] = {"perDomainLine": "800Mbit"}
        await world.apply()

        found = await asyncio.wait_for(asyncio.gather(*reads), 60)

        assert found == list(files.values())
        assert pids(world) == before


async def test_another_chunk_size_is_for_the_snapshots_from_then_on(tmp_path, origin, files):
    async with live(tmp_path, fleet(), mounts=[mount(origin)]) as world:
        await world.until_ready()
        await world.warm()
        before, snapshots = pids(world), _snapshots(world)
        origin.reset()
        async with world.reading(below("train", files), *world.nodes):
            world.spec["chunkSize"] = "128Ki"
            await world.apply()
            await world.until(lambda: world.conditions()["Placed"]["status"] == "True", "the plan")
            assert _snapshots(world) == snapshots
            assert origin.body_bytes() == 0, "what is cached stays"

            added = tmp_path / "origin" / "new.bin"
            added.write_bytes(b"new" * 100_000)
            world.dataset["metadata"]["annotations"] = {"cachectl.dev/refresh": "now"}
            await world.apply()
            await world.until(lambda: _files(world) == {5}, "the new listing")
        assert await world.read("cloud-1", "train/new.bin") == added.read_bytes()
        assert pids(world) == before


async def test_policies_and_copies_change_in_place(tmp_path, origin, files):
    async with live(tmp_path, fleet(), mounts=[mount(origin)]) as world:
        await world.until_ready()
        await world.warm()
        before = pids(world)
        whole = sum(map(len, files.values()))
        origin.reset()
        async with world.reading(below("train", files), *world.nodes):
            world.data["cachePolicy"] = "Serving"
            world.data["replicasPerDomain"] = 2
            await world.apply()
            await world.until(lambda: world.conditions()["Placed"]["status"] == "True", "the plan")
            await world.warm("copies")
            await world.until(
                lambda: (
                    sum(
                        world.report(node).datasets[0].owned_bytes
                        for node in ("cloud-1", "cloud-2")
                    )
                    == 2 * whole
                ),
                "two copies in the cloud",
            )
            world.spec["replicas"] = 2
            await world.apply()
            await world.until(
                lambda: (
                    (world.world.objects.get(CACHE_RUNTIME, "edge", "cache-system") or {})[
                        "status"
                    ]["replicas"]
                    == 2
                ),
                "two replicas",
            )
            await world.until_ready()
        assert origin.body_bytes() == 0, "members have it from each other"
        assert pids(world) == before


async def test_a_node_that_goes_away_leaves_readers_elsewhere_alone(tmp_path, origin, files):
    async with live(tmp_path, fleet(), mounts=[mount(origin)]) as world:
        await world.until_ready()
        before = pids(world)
        async with world.reading(below("train", files), "cloud-1", "plant-1"):
            await world.world.delete(NODE, "cloud-2")
            await world.until(lambda: "cloud-2" not in world.world.reports, "its agent to end")
        assert {node: pid for node, pid in before.items() if node != "cloud-2"} == pids(world)


def _files(world):
    return {report.datasets[0].files for report in world.world.reports.values()}


def _snapshots(world):
    return {report.datasets[0].snapshot for report in world.world.reports.values()}
