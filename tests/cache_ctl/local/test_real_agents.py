"""The whole of local mode with the real agent: from YAML objects to bytes on every node."""

from __future__ import annotations

import random

from cache_ctl.api.kinds import CACHE_PREWARM, DATASET
from cache_ctl.local.world import LocalWorld
from tests.support.objects import SPACE, cloud_node, dataset, edge_node, pool, prewarm, runtime


def on_loopback(bodies):
    """Give nodes addresses of their own, so that several runs can share one machine."""
    network = f"127.{random.randrange(130, 250)}.{random.randrange(1, 250)}"
    for number, body in enumerate(bodies):
        if body["kind"] == "Node":
            body["status"]["addresses"][0]["address"] = f"{network}.{number + 1}"
    return bodies


async def test_a_domain_fetches_each_byte_once_and_a_basic_node_its_own_copy(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for number in range(5):
        (source / f"{number}.bin").write_bytes(random.randbytes(200_000 + number))
    whole = sum(path.stat().st_size for path in source.iterdir())
    tier = {"medium": "SSD", "path": str(tmp_path / "tier"), "quota": "64Mi"}
    objects = [
        cloud_node(1),
        cloud_node(2),
        cloud_node(3),
        pool("stores", "basic"),
        edge_node("stores", 1),
        runtime(tiers=[tier]),
        dataset(mounts=[{"name": "train", "source": source.as_uri()}]),
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
        body = world.objects.get(DATASET, "images", SPACE)
        forbidden = [report.connections.forbidden for report in world.reports.values()]

    rows = {row["name"]: row for row in body["status"]["domains"]}
    assert rows["cn-hangzhou"]["originBytes"] == whole
    assert rows["cn-hangzhou"]["cachedPercent"] == 100
    assert rows["local-basic"]["originBytes"] == whole
    assert rows["local-basic"]["peerBytes"] == 0
    assert body["status"]["snapshot"]["files"] == 5
    assert forbidden == [0, 0, 0, 0]
