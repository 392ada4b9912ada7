"""A store that serves before it knows all that it holds, and keeps what nobody uses as rows."""

from __future__ import annotations

import os
import shutil
import threading
import tracemalloc

import pytest

from runtime.contract.layout import ObjectLayout
from runtime.store.store import Store
from tests.support.store import (
    DATASET,
    KIB,
    MIB,
    a_pack,
    an_object,
    blob_files,
    content,
    fill,
    flip,
    on_disk,
    present,
    right,
    tier,
)

CHUNK = 16 * KIB
ONE = CHUNK + 4 * KIB + 8 * KIB
"""Charged for an object of one chunk."""
OBJECTS = sorted((an_object(number, cells=1) for number in range(8)), key=lambda one: one.key)
LONG = an_object(100, cells=5, short=100)
PACK = a_pack(101, [5_000, 12_000, 3, 70_000])
SERVING = "ns/serving"


def blob_of(store, layout, *, policy="Epoch", dataset=DATASET):
    return store.blob(layout, dataset=dataset, policy=policy)


def make(root, layouts, *, dataset=DATASET, quota=4 * MIB) -> None:
    """Leave a closed tier with these blobs, whole."""
    store = Store.open([tier(root, quota)], boot_id="boot-1")
    for layout in layouts:
        assert fill(store, blob_of(store, layout, dataset=dataset))
    store.close(sync=False)


@pytest.fixture
def filled(root):
    """A closed tier with eight small objects, a long one without chunk 2, and a pack."""
    make(root, [*OBJECTS, PACK])
    store = Store.open([tier(root, 4 * MIB)], boot_id="boot-1")
    fill(store, blob_of(store, LONG), 0, 1, 3, 4)
    store.close(sync=False)
    return root


def all_is_right(store) -> None:
    assert all(right(blob_of(store, layout), 0) for layout in OBJECTS)
    assert present(blob_of(store, LONG)) == {0, 1, 3, 4}
    assert present(blob_of(store, PACK)) == {0, 1, 2, 3}
    assert right(blob_of(store, LONG), 4)
    assert right(blob_of(store, PACK), 3)


class TestBeforeTheScanHasPassed:
    @pytest.fixture
    def store(self, filled, open_store):
        return open_store(tier(filled, 4 * MIB), at_once=0)

    def test_what_is_asked_for_is_served(self, store):
        assert store.recovering
        all_is_right(store)
        assert store.recovering

    def test_it_is_found_by_its_key_alone(self, store):
        assert store.datasets() == [DATASET]
        assert right(store.find(OBJECTS[5].key), 0)

    def test_it_is_counted_once(self, store, filled):
        all_is_right(store)
        used, usage = store.tiers()[0].used, store.usage(DATASET)
        assert not store.continue_recovery()
        assert (store.tiers()[0].used, store.usage(DATASET)) == (used, usage)
        assert on_disk(filled) <= used

    def test_nothing_is_admitted(self, store):
        new = blob_of(store, an_object(50))
        assert not fill(store, new)
        assert not fill(store, blob_of(store, LONG), 2)
        store.continue_recovery()
        assert fill(store, new)
        assert fill(store, blob_of(store, LONG), 2)

    def test_the_report_says_so(self, store):
        report = store.tiers()[0]
        assert report.state == "Recovering"
        assert "takes new bytes when this is done" in report.message
        store.continue_recovery()
        report = store.tiers()[0]
        assert (report.state, report.message) == ("Normal", "")

    def test_the_next_tier_admits(self, filled, open_store, tmp_path, store):
        store.close(sync=False)
        store = open_store(tier(tmp_path / "empty", MIB), tier(filled, 4 * MIB), at_once=0)
        store.continue_recovery(1)  # the empty one is through, and the other has begun
        assert [one.state for one in store.tiers()] == ["Normal", "Recovering"]
        assert fill(store, blob_of(store, LONG), 2)
        assert present(blob_of(store, LONG)) == {0, 1, 2, 3, 4}

    def test_a_dropped_blob_stays_away(self, store, filled):
        assert store.drop(OBJECTS[3].key) == ONE
        assert store.drop(PACK.key, dataset=DATASET) > 0
        store.continue_recovery()
        assert present(blob_of(store, OBJECTS[3])) == set()
        assert present(blob_of(store, PACK)) == set()
        keys = {path.stem for path in blob_files(filled)}
        assert not keys & {OBJECTS[3].key, PACK.key}
        assert store.counters.removed_files == 0

    @pytest.mark.parametrize("passed", [0, 4])
    def test_a_dataset_is_dropped_whole(self, filled, open_store, store, passed):
        store.close(sync=False)
        make(filled, [an_object(60)], dataset=SERVING)
        store = open_store(tier(filled, 4 * MIB), at_once=passed)
        assert store.drop_dataset(DATASET) > 9 * CHUNK
        assert {path.stem for path in blob_files(filled)} == {an_object(60).key}
        assert store.datasets() == [SERVING]
        store.continue_recovery()
        assert store.usage(DATASET) == (0, 0)
        assert right(store.find(an_object(60).key), 0)

    @pytest.mark.parametrize("passed", [0, 4])
    def test_what_a_snapshot_no_longer_names_goes(self, filled, open_store, store, passed):
        store.close(sync=False)
        store = open_store(tier(filled, 4 * MIB), at_once=passed)
        kept = {layout.key for layout in OBJECTS[::2]}
        store.retain(DATASET, kept)
        assert {path.stem for path in blob_files(filled)} == kept
        store.continue_recovery()
        assert store.tiers()[0].used == 4 * ONE

    def test_a_removed_tier_is_emptied(self, filled, store, tmp_path):
        store.continue_recovery(3)
        blob = blob_of(store, OBJECTS[0])
        with blob.pin(0) as pin:
            assert pin.held
            store.retier([tier(tmp_path / "other", MIB)])
            assert not filled.exists()
        assert not store.continue_recovery()
        assert [one.used for one in store.tiers()] == [0]
        assert present(blob) == set()

    def test_a_smaller_quota_holds_for_all_that_is_known(self, filled, store):
        store.continue_recovery(2)
        store.retier([tier(filled, 3 * ONE)])
        more = True
        while more:
            assert store.tiers()[0].used <= 3 * ONE
            blob_of(store, OBJECTS[7])
            assert store.tiers()[0].used <= 3 * ONE
            more = store.continue_recovery(1)
        assert on_disk(filled) <= store.tiers()[0].used <= 3 * ONE

    def test_an_end_leaves_all_to_the_next(self, filled, open_store, store):
        store.continue_recovery(3)
        blob_of(store, OBJECTS[6])
        store.close(sync=False)
        assert not store.continue_recovery()
        all_is_right(open_store(tier(filled, 4 * MIB)))

    def test_a_closed_store_touches_nothing(self, filled, store):
        store.continue_recovery(1)
        foreign = filled / DATASET / OBJECTS[-1].key[:2] / "foreign"
        foreign.write_text("another store's, by now")
        scan = store._room.tiers[0].scan
        store.close(sync=False)
        assert list(scan) == []
        assert foreign.exists()

    def test_a_closed_store_takes_nothing_in(self, root, open_store):
        twins = [ObjectLayout(f"ab{number:030x}", CHUNK, CHUNK) for number in range(2)]
        make(root, twins)
        store = open_store(tier(root, MIB), at_once=1)
        scan, first = store._room.tiers[0].scan, store._room.tiers[0]
        store.close(sync=False)
        used = first.used
        assert list(scan) == []
        assert first.used == used

    def test_what_was_not_looked_at_stays_suspect(self, filled, open_store, store):
        store.close(sync=False)
        open_store(tier(filled, 4 * MIB), boot_id="boot-2", at_once=2).close(sync=True)
        flip(filled, OBJECTS[7], 0)
        flip(filled, OBJECTS[0], 0)
        store = open_store(tier(filled, 4 * MIB), boot_id="boot-3", at_once=2)
        assert all(blob_of(store, layout).suspect(0) for layout in OBJECTS)
        here = [right(blob_of(store, layout), 0) for layout in OBJECTS]
        assert here == [False, *[True] * 6, False]
        assert store.counters.corrupt_cells == 2

    def test_a_medium_that_fails_is_looked_at_anew(self, filled, store, tmp_path):
        away = tmp_path / "away"
        filled.rename(away)
        assert not store.continue_recovery()
        assert store.closed_tiers
        assert store.tiers()[0].state == "Failed"
        away.rename(filled)
        store.reopen()
        assert not store.continue_recovery()
        assert not store.closed_tiers
        assert store.tiers()[0].state == "Normal"
        all_is_right(store)

    def test_one_that_failed_midway_is_counted_once(self, filled, store, tmp_path):
        store.continue_recovery(4)
        blob_of(store, OBJECTS[0])
        shutil.move(filled, tmp_path / "away")
        filled.write_text("no folder")
        store.continue_recovery()
        filled.unlink()
        shutil.move(tmp_path / "away", filled)
        assert store.closed_tiers
        store.reopen()
        store.continue_recovery()
        assert len(set(store.held())) == len(list(store.held())) == len(OBJECTS) + 4
        all_is_right(store)
        assert on_disk(filled) <= store.tiers()[0].used

    def test_threads_read_and_drop_while_it_goes_on(self, store, filled):
        wrong: list[object] = []

        def read() -> None:
            for layout in (*OBJECTS[:4], PACK, LONG):
                blob = blob_of(store, layout)
                if not right(blob, 0):
                    wrong.append(layout)

        def drop() -> None:
            for layout in OBJECTS[4:]:
                store.drop(layout.key, dataset=DATASET)

        def go_on() -> None:
            while store.continue_recovery(1):
                pass

        threads = [threading.Thread(target=work) for work in (read, drop, go_on, go_on)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert {path.stem for path in blob_files(filled)} == {
            layout.key for layout in (*OBJECTS[:4], PACK, LONG)
        }
        assert on_disk(filled) <= store.tiers()[0].used


class TestWhenAllIsKnown:
    def test_it_is_announced(self, filled, open_store):
        store = open_store(tier(filled, 4 * MIB))
        small = {(layout.key, 0) for layout in OBJECTS}
        names = small | {(LONG.key, cell) for cell in (0, 1, 3, 4)}
        assert sorted(store.held()) == sorted(names)
        blob_of(store, LONG)
        blob_of(store, OBJECTS[2])
        assert sorted(store.held()) == sorted(names)

    def test_use_changes_no_sum(self, filled, open_store):
        store = open_store(tier(filled, 4 * MIB))
        before = store.tiers()[0].used, store.usage(DATASET)
        assert before[1][0] > 12 * CHUNK - 100
        for layout in (*OBJECTS, LONG):
            blob_of(store, layout)
        assert (store.tiers()[0].used, store.usage(DATASET)) == before

    def test_what_is_suspect_is_neither_announced_nor_counted(self, filled, open_store):
        store = open_store(tier(filled, 4 * MIB), boot_id="boot-2")
        assert list(store.held()) == []
        assert right(blob_of(store, OBJECTS[0]), 0)
        assert list(store.held()) == [(OBJECTS[0].key, 0)]

    def test_serving_lets_the_unused_go_first_in_the_order_of_keys(self, root, open_store):
        make(root, OBJECTS[:4], dataset=SERVING)
        store = open_store(tier(root, 4 * ONE))
        serving = {"policy": "Serving", "dataset": SERVING}
        assert right(blob_of(store, OBJECTS[0], **serving), 0)
        new = [an_object(number, cells=1) for number in range(200, 204)]
        gone = []
        for layout in new[:3]:
            assert fill(store, blob_of(store, layout, **serving))
            keys = {path.stem for path in blob_files(root)}
            gone.append([old.key for old in OBJECTS[:4] if old.key not in keys])
        first, second, third = (old.key for old in OBJECTS[1:4])
        assert gone == [[first], [first, second], [first, second, third]]
        assert store.counters.evictions == 3
        assert on_disk(root) <= store.tiers()[0].used <= 4 * ONE

    def test_serving_makes_room_in_advance_by_the_unused(self, root, open_store):
        make(root, OBJECTS[:5], dataset=SERVING)
        store = open_store(tier(root, 5 * ONE, high=80, low=40))
        blob_of(store, an_object(200), policy="Serving", dataset=SERVING)
        assert store.pressed
        while store.relieve():
            pass
        assert {path.stem for path in blob_files(root)} == {one.key for one in OBJECTS[3:5]}
        assert not store.pressed

    def test_a_long_object_leaves_chunk_by_chunk(self, root, open_store):
        make(root, [LONG], dataset=SERVING)
        store = Store.open([tier(root, MIB)], boot_id="boot-1")
        used = store.tiers()[0].used
        store.close(sync=False)
        store = open_store(tier(root, used))
        serving = {"policy": "Serving", "dataset": SERVING}
        new = [blob_of(store, an_object(number, cells=1), **serving) for number in (200, 201)]
        assert all(fill(store, blob) for blob in new)
        assert present(blob_of(store, LONG, **serving)) == {4}
        assert all(right(blob, 0) for blob in new)

    def test_a_chunk_that_was_read_meanwhile_leaves_later(self, root, open_store):
        make(root, [LONG], dataset=SERVING)
        store = Store.open([tier(root, MIB)], boot_id="boot-1")
        used = store.tiers()[0].used
        store.close(sync=False)
        store = open_store(tier(root, used))
        serving = {"policy": "Serving", "dataset": SERVING}
        assert fill(store, blob_of(store, an_object(200, cells=1), **serving))
        old = blob_of(store, LONG, **serving)
        assert present(old) == {2, 3, 4}
        old.touch(2)
        old.touch(2)
        assert fill(store, blob_of(store, an_object(201, cells=1), **serving))
        assert 2 in present(old)

    def test_an_epoch_dataset_keeps_what_it_had_first(self, root, open_store):
        make(root, OBJECTS[:3])
        store = open_store(tier(root, 5 * ONE))
        new = [blob_of(store, an_object(number, cells=1)) for number in (200, 201)]
        assert all(fill(store, blob) for blob in new)
        assert not fill(store, blob_of(store, an_object(202, cells=1)))
        store.retier([tier(root, 3 * ONE)])
        assert [present(blob) for blob in new] == [set(), set()]
        store.retier([tier(root, 2 * ONE)])
        assert {path.stem for path in blob_files(root)} == {one.key for one in OBJECTS[1:3]}

    def test_what_another_owns_is_spare(self, filled, open_store):
        theirs = {OBJECTS[1].key, LONG.key}
        store = open_store(
            tier(filled, 4 * MIB), owned=lambda _dataset, key, _unit: key not in theirs
        )
        owned, spare = store.usage(DATASET)
        assert spare == 0
        for _ in range(store.start_reassessment()):
            store.reassess(1)
        chunks = [LONG.cell_range(cell) for cell in (0, 1, 3, 4)]
        moved = CHUNK + sum(stop - start for start, stop in chunks)
        assert store.usage(DATASET) == (owned - moved, moved)

    def test_a_unit_in_two_tiers_is_kept_once(self, tmp_path, open_store):
        for name in ("fast", "slow"):
            make(tmp_path / name, OBJECTS[:2])
        store = open_store(tier(tmp_path / "fast", MIB), tier(tmp_path / "slow", MIB))
        assert store.usage(DATASET) == (2 * CHUNK, 0)
        assert blob_files(tmp_path / "slow") == []

    def test_decay_is_found_by_the_scrubber(self, filled, open_store):
        flip(filled, LONG, 3)
        flip(filled, OBJECTS[4], 0)
        store = open_store(tier(filled, 4 * MIB))
        steps = list(store.scrub())
        bad = {(step.key, step.cell) for step in steps if not step.good}
        assert bad == {(LONG.key, 3), (OBJECTS[4].key, 0)}
        assert len(steps) == len(OBJECTS) + 4
        assert store.counters.corrupt_cells == 2
        assert present(blob_of(store, LONG)) == {0, 1, 4}
        assert present(blob_of(store, OBJECTS[4])) == set()
        assert fill(store, blob_of(store, OBJECTS[4]))

    def test_files_that_broke_meanwhile_are_taken_away(self, filled, open_store):
        store = open_store(tier(filled, 4 * MIB))
        used = store.tiers()[0].used
        os.truncate(next(filled.rglob(f"{OBJECTS[2].key}.map")), 10)
        assert present(blob_of(store, OBJECTS[2])) == set()
        assert store.tiers()[0].used == used - ONE
        assert fill(store, blob_of(store, OBJECTS[2]))
        assert right(blob_of(store, OBJECTS[2]), 0)

    def test_an_unused_object_costs_few_bytes(self, root, open_store):
        count = 1_500
        store = Store.open([tier(root, 1 << 30)], boot_id="boot-1")
        for number in range(count):
            layout = an_object(1_000 + number, cells=1, chunk=4 * KIB)
            blob = blob_of(store, layout)
            with store.reserve(blob, [0], spare=False) as reservation:
                reservation.write(0, content(layout, 0))
                reservation.commit()
        store.close(sync=False)
        del store, blob, reservation
        tracemalloc.start()
        try:
            store = open_store(tier(root, 1 << 30))
            cost, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert len(list(store.held())) == count
        assert cost < 150 * count
