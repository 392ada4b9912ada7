"""Blobs that readers have mapped: what holds them, what that keeps from leaving, and for how long.

The reader's side is its descriptor and its mapping, as the kernel knows no other.
"""

from __future__ import annotations

import mmap
import os

import pytest

from runtime.errors import NoRoom, NotCached
from tests.support.store import DATASET, KIB, an_object, content, fill, on_disk, right, tier

LAYOUTS = [an_object(number) for number in range(6)]
ONE = 80 * KIB
"""An object of 64 KiB and its files."""


def blob_of(store, layout):
    return store.blob(layout, dataset=DATASET, policy="Serving")


def mapped(blob):
    """Map a blob as a reader does that keeps no descriptor."""
    files = blob.lend()
    view = mmap.mmap(files.data_fd, blob.layout.size, access=mmap.ACCESS_READ)
    os.close(files.data_fd)
    os.close(files.map_fd)
    return view


def bytes_of(layout):
    return b"".join(content(layout, cell) for cell in range(layout.cells))


def test_others_leave_before_what_is_mapped(open_store, root):
    store = open_store(tier(root, 3 * ONE))
    first, *rest = [blob_of(store, layout) for layout in LAYOUTS]
    assert fill(store, first)
    view = mapped(first)

    for blob in rest:
        assert fill(store, blob)
        assert view[:] == bytes_of(first.layout)
    assert store.counters.evictions
    assert all(right(first, cell) for cell in range(first.layout.cells))

    view.close()
    for layout in LAYOUTS[1:]:
        fill(store, blob_of(store, layout))
    assert not first.present(0)


def test_a_hold_outlives_the_store_that_gave_it(open_store, root):
    plan = tier(root, 3 * ONE)
    store = open_store(plan)
    first = blob_of(store, LAYOUTS[0])
    assert fill(store, first)
    view = mapped(first)
    store.close(sync=False)

    store = open_store(plan)
    for layout in LAYOUTS[1:]:
        assert fill(store, blob_of(store, layout))
    assert store.counters.evictions
    assert view[:] == bytes_of(LAYOUTS[0])
    assert right(blob_of(store, LAYOUTS[0]), 0)


def test_what_is_dropped_stays_charged_until_the_last_mapping_ends(open_store, root):
    store = open_store(tier(root, 3 * ONE))
    first = blob_of(store, LAYOUTS[0])
    assert fill(store, first)
    files = first.lend()
    view = mapped(first)
    # A reader that only preads has the bytes taken away once nothing maps them.
    reader = os.open(f"/proc/self/fd/{files.data_fd}", os.O_RDONLY)
    used = store.tiers()[0].used
    store.drop(first.layout.key)

    assert store.tiers()[0].used == used
    assert view[:] == bytes_of(first.layout)
    os.close(files.data_fd)
    os.close(files.map_fd)
    assert store.tiers()[0].used == used
    view.close()
    assert store.tiers()[0].used == 0
    assert os.fstat(reader).st_blocks == 0
    os.close(reader)
    assert on_disk(root) == 0


def test_what_only_waits_for_a_mapping_makes_room_when_it_ends(open_store, root):
    store = open_store(tier(root, ONE + 20 * KIB))
    first, second = (blob_of(store, layout) for layout in LAYOUTS[:2])
    assert fill(store, first)
    view = mapped_beyond_limit(store, first)
    store.drop(first.layout.key)

    assert not fill(store, second)
    view.close()
    assert fill(store, second)


def mapped_beyond_limit(store, blob):
    """Map a blob that is most of its tier: the limit is the agent's care, not the kernel's."""
    with pytest.raises(NoRoom, match="three quarters"):
        blob.lend()
    plan = store._room.tiers[0].plan
    store._room.tiers[0].plan = tier(plan.path, 10 * ONE)
    view = mapped(blob)
    store._room.tiers[0].plan = plan
    return view


def test_a_blob_with_a_cell_missing_is_not_lent(open_store, root):
    store = open_store(tier(root, 9 * ONE))
    blob = blob_of(store, LAYOUTS[0])
    with pytest.raises(NotCached, match="not wholly"):
        blob.lend()
    assert fill(store, blob, 0, 1, 3)
    with pytest.raises(NotCached, match="not wholly"):
        blob.lend()


def test_a_smaller_quota_waits_for_mappings(open_store, root):
    store = open_store(tier(root, 9 * ONE))
    blobs = [blob_of(store, layout) for layout in LAYOUTS[:3]]
    for blob in blobs:
        assert fill(store, blob)
    view = mapped(blobs[1])
    store.retier([tier(root, 8 * KIB)])

    assert [blob.present(0) for blob in blobs] == [False, True, False]
    assert view[:] == bytes_of(blobs[1].layout)
    view.close()


def test_a_tier_that_is_removed_leaves_its_bytes_to_the_mappings(open_store, root, tmp_path):
    store = open_store(tier(root, 9 * ONE))
    blob = blob_of(store, LAYOUTS[0])
    assert fill(store, blob)
    view = mapped(blob)
    store.retier([tier(tmp_path / "other", 9 * ONE)])

    assert view[:] == bytes_of(LAYOUTS[0])
    assert not list(root.rglob("*.data"))
    view.close()


def test_the_end_of_a_mapping_takes_nothing_from_what_is_being_sent(open_store, root):
    store = open_store(tier(root, 9 * ONE))
    blob = blob_of(store, LAYOUTS[0])
    assert fill(store, blob)
    view = mapped(blob)
    with blob.pin(0):
        place = blob.locate(0)
        store.drop(blob.layout.key)
        view.close()
        assert store.tiers()[0].used
        assert os.pread(place.fd, place.length, place.offset) == content(blob.layout, 0)
    assert store.tiers()[0].used == 0


def test_what_is_being_sent_from_a_removed_tier_keeps_its_descriptor(open_store, root, tmp_path):
    store = open_store(tier(root, 9 * ONE))
    blob = blob_of(store, LAYOUTS[0])
    assert fill(store, blob)
    view = mapped(blob)
    with blob.pin(0):
        place = blob.locate(0)
        store.retier([tier(tmp_path / "other", 9 * ONE)])
        assert os.pread(place.fd, place.length, place.offset) == content(blob.layout, 0)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(place.fd)
    assert view[:] == bytes_of(LAYOUTS[0])
    view.close()


def test_what_is_being_sent_when_a_store_closes_keeps_its_descriptor(open_store, root):
    store = open_store(tier(root, 9 * ONE))
    blob = blob_of(store, LAYOUTS[0])
    assert fill(store, blob)
    view = mapped(blob)
    with blob.pin(0):
        place = blob.locate(0)
        store.drop(blob.layout.key)
        store.close(sync=False)
        assert os.pread(place.fd, place.length, place.offset) == content(blob.layout, 0)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(place.fd)
    assert view[:] == bytes_of(LAYOUTS[0])
    view.close()


def test_a_cell_that_fails_under_a_mapping_is_filled_in_place(open_store, root):
    store = open_store(tier(root, 9 * ONE))
    blob = blob_of(store, LAYOUTS[0])
    assert fill(store, blob)
    view = mapped(blob)
    path = next(root.rglob("*.data"))
    with path.open("r+b", buffering=0) as file:
        os.pwrite(file.fileno(), b"\0" * 100, 0)
    assert not blob.verify(0)

    with store.reserve(blob, [0], spare=False):
        pass  # called off: the bytes that the reader has must stay all the same
    assert view[100:] == bytes_of(LAYOUTS[0])[100:]
    assert fill(store, blob, 0)
    assert view[:] == bytes_of(LAYOUTS[0])
    view.close()
