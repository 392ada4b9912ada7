"""The graph at work: a miss asks the nearest known holder before the owner."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from runtime.contract.units import MIB

RING = (0, 1, 3, 4, 2)
"""The reader's neighbours are ``near`` and ``far``; the owners are out of its sight."""


@pytest.fixture(name="files")
def _files(origin):
    files = {name: random.Random(name).randbytes(2 * MIB) for name in ("a", "b", "c")}
    for name, data in files.items():
        (origin.folder / name).write_bytes(data)
    return files


@pytest.fixture(name="ring")
def _ring(lab, origin, files):
    """A ring of five of which two own; all run but the reader. ``far`` would sort first."""
    for name in ("reader", "z-near", "a-far", "owner-0", "owner-1"):
        lab.add(name)
    zones = {"reader": "z1", "z-near": "z1"}
    members = tuple(
        replace(member, zone=zones.get(member.name, "z2"))
        if member.name.startswith("owner")
        else replace(member, zone=zones.get(member.name, "z2"), role="client", weight=0.0)
        for member in lab.members("cloud")
    )
    dataset = lab.dataset(origin.source)
    lab.plan("cloud", datasets=(dataset,), members=members, rings=(RING,), degree=2)
    running = [node for node in lab.nodes.values() if node.name != "reader"]
    lab.start(*running)
    lab.until_ready(*running)
    return [lab.nodes[name] for name in ("reader", "z-near", "a-far", "owner-0", "owner-1")]


def start_reader(lab, reader) -> None:
    """Start the reader and wait until it knows what its two neighbours hold."""
    lab.start(reader)
    lab.until_ready(reader)
    lab.until(lambda: lab.count("summaries_received", reader) >= 2, what="the first summaries")


def test_a_neighbour_that_holds_a_copy_is_asked_before_the_owner_own_zone_first(lab, ring, files):
    reader, near, far, *owners = ring
    assert lab.read(far, "train/a") == files["a"]
    for node in (far, near):
        assert lab.read(node, "train/b") == files["b"]
    for node, units in ((far, 2), (near, 1)):
        lab.until(lambda n=node, u=units: lab.report(n).announced_units == u, what="announcing")
    start_reader(lab, reader)
    owned = lab.count("served_units", *owners)
    served = {node.name: lab.count("served_units", node) for node in (near, far)}

    assert lab.read(reader, "train/a") == files["a"]
    assert lab.count("served_units", far) == served["a-far"] + 1

    assert lab.read(reader, "train/b") == files["b"]
    assert lab.count("served_units", near) == served["z-near"] + 1
    assert lab.count("served_units", far) == served["a-far"] + 1

    counters = lab.report(reader).counters
    assert (counters["holder_units"], counters["owner_units"]) == (2, 0)
    assert lab.count("served_units", *owners) == owned


def test_what_nobody_near_holds_comes_from_the_owner(lab, ring, files):
    reader, near, far, *_ = ring
    start_reader(lab, reader)

    assert lab.read(reader, "train/a") == files["a"]

    counters = lab.report(reader).counters
    assert (counters["holder_units"], counters["owner_units"]) == (0, 1)
    assert lab.count("served_units", near, far) == 0


def test_what_a_neighbour_has_taken_up_since_is_announced(lab, ring, files):
    reader, near, *_ = ring
    start_reader(lab, reader)
    before = lab.count("summaries_received", reader)

    lab.read(near, "train/c")
    lab.until(lambda: lab.report(near).announced_units == 1, what="announcing")
    lab.until(lambda: lab.count("summaries_received", reader) > before, what="a new summary")

    assert lab.read(reader, "train/c") == files["c"]
    assert lab.count("holder_units", reader) == 1
