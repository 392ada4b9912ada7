"""What goes wrong is a sentence where the user looks, reads go on as they can, and it heals."""

from __future__ import annotations

import base64
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys

import pytest

from cache_ctl.api.kinds import CACHE_PREWARM, CACHE_RUNTIME, DATASET, SECRET
from cache_ctl.local.world import LocalWorld
from runtime.contract.protocol import DEFAULT_PORT
from runtime.errors import OriginRefused
from tests.support.lab_origin import LabOrigin
from tests.support.live_world import Live, below, live, make_files
from tests.support.objects import (
    SPACE,
    cloud_node,
    dataset,
    edge_node,
    pool,
    prewarm,
)

MIB = 1 << 20


@pytest.fixture
def files(tmp_path):
    return make_files(tmp_path / "origin")


@pytest.fixture
def origin(tmp_path, files):
    found = LabOrigin(tmp_path / "origin")
    yield found
    found.stop()


def mount(source, **more):
    return {"name": "train", "source": source, **more}


def secret(**values):
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "login", "namespace": SPACE},
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()},
    }


def alone(tmp_path, source, **more):
    """Run one node over a source; each file is a unit of its own."""
    return live(tmp_path, [cloud_node(1)], mounts=[mount(source, **more)], packBelow="1Ki")


# -- the Dataset -------------------------------------------------------------------------------


async def test_a_secret_that_is_missing_is_named_and_read_as_soon_as_it_is_there(
    tmp_path, origin, files
):
    async with alone(tmp_path, origin.source, secretRef={"name": "login"}) as world:
        said = await world.until_said(DATASET, "SnapshotTaken", "False", "SecretMissing")
        assert f"'{SPACE}.login' has not reached this node; create it" in said
        await world.until_said(DATASET, "OriginReachable", "False", "SecretMissing")
        await world.until_said(DATASET, "Ready", "False", "SecretMissing")
        await world.world.apply([prewarm(includeLocalOnly=True)])
        said = await world.until_said(CACHE_PREWARM, "Complete", "False", "DatasetNotReady")
        assert f"Dataset {SPACE}/images is not ready" in said

        await world.world.apply([secret(token="t0ps3cret")])
        await world.until_ready()
        assert await world.read("cloud-1", "train/0.bin") == files["0.bin"]
        await world.until_said(DATASET, "OriginReachable", "True", "OriginAnswers")
        await world.until_said(CACHE_PREWARM, "Complete", "True", "AllAgentsDone")

        await world.world.delete(SECRET, "login", SPACE)
        await world.until_said(DATASET, "OriginReachable", "False", "SecretMissing")
        assert await world.read("cloud-1", "train/1.bin") == files["1.bin"]
        await world.world.apply([secret(token="t0ps3cret")])
        await world.until_said(DATASET, "OriginReachable", "True", "OriginAnswers")


async def test_a_secret_with_a_key_missing_says_which_and_heals_when_it_is_added(tmp_path):
    source = "oss://bucket/folder"
    options = {"endpoint": "http://127.0.0.1:1"}
    async with alone(tmp_path, source, secretRef={"name": "login"}, options=options) as world:
        await world.world.apply([secret(key="LTAI5tPlanted")])
        said = await world.until_said(DATASET, "SnapshotTaken", "False", "SourceInvalid")
        assert "secret" in said
        assert "LTAI5tPlanted" not in said

        await world.world.apply([secret(key="LTAI5tPlanted", secret="planted")])
        await world.until_said(DATASET, "SnapshotTaken", "False", "OriginUnreachable")


async def test_an_origin_that_cannot_be_reached_is_said_and_tried_again(tmp_path, origin, files):
    gone = LabOrigin(tmp_path / "origin")
    gone.stop()
    async with alone(tmp_path, gone.source) as world:
        said = await world.until_said(DATASET, "SnapshotTaken", "False", "OriginUnreachable")
        assert gone.source.rstrip("/") in said
        await world.until_said(DATASET, "Ready", "False", "OriginUnreachable")

        world.data["mounts"][0]["source"] = origin.source
        await world.apply()
        await world.until_ready()
        assert await world.read("cloud-1", "train/0.bin") == files["0.bin"]
        await world.until_said(DATASET, "OriginReachable", "True", "OriginAnswers")


async def test_an_origin_that_refuses_later_leaves_what_is_cached_and_says_so(
    tmp_path, origin, files
):
    async with alone(tmp_path, origin.source) as world:
        await world.until_ready()
        assert await world.read("cloud-1", "train/0.bin") == files["0.bin"]
        origin.fault("status", status=403)

        with pytest.raises(OriginRefused, match="answers 403"):
            await world.read("cloud-1", "train/1.bin")
        said = await world.until_said(DATASET, "OriginReachable", "False", "OriginRefused")
        assert "1 of 1 agents cannot fetch; cloud-1: " in said
        assert world.conditions()["Ready"]["status"] == "True"
        assert await world.read("cloud-1", "train/0.bin") == files["0.bin"]

        origin.heal()
        assert await world.read("cloud-1", "train/1.bin") == files["1.bin"]
        await world.until_said(DATASET, "OriginReachable", "True", "OriginAnswers")


async def test_a_listing_that_selects_nothing_is_said(tmp_path, origin):
    async with alone(tmp_path, origin.source, include=["*.jpg"]) as world:
        said = await world.until_said(DATASET, "SnapshotTaken", "False", "NothingMatches")
        assert "check source, include and exclude" in said

        (tmp_path / "origin" / "new.jpg").write_bytes(b"new")
        await world.until_ready()
        assert await world.read("cloud-1", "train/new.jpg") == b"new"


@pytest.mark.parametrize("source", ["nosuch://host/folder", "gs://bucket/folder"])
async def test_a_source_that_no_driver_here_opens_is_named(tmp_path, source):
    async with alone(tmp_path, source) as world:
        said = await world.until_said(DATASET, "SnapshotTaken", "False", "SourceInvalid")
        assert "train" in said
        assert source.split(":", 1)[0] in said


async def test_a_runtime_that_is_not_there_or_not_for_this_namespace_is_said(
    tmp_path, origin, files
):
    async with alone(tmp_path, origin.source) as world:
        await world.until_ready()
        world.data["runtimeRef"] = {"name": "nosuch", "namespace": SPACE}
        await world.apply()
        said = await world.until_said(DATASET, "Ready", "False", "RuntimeMissing")
        assert f"no CacheRuntime {SPACE}/nosuch; create it, or correct runtimeRef" in said

        world.data["runtimeRef"] = {"name": "edge", "namespace": SPACE}
        guest = dataset("images", namespace="guests", mounts=world.data["mounts"])
        await world.apply(guest)
        await world.until_ready()

        def refused():
            body = world.world.objects.get(DATASET, "images", "guests")
            return [c for c in body["status"]["conditions"] if c["reason"] == "NamespaceNotAllowed"]

        await world.until(refused, "the other namespace to be refused")
        assert "ask its owner to allow guests" in refused()[0]["message"]
        assert await world.read("cloud-1", "train/0.bin") == files["0.bin"]


async def test_a_selector_that_matches_no_node_is_said_on_both_objects(tmp_path, origin):
    async with alone(tmp_path, origin.source) as world:
        await world.until_ready()
        world.spec["nodes"] = {"selector": {"matchLabels": {"gpu": "yes"}}}
        await world.apply()
        await world.until_said(CACHE_RUNTIME, "Ready", "False", "NoNodesSelected")
        await world.until_said(DATASET, "Ready", "False", "NoAgents")

        world.nodes["cloud-1"]["metadata"]["labels"]["gpu"] = "yes"
        await world.apply()
        await world.until_ready()
        await world.until_said(CACHE_RUNTIME, "Ready", "True", "RuntimeReady")


# -- tiers -------------------------------------------------------------------------------------


async def test_agents_that_cannot_start_say_why_and_start_when_they_can(tmp_path, origin, files):
    foreign = tmp_path / "tier" / "cloud-1" / "thesis.tex"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    async with alone(tmp_path, origin.source) as world:
        said = await world.until_said(CACHE_RUNTIME, "Ready", "False", "AgentsNotReady")
        said = await world.until_said(DATASET, "Ready", "False", "AgentsNotReady")
        assert "is not empty and was not made by this store; give the tier an empty folder" in said
        assert foreign.read_text() == "mine"

        foreign.unlink()
        await world.until_ready()
        assert await world.read("cloud-1", "train/0.bin") == files["0.bin"]


def written(path):
    """Write one MiB to a file that readers have not asked for yet; return it."""
    data = random.randbytes(MIB)
    path.write_bytes(data)
    return data


def _a_file(folder):
    (folder / "tier").write_text("in the way")


def _nowhere(folder):
    (folder / "tier").symlink_to("/proc/nosuch")


@pytest.mark.parametrize(
    ("spoil", "remedy"),
    [(_a_file, "a tier's path is a folder"), (_nowhere, "give the tier another path")],
)
async def test_a_tier_without_a_folder_is_read_through_until_there_is_one(
    tmp_path, origin, files, spoil, remedy
):
    spoil(tmp_path)
    late = written(tmp_path / "origin" / "late.bin")
    async with alone(tmp_path, origin.source) as world:
        await world.until_ready()
        async with world.reading(below("train", files), "cloud-1"):
            said = await world.until_said(CACHE_RUNTIME, "TiersUsable", "False", "TierFailed")
            assert str(tmp_path / "tier") in said
            assert remedy in said

            (tmp_path / "tier").unlink()
            await world.until_said(CACHE_RUNTIME, "TiersUsable", "True", "AllTiersUsable")
        assert await world.read("cloud-1", "train/late.bin") == late
        await world.until(lambda: world.report("cloud-1").tiers[0].used >= MIB, "bytes there")


MOUNTED = """
mkdir -p "$0" && mount -t tmpfs -o "$1" tmpfs "$0" && shift && exec "$@"
"""


@contextlib.asynccontextmanager
async def on_a_file_system(tmp_path, options, source):
    """Run one node whose tier is a file system of its own, which only its agent sees."""
    tier = tmp_path / "tier"
    shell = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", MOUNTED)
    command = (*shell, str(tier), options, sys.executable, "-m", "runtime")
    tiers = [{"medium": "SSD", "path": str(tier), "quota": "64Mi"}]
    async with LocalWorld(tmp_path / "s", agent_command=command) as world:
        made = Live(world, [cloud_node(1)], tiers)
        made.spec["packBelow"] = "1Ki"
        made.data["mounts"] = [mount(source)]
        await made.apply()
        await made.until_ready()
        yield made


def inside(world, *command):
    """Run a command where the agent of the node sees its tier."""
    pid = world.report("cloud-1").pid
    enter = ("nsenter", "--target", str(pid), "--user", "--mount", "--preserve-credentials")
    subprocess.run([*enter, *command], check=True)


async def test_a_tier_on_a_read_only_file_system_is_read_through_until_it_is_writable(
    tmp_path, origin, files
):
    late = written(tmp_path / "origin" / "late.bin")
    async with on_a_file_system(tmp_path, "ro,size=64m", origin.source) as world:
        async with world.reading(below("train", files), "cloud-1"):
            said = await world.until_said(CACHE_RUNTIME, "TiersUsable", "False", "TierFailed")
            assert "Read-only file system; mount it writable" in said

            inside(world, "mount", "-o", "remount,rw", str(tmp_path / "tier"))
            await world.until_said(CACHE_RUNTIME, "TiersUsable", "True", "AllTiersUsable")
        assert await world.read("cloud-1", "train/late.bin") == late
        await world.until(lambda: world.report("cloud-1").tiers[0].used >= MIB, "bytes there")


async def test_a_tier_that_is_larger_than_its_disk_or_finds_it_full_says_so(tmp_path):
    files = make_files(tmp_path / "origin", count=6, size=MIB)
    with contextlib.ExitStack() as stack:
        origin = LabOrigin(tmp_path / "origin")
        stack.callback(origin.stop)
        async with on_a_file_system(tmp_path, "size=4m", origin.source) as world:
            said = await world.until_said(CACHE_RUNTIME, "TiersUsable", "False", "TierTooLarge")
            assert f"quota is {64 * MIB} bytes, and its file system has {4 * MIB}" in said

            async with world.reading(below("train", files), "cloud-1"):
                said = await world.until_said(CACHE_RUNTIME, "TiersUsable", "False", "TierFull")
                assert "free space on it, or lower the tier's quota" in said

                inside(world, "mount", "-o", "remount,size=128m", str(tmp_path / "tier"))
                await world.until_said(CACHE_RUNTIME, "TiersUsable", "True", "AllTiersUsable")
                await world.until(
                    lambda: world.report("cloud-1").tiers[0].used > 6 * MIB, "all of it in the tier"
                )


async def test_a_quota_below_one_chunk_is_refused_and_the_old_plan_stays(tmp_path, origin, files):
    async with alone(tmp_path, origin.source) as world:
        await world.until_ready()
        world.spec["tiers"][0]["quota"] = "1Mi"
        await world.apply()
        said = await world.until_said(CACHE_RUNTIME, "Ready", "False", "SpecInvalid")
        assert "spec.tiers[0].quota is 1Mi, and chunkSize is 4Mi" in said
        assert await world.read("cloud-1", "train/0.bin") == files["0.bin"]

        world.spec["tiers"][0]["quota"] = "8Mi"
        await world.apply()
        await world.until_said(CACHE_RUNTIME, "Ready", "True", "RuntimeReady")


async def test_a_dataset_that_no_tier_can_hold_is_read_all_the_same(tmp_path, origin, files):
    objects = [cloud_node(1), pool("shop", "basic"), edge_node("shop", 1)]
    async with live(
        tmp_path, objects, mounts=[mount(origin.source)], quota="512Ki", chunkSize="64Ki"
    ) as world:
        await world.until_ready()
        async with world.reading(below("train", files), "cloud-1", "shop-1"):
            said = await world.until_said(DATASET, "Warm", "False", "TiersTooSmall")
        whole = sum(map(len, files.values()))
        assert f"local-basic: a node's tiers hold {512 << 10} bytes" in said
        assert f"the Dataset needs {whole}" in said
        assert "read through; raise a tier's quota" in said


# -- agents ------------------------------------------------------------------------------------


async def test_a_port_in_use_hinders_peers_alone_and_is_taken_when_it_is_free(
    tmp_path, origin, files
):
    async with LocalWorld(tmp_path / "s") as local:
        tiers = [{"medium": "SSD", "path": str(tmp_path / "tier"), "quota": "64Mi"}]
        world = Live(local, [cloud_node(1), cloud_node(2)], tiers)
        world.data["mounts"] = [mount(origin.source)]
        address = world.nodes["cloud-2"]["status"]["addresses"][0]["address"]
        with socket.create_server((address, DEFAULT_PORT)):
            await world.apply()
            said = await world.until_said(
                CACHE_RUNTIME, "AgentsAvailable", "False", "AgentsHindered"
            )
            assert f"cloud-2 (cannot listen on {address} port {DEFAULT_PORT}: Address alr" in said
            await world.until_ready()
            async with world.reading(below("train", files), "cloud-1", "cloud-2"):
                pass
        await world.until_said(CACHE_RUNTIME, "Ready", "True", "RuntimeReady")
        assert world.report("cloud-2").port == DEFAULT_PORT


async def test_an_agent_that_dies_is_started_again_and_readers_elsewhere_notice_nothing(
    tmp_path, origin, files
):
    nodes = [cloud_node(number) for number in (1, 2, 3)]
    async with live(tmp_path, nodes, mounts=[mount(origin.source)]) as world:
        world.spec["packBelow"] = "1Ki"
        await world.apply()
        await world.until_ready()
        await world.warm()
        before = {node: world.report(node).pid for node in world.nodes}
        origin.reset()
        async with world.reading(below("train", files), "cloud-1", "cloud-3"):
            os.kill(before["cloud-2"], signal.SIGKILL)
            await world.until(
                lambda: world.report("cloud-2").pid != before["cloud-2"], "another agent"
            )
            await world.until_ready()
        assert await world.read("cloud-2", "train/0.bin") == files["0.bin"]
        assert {node: world.report(node).pid for node in ("cloud-1", "cloud-3")} == {
            node: before[node] for node in ("cloud-1", "cloud-3")
        }
        await world.until_said(CACHE_RUNTIME, "Ready", "True", "RuntimeReady")
        await world.until_said(DATASET, "Warm", "True", "AllBytesCached")


async def test_a_prewarm_that_was_interrupted_goes_on_with_what_it_lacks(tmp_path):
    files = make_files(tmp_path / "origin", count=24, size=512 << 10)
    slow = LabOrigin(tmp_path / "origin", "--shape", "127.0.0.0/8=24Mbit")
    try:
        async with live(
            tmp_path, [cloud_node(1), cloud_node(2)], mounts=[mount(slow.source)], packBelow="1Ki"
        ) as world:
            await world.until_ready()
            await world.world.apply([prewarm()])
            await world.until(
                lambda: world.report("cloud-1").prewarms[0].bytes_done > 3 << 20, "some of it"
            )
            os.kill(world.report("cloud-1").pid, signal.SIGKILL)
            await world.until_said(CACHE_PREWARM, "Complete", "True", "AllAgentsDone")

            status = world.world.objects.get(CACHE_PREWARM, "warm", SPACE)["status"]
            assert status["bytesDone"] == status["bytesTotal"] == sum(map(len, files.values()))
            twice = [name for name in files if slow.requests(name) > 1]
            assert len(twice) <= 4, "only what was on its way at the kill"
            for path, data in below("train", files).items():
                assert await world.read("cloud-1", path) == data
    finally:
        slow.stop()
