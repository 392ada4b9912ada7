"""The whole of local mode with the real agent: from YAML objects to bytes on every node."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from cache_ctl.api.kinds import CACHE_PREWARM, DATASET, EVENT
from cache_ctl.local.world import LocalWorld
from runtime.client.filesystem import CacheFileSystem
from runtime.errors import AccessDenied
from tests.support.local_world import quiet, reports
from tests.support.objects import SPACE, cloud_node, dataset, edge_node, pool, prewarm, runtime

REF = f"{SPACE}/images"


def on_loopback(bodies):
    """Give nodes addresses of their own, so that several runs can share one machine."""
    network = f"127.{random.randrange(130, 250)}.{random.randrange(1, 250)}"
    for number, body in enumerate(bodies):
        if body["kind"] == "Node":
            body["status"]["addresses"][0]["address"] = f"{network}.{number + 1}"
    return bodies


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.bin").write_bytes(random.randbytes(200_000 + number))
    return folder


@contextlib.asynccontextmanager
async def warm_world(tmp_path, source):
    """A domain of three and a basic node, all of the source on each side."""
    tier = {"medium": "SSD", "path": str(tmp_path / "tier"), "quota": "64Mi"}
    objects = [
        cloud_node(1),
        cloud_node(2),
        cloud_node(3),
        pool("stores", "basic"),
        edge_node("stores", 1),
        runtime(tiers=[tier]),
        images(source),
        prewarm(includeLocalOnly=True),
    ]
    async with LocalWorld(tmp_path / "s") as world:
        await world.apply(on_loopback(objects))
        await world.until(
            lambda w: (
                w.is_true(CACHE_PREWARM, "warm", SPACE, condition="Complete")
                and w.is_true(DATASET, "images", SPACE, condition="Warm")
            ),
            seconds=60,
            what="the prewarm to complete",
        )
        yield world


def images(source, **annotations):
    body = dataset(mounts=[{"name": "train", "source": source.as_uri()}])
    body["metadata"]["annotations"] = annotations
    return body


def status(world):
    return world.objects.get(DATASET, "images", SPACE)["status"]


async def test_a_domain_fetches_each_byte_once_and_a_basic_node_its_own_copy(tmp_path, source):
    whole = sum(path.stat().st_size for path in source.iterdir())
    async with warm_world(tmp_path, source) as world:
        shown = status(world)
        forbidden = [report.connections.forbidden for report in world.reports.values()]

    rows = {row["name"]: row for row in shown["domains"]}
    assert rows["cn-hangzhou"]["originBytes"] == whole
    assert rows["cn-hangzhou"]["cachedPercent"] == 100
    assert rows["local-basic"]["originBytes"] == whole
    assert rows["local-basic"]["peerBytes"] == 0
    assert shown["snapshot"]["files"] == 5
    assert forbidden == [0, 0, 0, 0]


async def test_a_reader_with_the_datasets_token_reads_on_every_node_and_nobody_else_does(
    tmp_path, source
):
    path = f"{REF}/train/3.bin"
    async with warm_world(tmp_path, source) as world:
        await world.apply([dataset("other", mounts=[{"name": "m", "source": source.as_uri()}])])
        await world.until(
            lambda w: w.token_file(f"{SPACE}/other").exists(), seconds=30, what="its token"
        )

        def read(node, token_file):
            filesystem = CacheFileSystem(
                socket=str(world.socket(node)), token_file=token_file, skip_instance_cache=True
            )
            return filesystem.cat_file(path)

        for node in world.nodes():
            assert await asyncio.to_thread(read, node, str(world.token_file(REF))) == (
                (source / "3.bin").read_bytes()
            )
            for wrong in (None, str(world.token_file(f"{SPACE}/other"))):
                with pytest.raises(AccessDenied):
                    await asyncio.to_thread(read, node, wrong)


async def test_a_steady_world_writes_nothing(tmp_path, source):
    async with warm_world(tmp_path, source) as world:
        await quiet(world)
        before = world.cluster.writes
        await reports(world, 16)

        assert world.cluster.writes == before


async def test_a_new_snapshot_does_not_take_back_that_there_is_one(tmp_path, source):
    async with warm_world(tmp_path, source) as world:
        first = status(world)["snapshot"]["id"]
        (source / "5.bin").write_bytes(b"new")
        await world.apply([images(source, **{"cachectl.dev/refresh": "now"})])
        await world.until(
            lambda w: (
                {
                    dataset.snapshot for report in w.reports.values() for dataset in report.datasets
                }.isdisjoint({first, ""})
                and status(w)["snapshot"]["files"] == 6
            ),
            seconds=30,
            what="another snapshot everywhere",
        )
        told = [
            event["message"]
            for event in world.objects.list(EVENT)
            if event["message"].startswith("SnapshotTaken is ")
        ]

    assert told == [told[0]]
    assert told[0].startswith("SnapshotTaken is True: 5 files")
