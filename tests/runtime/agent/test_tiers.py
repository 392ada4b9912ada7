"""Tiers smaller than the data, and two tiers at once."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path

import fsspec
import pytest

from runtime.contract.plan import TierPlan
from runtime.contract.units import MIB

QUOTA = 13 * MIB


@pytest.fixture(name="files")
def _files(origin):
    """Twelve objects of 2.5 MiB, each one unit."""
    files = {f"{number:02}.bin": random.Random(number).randbytes(5 << 19) for number in range(12)}
    for name, data in files.items():
        (origin.folder / name).write_bytes(data)
    return files


def alone(lab, origin, tiers, **changes):
    """Start one LocalOnly agent with these tiers."""
    node = lab.add("n0", domain=None)
    lab.plan(None, datasets=(lab.dataset(origin.source, **changes),), tiers=tiers)
    lab.start()
    lab.until_ready()
    return node


def on_disk(*tiers: TierPlan) -> list[int]:
    """Return the bytes that each tier's folder takes on its medium."""
    return [
        sum(file.stat().st_blocks * 512 for file in Path(tier.path).rglob("*") if file.is_file())
        for tier in tiers
    ]


def test_a_serving_dataset_keeps_what_is_read_often_while_the_rest_passes(lab, origin, files):
    tier = lab.tier(QUOTA)
    node = alone(lab, origin, (tier,), cache_policy="Serving")
    hot, *cold = files
    for _ in range(3):
        assert lab.read(node, f"train/{hot}") == files[hot]
    for path in cold:
        assert lab.read(node, f"train/{path}") == files[path]
        assert lab.read(node, f"train/{hot}") == files[hot]
        assert on_disk(tier)[0] <= QUOTA
        assert lab.report(node).tiers[0].used <= QUOTA

    assert lab.count("store_evictions", node) >= len(cold) - 5
    assert origin.requests(hot) == 1
    assert lab.read(node, f"train/{cold[0]}") == files[cold[0]]
    assert origin.requests(cold[0]) == 2, "what was read once had to go"


def test_an_epoch_dataset_keeps_what_came_first(lab, origin, files):
    tier = lab.tier(QUOTA)
    node = alone(lab, origin, (tier,))
    for _ in range(2):
        for path, data in files.items():
            assert lab.read(node, f"train/{path}") == data
            assert on_disk(tier)[0] <= QUOTA
        lab.until(lambda: lab.settled(node))

    kept = [path for path in files if len(data_files(lab, node, files[path])) == 1]
    assert kept == list(files)[: len(kept)]
    assert len(kept) >= 4
    assert lab.count("store_evictions", node) == 0
    assert lab.count("read_through_units", node) >= len(files) - len(kept)
    assert all(origin.requests(path) == 1 for path in kept)


def test_two_tiers_fill_in_order_and_the_client_reads_from_the_descriptors_of_both(
    lab, origin, files
):
    big = random.Random(99).randbytes(15 * MIB)
    (origin.folder / "big.bin").write_bytes(big)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        tiers = (
            TierPlan("Memory", memory, 9 * MIB),
            TierPlan("SSD", str(lab.folder / "ssd"), QUOTA * 4),
        )
        node = alone(lab, origin, tiers)
        fs = fsspec.filesystem("cachectl", socket=node.socket, skip_instance_cache=True)
        contents = {"team/images/train/big.bin": big}
        contents |= {f"team/images/train/{path}": data for path, data in files.items()}

        assert fs.cat(list(contents)) == contents
        lab.until(lambda: lab.settled(node))

        report = lab.report(node)
        assert [(tier.medium, tier.path) for tier in report.tiers] == [
            (tier.medium, str(Path(tier.path) / node.name)) for tier in tiers
        ]
        for tier, used in zip(report.tiers, on_disk(*tiers), strict=True):
            assert 5 * MIB < used <= tier.quota
        assert opened(lab, node, "big.bin") == 2
        sent = report.counters["server_bytes_sent"]
        origin.reset()

        other = fsspec.filesystem(
            "cachectl", socket=node.socket, verify="EveryRead", skip_instance_cache=True
        )
        assert other.cat(list(contents)) == contents

        assert origin.body_bytes() == 0
        assert lab.count("server_bytes_sent", node) - sent < MIB, "bytes came by descriptor"
        lab.stop()


def data_files(lab, node, data: bytes) -> list[Path]:
    """Return the files of a node's tier that hold these bytes."""
    found = (lab.folder / "tiers" / node.name).rglob("*.data")
    return [file for file in found if file.read_bytes() == data]


def opened(lab, node, path: str) -> int:
    """Return in how many tiers the agent has a file of an object."""
    target = f"/v1/open/blob?dataset=team/images&path=train/{path}"
    status, _, body = lab.ask(node, "GET", target)
    assert status == 200, body
    return len(json.loads(body)["tiers"])
