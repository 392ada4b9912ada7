"""Bytes that changed on disk behind the store's back are never given out, and are counted."""

from __future__ import annotations

import os

import pytest

from tests.support.store import (
    DATASET,
    KIB,
    MIB,
    a_pack,
    an_object,
    content,
    fill,
    flip,
    present,
    right,
    tier,
)


@pytest.fixture
def store(open_store, root):
    return open_store(tier(root, 8 * MIB))


@pytest.fixture
def thing(store):
    blob = store.blob(an_object(1, cells=3, chunk=192 * KIB), dataset=DATASET, policy="Epoch")
    fill(store, blob)
    return blob


@pytest.fixture
def pack(store):
    blob = store.blob(a_pack(2, [900, 5_000, 33]), dataset=DATASET, policy="Epoch")
    fill(store, blob)
    return blob


@pytest.mark.parametrize("at", [0, 70_000, 192 * KIB - 1])
def test_a_flipped_byte_is_found_by_a_read_of_its_segment(store, thing, root, at):
    flip(root, thing.layout, 1, at=at)
    far = (at + 80_000) % (192 * KIB) // (64 * KIB) * 64 * KIB
    assert thing.verified_read(1, far, far + 10) == content(thing.layout, 1)[far : far + 10]
    assert thing.verified_read(1, at, at + 1) is None
    assert store.counters.corrupt_cells == 1
    assert present(thing) == {0, 2}
    assert fill(store, thing, 1)
    assert right(thing, 1)


def test_a_flipped_byte_is_found_by_a_whole_read_and_by_verify(store, thing, root):
    flip(root, thing.layout, 0, at=100)
    flip(root, thing.layout, 2, at=100_000)
    assert thing.verified_read(0) is None
    assert not thing.verify(2)
    assert thing.verify(1)
    assert store.counters.corrupt_cells == 2
    assert present(thing) == {1}


def test_a_flipped_byte_in_a_pack_takes_one_member(store, pack, root):
    flip(root, pack.layout, 1, at=4_000)
    assert pack.verified_read(1, 0, 10) is None
    assert right(pack, 0)
    assert right(pack, 2)
    assert pack.missing(0) == [1]


def test_a_wrong_checksum_is_found_too(store, thing, root):
    path = next(root.rglob(f"{thing.layout.key}.map"))
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), b"\xff" * 8, 64 + 8 * 3 * 2 + 8 * 4)  # chunk 1, segment 1
    assert right(thing, 1), "the sum of the whole is untouched"
    assert not thing.verify(1)
    assert present(thing) == {0, 2}


def test_the_scrubber_finds_and_counts(store, thing, pack, root):
    flip(root, thing.layout, 1)
    flip(root, pack.layout, 2)
    steps = list(store.scrub())
    assert [(step.key, step.cell) for step in steps if not step.good] == [
        (thing.layout.key, 1),
        (pack.layout.key, 2),
    ]
    assert len(steps) == 6
    assert store.counters.corrupt_cells == 2
    assert store.counters.scrubbed_bytes == sum(step.size for step in steps if step.good)
    assert present(thing) == {0, 2}
    assert all(step.good for step in store.scrub())


def test_a_hole_where_bytes_should_be_is_found(store, thing, root):
    os.truncate(next(root.rglob(f"{thing.layout.key}.data")), 100)
    assert thing.verified_read(2) is None
    assert thing.verified_read(1, 5, 9) is None
    assert store.counters.corrupt_cells == 2


def test_the_last_bad_cell_takes_its_files_with_it(store, root):
    blob = store.blob(an_object(5, cells=1), dataset=DATASET, policy="Epoch")
    fill(store, blob)
    flip(root, blob.layout, 0)
    assert not blob.verify(0)
    assert store.tiers()[0].used == 0


def test_a_pinned_bad_cell_is_not_punched_under_its_send(store, thing, root):
    with thing.pin(1):
        place = thing.locate(1)
        flip(root, thing.layout, 1, at=5)
        assert not thing.verify(1)
        sent = os.pread(place.fd, place.length, place.offset)
        assert sent[6:] == content(thing.layout, 1)[6:]
    assert fill(store, thing, 1)
    assert right(thing, 1)
