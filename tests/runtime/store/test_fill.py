"""What is written can be read; what is not committed is not there."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runtime.contract.cellmap import CellMap
from runtime.contract.layout import ObjectLayout
from runtime.contract.units import SEGMENT, checksum
from runtime.errors import ConfigError
from tests.support.store import (
    DATASET,
    KIB,
    MIB,
    a_pack,
    an_object,
    blob_files,
    content,
    fill,
    on_disk,
    present,
    right,
    tier,
)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def store(open_store, root):
    return open_store(tier(root, 8 * MIB))


def test_cells_are_absent_until_they_are_committed(store):
    layout = an_object(1)
    blob = store.blob(layout, dataset=DATASET, policy="Epoch")
    with store.reserve(blob, [0, 2], spare=False) as reservation:
        assert reservation.cells == {0, 2}
        reservation.write(0, content(layout, 0))
        assert not blob.present(0)
        assert blob.verified_read(0) is None
        reservation.write(2, content(layout, 2))
        assert reservation.commit()
    assert present(blob) == {0, 2}
    assert right(blob, 0)
    assert right(blob, 2)
    assert blob.missing(1) == [1]
    assert blob.missing(2) == []
    assert blob.complete(2)
    assert not blob.complete(3)


def test_the_last_chunk_may_be_short_and_odd(store):
    layout = an_object(1, cells=2, chunk=128 * KIB, short=5_001)
    blob = store.blob(layout, dataset=DATASET, policy="Epoch")
    assert fill(store, blob)
    assert right(blob, 1)
    assert store.usage(DATASET) == (layout.size, 0)


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, None), (0, 1), (1, 2), (SEGMENT - 1, SEGMENT + 1), (SEGMENT, 2 * SEGMENT),
     (70_000, 190_000), (5, 5), (180_000, 10_000_000), (10_000_000, None)],
)  # fmt: skip
def test_any_range_of_a_chunk_reads_like_a_slice(store, start, stop):
    layout = an_object(1, cells=2, chunk=192 * KIB, short=777)
    blob = store.blob(layout, dataset=DATASET, policy="Epoch")
    fill(store, blob)
    for cell in range(2):
        assert blob.verified_read(cell, start, stop) == content(layout, cell)[start:stop]


def test_members_of_a_pack_are_cells_of_their_own(store):
    layout = a_pack(2, [10_000, 1, 4_096, 7, 123, 50_000], per_group=4)
    blob = store.blob(layout, dataset=DATASET, policy="Epoch")
    assert fill(store, blob, 1, 3)
    assert blob.missing(0) == [0, 2]
    assert fill(store, blob, *layout.unit_cells(0))
    assert fill(store, blob, 4)
    assert present(blob) == {0, 1, 2, 3, 4}
    assert all(right(blob, cell) for cell in range(5))
    assert blob.verified_read(0, 100, 200) == content(layout, 0)[100:200]
    assert blob.sums(1) == [checksum(content(layout, 4)), 0]


def test_sums_are_those_of_present_cells_only(store):
    layout = an_object(1)
    blob = store.blob(layout, dataset=DATASET, policy="Epoch")
    fill(store, blob, 1)
    assert blob.sums(1) == [checksum(content(layout, 1))]
    assert blob.sums(0) == [0]


def test_write_returns_the_sum_and_refuses_another_length(store):
    layout = an_object(1)
    blob = store.blob(layout, dataset=DATASET, policy="Epoch")
    with store.reserve(blob, [0], spare=False) as reservation:
        with pytest.raises(ValueError, match="cell 0 has 16384 bytes, 3 were given"):
            reservation.write(0, b"abc")
        assert reservation.write(0, content(layout, 0)) == checksum(content(layout, 0))
        assert reservation.write(1, content(layout, 1)) == checksum(content(layout, 1))
        reservation.commit()
    assert present(blob) == {0}, "a cell that was not reserved is only summed"


def test_an_aborted_fill_leaves_nothing_behind(store, root):
    layout = an_object(1)
    blob = store.blob(layout, dataset=DATASET, policy="Epoch")
    with store.reserve(blob, [0, 1], spare=False) as reservation:
        reservation.write(0, content(layout, 0))
    assert present(blob) == set()
    assert blob_files(root) == []
    assert store.tiers()[0].used == 0
    assert not reservation.commit()


def test_what_was_not_written_is_not_published(store):
    blob = store.blob(an_object(1), dataset=DATASET, policy="Epoch")
    with store.reserve(blob, [0, 1], spare=False) as reservation:
        reservation.write(1, content(blob.layout, 1))
        assert reservation.commit()
    assert present(blob) == {1}
    assert fill(store, blob, 0)


def test_a_cell_is_filled_by_one_reservation_at_a_time(store):
    blob = store.blob(a_pack(1, [100] * 4), dataset=DATASET, policy="Epoch")
    with store.reserve(blob, [1], spare=False) as first:
        with store.reserve(blob, range(4), spare=False) as second:
            assert second.cells == {0, 2, 3}
            for cell in second.cells:
                second.write(cell, content(blob.layout, cell))
            second.commit()
        first.write(1, content(blob.layout, 1))
        first.commit()
    assert all(right(blob, cell) for cell in range(4))
    with store.reserve(blob, range(4), spare=False) as third:
        assert third.cells == set()


def test_a_write_that_outlives_its_reservation_is_not_seen(open_store, root):
    """A cancelled fetch: its thread is still writing when the reservation ends."""
    reached, go_on = threading.Event(), threading.Event()

    def hold(point):
        if point == "fill.after-write" and not reached.is_set():
            reached.set()
            go_on.wait(10)

    store = open_store(tier(root, MIB), fault=hold)
    blob = store.blob(an_object(1), dataset=DATASET, policy="Epoch")
    reservation = store.reserve(blob, [0], spare=False)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(reservation.write, 0, content(blob.layout, 0))
        assert reached.wait(10)
        assert not reservation.commit()
        assert store.tiers()[0].used > 0, "its room is charged while it writes"
        assert store.reserve(blob, [0], spare=False).cells == set()
        go_on.set()
        writing.result()
    assert store.tiers()[0].used == 0
    assert on_disk(root) == 0
    assert fill(store, blob, 0)
    assert right(blob, 0)


def test_writes_from_many_threads_at_once(store):
    layout = an_object(1, cells=64)
    blob = store.blob(layout, dataset=DATASET, policy="Epoch")
    with store.reserve(blob, range(64), spare=False) as reservation, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda cell: reservation.write(cell, content(layout, cell)), range(64)))
        reservation.commit()
    assert all(right(blob, cell) for cell in range(64))


def test_descriptors_for_readers_show_the_same_bytes_and_cannot_write(store):
    layout = an_object(1)
    blob = store.blob(layout, dataset=DATASET, policy="Epoch")
    with blob.files() as files:
        assert files == ()
    fill(store, blob, 0)
    with blob.files() as ((number, data_fd, map_fd),):
        assert number == 0
        cells = CellMap(map_fd)
        start, stop = layout.cell_range(0)
        assert cells.present(0)
        assert not cells.present(1)
        assert os.pread(data_fd, stop - start, start) == content(layout, 0)
        cells.close()
        for fd in (data_fd, map_fd):
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.pwrite(fd, b"x", 0)


def test_locate_gives_the_place_of_a_pinned_cell(store):
    layout = an_object(1)
    blob = store.blob(layout, dataset=DATASET, policy="Epoch")
    fill(store, blob, 1)
    with blob.pin(0) as pin:
        assert not pin.held
        assert blob.locate(0) is None
    with pytest.raises(RuntimeError, match="pinned"):
        blob.locate(1)
    with blob.pin(1) as pin:
        assert pin.held
        place = blob.locate(1)
        assert os.pread(place.fd, place.length, place.offset) == content(layout, 1)


def test_descriptors_are_limited_and_opened_again(open_store, root):
    store = open_store(tier(root, 8 * MIB), max_open=3)
    blobs = [store.blob(an_object(number), dataset=DATASET, policy="Epoch") for number in range(20)]
    for blob in blobs:
        fill(store, blob, 0)
    before = open_descriptors()
    for _ in range(2):
        assert all(right(blob, 0) for blob in blobs)
    assert open_descriptors() <= before + 2
    with blobs[0].pin(0):
        place = blobs[0].locate(0)
        assert all(right(blob, 0) for blob in blobs[1:])
        assert os.pread(place.fd, place.length, place.offset) == content(blobs[0].layout, 0)


def test_one_key_is_one_blob_and_another_layout_starts_anew(store):
    layout = an_object(1)
    blob = store.blob(layout, dataset=DATASET, policy="Epoch")
    fill(store, blob)
    assert store.blob(an_object(1), dataset=DATASET, policy="Epoch") is blob
    assert store.find(layout.key) is blob
    assert store.datasets() == [DATASET]
    other = ObjectLayout(layout.key, layout.size, 2 * layout.chunk)
    anew = store.blob(other, dataset=DATASET, policy="Epoch")
    assert anew is not blob
    assert present(anew) == set()
    assert store.tiers()[0].used == 0
    assert store.reserve(blob, [0], spare=False) is None, "the old one is gone"


@pytest.mark.parametrize("name", ["../x", "ns", "ns/../x", "/etc/x", "ns/a/b", "ns/", ".x/y"])
def test_a_dataset_name_never_leaves_the_tier(store, name):
    with pytest.raises(ConfigError, match="not namespace/name"):
        store.blob(an_object(1), dataset=name, policy="Epoch")


def test_units_must_begin_with_blocks(store):
    with pytest.raises(ConfigError, match="multiples of 4096"):
        store.blob(an_object(1, chunk=5000), dataset=DATASET, policy="Epoch")


def test_held_names_whole_units(store):
    blob = store.blob(a_pack(1, [100] * 8), dataset=DATASET, policy="Epoch")
    fill(store, blob, 0, 1, 2, 3, 4)
    assert list(store.held()) == [(blob.layout.key, 0)]
