"""A Dataset that is removed and made anew under its readers."""

from __future__ import annotations

import random
from dataclasses import replace

import fsspec
import pytest

from runtime.contract.units import MIB
from tests.support.lab import UnixConnection

PATH = "train/big"


@pytest.fixture(name="node")
def _node(lab, origin):
    (origin.folder / "big").write_bytes(random.Random(1).randbytes(2 * MIB))
    node = lab.add("n0", domain=None)
    lab.plan(None, datasets=(lab.dataset(origin.source),))
    lab.start()
    lab.until_ready()
    return node


def client(node):
    return fsspec.filesystem("cachectl", socket=node.socket, skip_instance_cache=True, timeout=3)


def remake(lab, origin, node):
    plan = lab.plan(None, datasets=())
    lab.until(lambda: lab.report(node).plan_generation == plan.generation)
    lab.plan(None, datasets=(lab.dataset(origin.source),))
    lab.until_ready()


def test_a_running_client_reads_the_dataset_that_was_made_anew(lab, origin, node):
    fs = client(node)
    assert fs.cat_file(f"team/images/{PATH}") == (origin.folder / "big").read_bytes()
    origin.replace("big", b"2" * 2 * MIB)

    remake(lab, origin, node)

    def reads_the_new_one() -> bool:
        try:
            return fs.cat_file(f"team/images/{PATH}") == b"2" * 2 * MIB
        except OSError:
            return False

    lab.until(reads_the_new_one, timeout=5, what="the client finding the new Dataset")


def test_a_reader_of_before_ends_no_hold_on_the_dataset_made_anew(lab, origin, node):
    """The listing is the same, so both Datasets' snapshots have one name."""
    before = UnixConnection(node.socket)
    before.request("GET", "/v1/open/catalog?dataset=team/images")
    assert before.getresponse().read()
    remake(lab, origin, node)
    data = (origin.folder / "big").read_bytes()
    fs = client(node)
    handle = fs.open(f"team/images/{PATH}")
    assert handle.read() == data
    old = lab.report(node).datasets[0].snapshot
    before.close()
    lab.until(lambda: lab.settled(node))

    origin.replace("big", b"2" * 2 * MIB)
    again = replace(lab.dataset(origin.source), snapshot_request="again")
    lab.plan(None, datasets=(again,))
    lab.until(lambda: lab.report(node).datasets[0].snapshot != old, what="the new snapshot")

    assert fs.cat_file(f"team/images/{PATH}") == b"2" * 2 * MIB
    status, _, body = lab.ask(node, "GET", f"/team/images/{PATH}?snapshot={old}")
    assert (status, body == data) == (200, True)

    handle.close()
    del handle
    lab.until(
        lambda: lab.ask(node, "GET", f"/team/images/{PATH}?snapshot={old}")[0] == 503,
        what="the old snapshot to leave with its last reader",
    )
