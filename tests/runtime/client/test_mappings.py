"""Objects mapped from a real agent's store, while that evicts, restarts and follows versions."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import replace

import pytest

from runtime.client.failures import StoreFull
from runtime.client.filesystem import CacheFileSystem
from tests.support.lab import MIB, Lab
from tests.support.lab_origin import LabOrigin

QUOTA = 26 * MIB
SIZE = 5 * MIB
FOLDER = "team/images/train"
NAMES = [f"{number}.bin" for number in range(8)]

CHILD = """
import sys
from runtime.client.filesystem import CacheFileSystem
view = CacheFileSystem(socket=sys.argv[1]).open(sys.argv[2]).mmap()
print(len(view), flush=True)
sys.stdin.read()
"""


class Node:
    """A LocalOnly agent whose tier holds five of the eight objects."""

    def __init__(self, folder) -> None:
        (folder / "origin").mkdir()
        self.files = {name: random.Random(name).randbytes(SIZE) for name in NAMES}
        self.files["small.txt"] = b"a small one"
        for name, data in self.files.items():
            (folder / "origin" / name).write_bytes(data)
        self.origin = LabOrigin(folder / "origin")
        self.lab = Lab(folder / "lab")
        self.node = self.lab.add("n0", domain=None)
        self.tier = self.lab.tier(QUOTA)
        self.dataset = self.lab.dataset(self.origin.source, cache_policy="Serving")
        self.lab.plan(None, datasets=(self.dataset,), tiers=(self.tier,))
        self.start()

    def start(self) -> None:
        self.lab.start()
        self.lab.until_ready()

    def stop(self) -> None:
        self.lab.stop()
        self.origin.stop()

    @property
    def used(self) -> int:
        return self.lab.report(self.node).tiers[0].used

    def churn(self, fs, *kept: str) -> None:
        """Read all others, more than the tier holds."""
        for name in NAMES:
            if name not in kept:
                assert fs.cat(f"{FOLDER}/{name}") == self.files[name]

    def publish(self, name: str, data: bytes) -> None:
        """Put another version at the origin and have a snapshot of it."""
        before = self.lab.report(self.node).datasets[0].snapshot
        self.origin.replace(name, data)
        self.dataset = replace(self.dataset, snapshot_request=f"after {before}")
        self.lab.plan(None, datasets=(self.dataset,), tiers=(self.tier,))
        self.lab.until(
            lambda: self.lab.report(self.node).datasets[0].snapshot != before, what="a snapshot"
        )


@pytest.fixture(name="node")
def _node(tmp_path):
    node = Node(tmp_path)
    try:
        yield node
        assert "Traceback" not in node.node.log(), node.node.log()
    finally:
        node.stop()


@pytest.fixture(name="fs")
def _fs(node):
    return CacheFileSystem(socket=node.node.socket, skip_instance_cache=True)


def test_a_mapping_is_a_read_only_view_that_outlives_its_file(node, fs):
    with fs.open(f"{FOLDER}/0.bin") as file:
        view = file.mmap()
        assert file.mmap() == view
        file.mmap().release()
    assert view.readonly
    assert view == node.files["0.bin"]
    assert node.origin.requests("0.bin") == 2  # a chunk each
    with pytest.raises(ValueError, match="closed"):
        file.mmap()


def test_a_small_object_gives_a_view_of_its_copy(node, fs):
    with fs.open(f"{FOLDER}/small.txt") as file:
        view = file.mmap()
    assert view.readonly
    assert bytes(view) == b"a small one"


def test_eviction_passes_over_what_is_mapped_also_after_a_restart(node, fs):
    view = fs.open(f"{FOLDER}/0.bin").mmap()
    node.churn(fs, "0.bin")
    assert node.lab.count("store_evictions", node.node) > 0
    assert view == node.files["0.bin"]

    node.node.kill()
    node.start()
    node.churn(fs, "0.bin")
    assert node.lab.count("store_evictions", node.node) > 0
    assert view == node.files["0.bin"]
    assert fs.cat(f"{FOLDER}/0.bin") == node.files["0.bin"]
    assert node.origin.requests("0.bin") == 2


def test_a_reader_that_is_killed_holds_nothing(node, fs):
    command = [sys.executable, "-c", CHILD, node.node.socket, f"{FOLDER}/0.bin"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == f"{SIZE}\n"
        node.churn(fs, "0.bin")
        assert fs.cat(f"{FOLDER}/0.bin") == node.files["0.bin"]
        assert node.origin.requests("0.bin") == 2
        child.kill()

    def has_left() -> bool:
        node.churn(fs, "0.bin")
        return fs.cat(f"{FOLDER}/0.bin") == node.files["0.bin"] and (
            node.origin.requests("0.bin") > 2
        )

    node.lab.until(has_left, 60, "the mapped object's turn to leave")


def test_a_mapping_keeps_its_version_and_its_charge(node, fs):
    file = fs.open(f"{FOLDER}/0.bin")
    view = file.mmap()
    file.close()
    changed = bytes(reversed(node.files["0.bin"]))
    node.publish("0.bin", changed)
    assert fs.cat(f"{FOLDER}/0.bin") == changed
    node.churn(fs, "0.bin")
    assert view == node.files["0.bin"]
    node.lab.until(lambda: node.used <= QUOTA)
    assert node.used <= QUOTA
    assert view == node.files["0.bin"]


def test_a_cell_that_decayed_is_found_when_it_is_mapped(node, fs):
    path = f"{FOLDER}/0.bin"
    assert fs.cat(path) == node.files["0.bin"]
    for data in (node.lab.folder / "tiers").rglob("*.data"):
        with data.open("r+b", buffering=0) as file:
            file.seek(4 * MIB + 17)
            old = file.read(1)
            file.seek(-1, 1)
            file.write(bytes([old[0] ^ 1]))

    assert fs.open(path).mmap() == node.files["0.bin"]
    assert node.lab.count("healed_cells", node.node) == 1
    every = CacheFileSystem(socket=node.node.socket, verify="EveryRead", skip_instance_cache=True)
    with every.open(path) as file:
        assert file.mmap() == node.files["0.bin"]
        assert file.mmap() == node.files["0.bin"]


def test_what_cannot_be_held_says_so_and_can_be_read(node, fs):
    held = [fs.open(f"{FOLDER}/{name}").mmap() for name in NAMES[:3]]
    with pytest.raises(StoreFull, match="three quarters"):
        fs.open(f"{FOLDER}/3.bin").mmap()
    assert fs.open(f"{FOLDER}/3.bin").read() == node.files["3.bin"]
    held.pop().release()
    assert fs.open(f"{FOLDER}/3.bin").mmap() == node.files["3.bin"]


def test_an_object_larger_than_the_store_cannot_be_mapped(node, fs):
    node.lab.plan(None, datasets=(node.dataset,), tiers=(node.lab.tier(4 * MIB),))

    node.lab.until(lambda: node.lab.report(node.node).tiers[0].quota == 4 * MIB)
    with pytest.raises(StoreFull, match="does not keep all of"):
        fs.open(f"{FOLDER}/0.bin").mmap()
    assert fs.cat(f"{FOLDER}/0.bin") == node.files["0.bin"]
