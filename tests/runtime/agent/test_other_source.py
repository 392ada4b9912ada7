"""A mount that is pointed at another source whose objects look the same from outside."""

from __future__ import annotations

import hashlib
import os
import random
from dataclasses import replace

import fsspec
import pytest

from runtime.contract.units import MIB
from tests.support.lab_origin import LabOrigin

SIZES = {"small.bin": 9000, "large.bin": 9 * MIB}
WRITTEN_NS = 1_700_000_000_000_000_000


def made(folder, seed: int) -> None:
    """Write files whose sizes and etags are those of every seed, and a list of their digests."""
    files = {name: random.Random(f"{seed} {name}").randbytes(size) for name, size in SIZES.items()}
    for name, data in files.items():
        (folder / name).write_bytes(data)
        os.utime(folder / name, ns=(WRITTEN_NS, WRITTEN_NS))
    sums = (f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items())
    (folder / "sums.txt").write_text("".join(sums))


@pytest.fixture(name="other")
def _other(tmp_path):
    folder = tmp_path / "other"
    folder.mkdir()
    origin = LabOrigin(folder)
    yield origin
    origin.stop()


def digested(lab, source: str, request: str):
    """Return a Dataset that follows the list of digests at a source."""
    plan = lab.dataset(source, snapshot_request=request)
    return replace(plan, mounts=(replace(plan.mounts[0], options={"manifest": "sums.txt"}),))


def opened(node):
    fs = fsspec.filesystem("cachectl", socket=node.socket, skip_instance_cache=True)
    return fs.open("team/images/train/large.bin")


def point_at(lab, source: str) -> None:
    followed = {node.name: lab.report(node).datasets[0].snapshot for node in lab.nodes.values()}
    lab.plan("cloud", datasets=(digested(lab, source, "second"),))
    for node in lab.nodes.values():
        lab.until(lambda node=node: lab.report(node).datasets[0].snapshot != followed[node.name])


@pytest.fixture(name="nodes")
def _nodes(lab, origin, other):
    made(origin.folder, 1)
    made(other.folder, 2)
    nodes = [lab.add("n0"), lab.add("n1")]
    lab.plan("cloud", datasets=(digested(lab, origin.source, "first"),))
    lab.start()
    lab.until_ready()
    return nodes


def test_digests_tell_objects_of_one_name_size_and_etag_apart(lab, origin, other, nodes):
    for name in SIZES:
        assert lab.read(nodes[0], f"train/{name}") == (origin.folder / name).read_bytes()
    point_at(lab, other.source)
    for node in nodes:
        for name in SIZES:
            assert lab.read(node, f"train/{name}") == (other.folder / name).read_bytes()


def test_an_open_file_is_never_filled_up_from_another_source(lab, origin, other, nodes):
    data = (origin.folder / "large.bin").read_bytes()
    with opened(nodes[0]) as file:
        assert file.read(MIB) == data[:MIB]
        point_at(lab, other.source)
        assert file.read() == data[MIB:]
