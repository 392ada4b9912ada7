"""Quotas are hard, and who leaves for whom."""

from __future__ import annotations

import os
import random
import subprocess
import threading
from pathlib import Path

import pytest

from runtime.contract.plan import TierPlan
from runtime.errors import NoRoom
from tests.support.store import (
    DATASET,
    KIB,
    MIB,
    a_pack,
    an_object,
    content,
    fill,
    flip,
    on_disk,
    present,
    right,
    tier,
)

CHUNK = 16 * KIB
FILES = 4 * KIB + 8 * KIB
"""Charged for one small object's map and the file system's slack."""


def one(store, number, *, policy="Epoch", dataset=DATASET):
    """Return an empty blob of a single chunk."""
    return store.blob(an_object(number, cells=1), dataset=dataset, policy=policy)


def room_for(count: int) -> int:
    """Return the quota that holds ``count`` objects of one chunk."""
    return count * (CHUNK + FILES)


def test_epoch_admits_until_full_and_then_keeps(open_store, root):
    store = open_store(tier(root, room_for(3) + 100))
    blobs = [one(store, number) for number in range(6)]
    assert [fill(store, blob) for blob in blobs] == [True] * 3 + [False] * 3
    assert [right(blob, 0) for blob in blobs] == [True] * 3 + [False] * 3
    assert store.counters.refused == 3
    assert store.counters.evictions == 0
    assert on_disk(root) <= store.tiers()[0].used <= room_for(3)


def test_serving_makes_room_by_its_own_units(open_store, root):
    store = open_store(tier(root, room_for(3)))
    blobs = [one(store, number, policy="Serving") for number in range(6)]
    assert all(fill(store, blob) for blob in blobs)
    assert [right(blob, 0) for blob in blobs] == [False] * 3 + [True] * 3
    assert store.counters.evictions == 3
    assert store.counters.evicted_bytes == 3 * CHUNK
    assert on_disk(root) <= store.tiers()[0].used <= room_for(3)


def test_serving_keeps_what_is_read_again(open_store, root):
    store = open_store(tier(root, room_for(3)))
    hot = one(store, 0, policy="Serving")
    fill(store, hot)
    for number in range(1, 12):
        hot.touch(0)
        hot.touch(0)
        fill(store, one(store, number, policy="Serving"))
    assert right(hot, 0)


@pytest.mark.parametrize("policy", ["Epoch", "Serving"])
def test_nobody_pushes_out_another_datasets_owned_units(open_store, root, policy):
    store = open_store(tier(root, room_for(2)))
    kept = [one(store, number, policy="Serving", dataset="ns/other") for number in range(2)]
    assert all(fill(store, blob) for blob in kept)
    assert not fill(store, one(store, 9, policy=policy))
    assert all(right(blob, 0) for blob in kept)


def test_spares_use_free_room_and_leave_first(open_store, root):
    store = open_store(tier(root, room_for(3)))
    spares = [one(store, number, dataset="ns/other") for number in range(3)]
    assert all(fill(store, blob, spare=True) for blob in spares)
    assert not fill(store, one(store, 5), spare=True)
    assert store.usage("ns/other") == (0, 3 * CHUNK)
    assert fill(store, one(store, 6))
    assert [right(blob, 0) for blob in spares] == [False, True, True]
    assert store.usage(DATASET) == (CHUNK, 0)


def test_spares_stay_below_the_high_watermark(open_store, root):
    store = open_store(tier(root, room_for(4), high=50, low=50))
    assert [fill(store, one(store, number), spare=True) for number in range(3)] == [
        True, True, False,
    ]  # fmt: skip
    assert all(fill(store, one(store, number)) for number in range(3, 5))


def test_a_spare_that_is_owned_by_now_stays(open_store, root):
    owned = set()
    store = open_store(tier(root, room_for(2)), owned=lambda _, key, unit: (key, unit) in owned)
    first, second = one(store, 0), one(store, 1)
    fill(store, first, spare=True)
    fill(store, second, spare=True)
    owned.add((first.layout.key, 0))
    assert fill(store, one(store, 2))
    assert right(first, 0)
    assert not right(second, 0)
    assert store.usage(DATASET) == (2 * CHUNK, 0)


def test_a_spare_asked_for_as_owned_becomes_owned(open_store, root):
    store = open_store(tier(root, room_for(2)))
    pack = store.blob(a_pack(1, [100, 100], per_group=2), dataset=DATASET, policy="Epoch")
    fill(store, pack, 0, spare=True)
    fill(store, pack, 1)
    assert store.usage(DATASET) == (200, 0)


def test_owned_units_of_an_older_plan_make_room_as_spares(open_store, root):
    owned = {0, 1, 2}
    numbers = {an_object(number).key: number for number in range(4)}
    store = open_store(tier(root, room_for(3)), owned=lambda _, key, __: numbers[key] in owned)
    blobs = [one(store, number) for number in range(3)]
    assert all(fill(store, blob) for blob in blobs)
    owned ^= {1, 3}
    assert not fill(store, one(store, 3)), "nothing says yet that the plan is another"
    assert store.start_reassessment() == 3
    assert fill(store, one(store, 3))
    assert [right(blob, 0) for blob in blobs] == [True, False, True]


def test_reassessment_goes_in_slices(open_store, root):
    store = open_store(tier(root, room_for(4)), owned=lambda *_: False)
    for number in range(4):
        fill(store, one(store, number))
    store.start_reassessment()
    store.reassess(3)
    assert store.usage(DATASET) == (CHUNK, 3 * CHUNK)
    store.reassess(3)
    assert store.usage(DATASET) == (0, 4 * CHUNK)


def test_the_fastest_tier_with_room_comes_first(open_store, root):
    fast, slow = root / "fast", root / "slow"
    store = open_store(tier(fast, room_for(2)), tier(slow, room_for(1)))
    blobs = [one(store, number) for number in range(4)]
    assert [fill(store, blob) for blob in blobs] == [True, True, True, False]
    assert [report.used // (CHUNK + FILES) for report in store.tiers()] == [2, 1]
    assert all(right(blob, 0) for blob in blobs[:3])
    assert on_disk(fast) <= room_for(2)
    assert on_disk(slow) <= room_for(1)


def test_a_blob_may_lie_in_two_tiers_and_a_unit_in_one(open_store, root):
    fast, slow = root / "fast", root / "slow"
    store = open_store(tier(fast, room_for(2)), tier(slow, MIB))
    blob = store.blob(an_object(1, cells=6), dataset=DATASET, policy="Epoch")
    for cell in range(6):
        assert fill(store, blob, cell)
    assert all(right(blob, cell) for cell in range(6))
    with blob.files() as files:
        assert [file.tier for file in files] == [0, 1]
    assert sum(report.used > 0 for report in store.tiers()) == 2


def test_pinned_and_filling_units_are_not_evicted(open_store, root):
    store = open_store(tier(root, room_for(2)))
    first, second = (one(store, number, policy="Serving") for number in range(2))
    fill(store, first)
    with first.pin(0) as pin, store.reserve(second, [0], spare=False) as reservation:
        assert pin.held
        assert not fill(store, one(store, 2, policy="Serving"))
        reservation.write(0, content(second.layout, 0))
        reservation.commit()
        assert right(first, 0)
        assert right(second, 0)
    assert fill(store, one(store, 2, policy="Serving"))


def test_relief_brings_a_tier_from_high_to_low(open_store, root):
    store = open_store(tier(root, room_for(10), high=80, low=50))
    for number in range(8):
        fill(store, one(store, number, policy="Serving"))
    assert not store.pressed
    assert not store.relieve()
    fill(store, one(store, 8, policy="Serving"))
    assert store.pressed
    while store.relieve():
        pass
    assert store.tiers()[0].used == room_for(5)
    assert store.counters.evictions == 4


def test_relief_leaves_epoch_datasets_alone(open_store, root):
    store = open_store(tier(root, room_for(10), high=50, low=20))
    for number in range(9):
        fill(store, one(store, number))
    assert not store.pressed
    assert not store.relieve()


def test_relief_takes_spares_first(open_store, root):
    store = open_store(tier(root, room_for(10), high=80, low=70))
    spare = one(store, 99)
    fill(store, spare, spare=True)
    for number in range(8):
        fill(store, one(store, number, policy="Serving", dataset="ns/other"))
    assert store.relieve()
    assert not right(spare, 0)


def test_a_victim_that_was_read_again_moves_to_the_next_tier(open_store, root):
    fast, slow = root / "fast", root / "slow"
    store = open_store(tier(fast, room_for(4), high=75, low=25), tier(slow, MIB))
    blobs = [one(store, number, policy="Serving") for number in range(4)]
    for blob in blobs:
        fill(store, blob)
    blobs[0].touch(0)
    blobs[2].touch(0)
    with blobs[0].files() as ((_, _, map_fd),):
        old_map = os.dup(map_fd)
    while store.relieve():
        pass
    assert store.counters.demotions == 2
    assert [right(blob, 0) for blob in blobs] == [True, False, True, True]
    assert [report.used // (CHUNK + FILES) for report in store.tiers()] == [1, 2]
    assert on_disk(fast) <= room_for(1)
    with blobs[0].files() as ((number, _, _),):
        assert number == 1
    word = int.from_bytes(os.pread(old_map, 8, 64), "little")
    os.close(old_map)
    assert not word & 1, "a reader of the old file asks again"


def test_a_decayed_victim_does_not_move(open_store, root):
    fast, slow = root / "fast", root / "slow"
    store = open_store(tier(fast, room_for(2), high=50, low=25), tier(slow, MIB))
    blob = store.blob(an_object(1, cells=2), dataset=DATASET, policy="Serving")
    fill(store, blob)
    for unit in range(2):
        blob.touch(unit)
    flip(fast, blob.layout, 0)
    while store.relieve():
        pass
    assert present(blob) == {1}
    assert right(blob, 1)
    assert store.counters.corrupt_cells == 1
    assert store.counters.demotions == 1


def test_a_unit_dropped_while_it_moves_does_not_come_back(open_store, root):
    fast, slow = root / "fast", root / "slow"
    dropped = []

    def drop(point):
        if point == "demote.after-copy" and not dropped:
            dropped.append(store.drop(blobs[0].layout.key))

    store = open_store(tier(fast, room_for(2), high=50, low=25), tier(slow, MIB), fault=drop)
    blobs = [one(store, number, policy="Serving") for number in range(2)]
    for blob in blobs:
        fill(store, blob)
    blobs[0].touch(0)
    assert store.relieve()
    assert dropped
    assert store.counters.demotions == 0
    assert store.find(blobs[0].layout.key) is None
    assert store.tiers()[1].used == 0
    assert on_disk(slow) == 0


def test_a_smaller_quota_evicts_at_once(open_store, root):
    store = open_store(tier(root, room_for(6)))
    epoch = [one(store, number) for number in range(3)]
    serving = [one(store, number, policy="Serving", dataset="ns/s") for number in range(3, 6)]
    for blob in (*epoch, *serving):
        fill(store, blob)
    store.retier([tier(root, room_for(4))])
    assert store.tiers()[0].used == room_for(4)
    assert sum(right(blob, 0) for blob in serving) == 1
    store.retier([tier(root, room_for(1) + 10)])
    assert on_disk(root) <= room_for(1)
    assert [right(blob, 0) for blob in epoch] == [True, False, False], "the newest leave"


def test_a_smaller_quota_waits_for_what_is_in_use(open_store, root):
    store = open_store(tier(root, room_for(2)))
    blob = one(store, 1)
    fill(store, blob)
    with blob.pin(0):
        store.retier([tier(root, 10)])
        place = blob.locate(0)
        assert os.pread(place.fd, place.length, place.offset) == content(blob.layout, 0)
    assert store.tiers()[0].used == 0
    assert on_disk(root) == 0


def test_tiers_come_and_go(open_store, root):
    first, second = root / "first", root / "second"
    store = open_store(tier(first, MIB))
    blob = one(store, 1)
    fill(store, blob)
    store.retier([tier(second, MIB), tier(first, MIB)])
    fill(store, one(store, 2))
    assert [report.used for report in store.tiers()] == [room_for(1), room_for(1)]
    store.retier([tier(second, MIB)])
    assert not right(blob, 0)
    assert not first.exists()
    assert fill(store, blob)
    assert right(blob, 0)


def test_a_dropped_blob_in_use_keeps_its_bytes_and_its_charge(open_store, root):
    store = open_store(tier(root, room_for(1)))
    blob = one(store, 1)
    fill(store, blob)
    with blob.pin(0):
        place = blob.locate(0)
        assert store.drop(blob.layout.key) == room_for(1)
        assert os.pread(place.fd, place.length, place.offset) == content(blob.layout, 0)
        assert not fill(store, one(store, 2)), "the bytes still take room"
    assert store.tiers()[0].used == 0
    assert fill(store, one(store, 2))


def test_what_a_reader_elsewhere_keeps_open_takes_no_room(open_store, root):
    store = open_store(tier(root, MIB))
    dropped, evicted = one(store, 1), one(store, 2, policy="Serving")
    kept = []
    for blob in (dropped, evicted):
        fill(store, blob)
        with blob.files() as ((_, data_fd, _),):
            kept.append(os.dup(data_fd))
    assert all(os.fstat(fd).st_blocks for fd in kept)
    store.drop(dropped.layout.key)
    store.retier([tier(root, 1)])
    for fd in kept:
        assert os.fstat(fd).st_blocks == 0
        assert os.fstat(fd).st_size == CHUNK, "a shorter file would kill who has it mapped"
        os.close(fd)


def test_a_map_is_allocated_in_full_before_it_is_mapped(open_store, root):
    """A store into a hole of a mapped file kills the process when the medium is full."""
    store = open_store(tier(root, MIB))
    blob = store.blob(an_object(1, cells=400), dataset=DATASET, policy="Epoch")
    with store.reserve(blob, [0], spare=False):
        status = next(root.rglob("*.map")).stat()
        assert status.st_blocks * 512 >= status.st_size


def test_a_reservation_of_a_dropped_blob_publishes_nothing(open_store, root):
    store = open_store(tier(root, room_for(2)))
    blob = one(store, 1)
    with store.reserve(blob, [0], spare=False) as reservation:
        store.drop(blob.layout.key)
        again = one(store, 1)
        assert fill(store, again)
        reservation.write(0, content(blob.layout, 0))
        assert not reservation.commit()
    assert right(again, 0)
    assert store.tiers()[0].used == room_for(1)


def test_drop_dataset_and_retain_free_their_bytes(open_store, root):
    store = open_store(tier(root, MIB))
    for number in range(6):
        fill(store, one(store, number, dataset=f"ns/d{number % 2}"))
    assert store.retain("ns/d0", {an_object(0).key}) == room_for(2)
    assert store.find(an_object(2).key) is None
    assert store.drop_dataset("ns/d1") == room_for(3)
    assert store.datasets() == ["ns/d0"]
    assert store.usage("ns/d1") == (0, 0)
    assert not (root / "ns/d1").exists()
    assert store.tiers()[0].used == room_for(1)


@pytest.mark.parametrize("max_open", [None, 2])
def test_quotas_and_bytes_hold_under_many_threads(open_store, root, max_open):
    quotas = {root / "fast": room_for(20), root / "slow": room_for(40)}
    tiers = [tier(path, quota, high=80, low=50) for path, quota in quotas.items()]
    store = open_store(*tiers, max_open=max_open)
    over = []

    def work(seed):
        choice = random.Random(seed)
        for _ in range(60):
            policy, dataset = choice.choice([("Epoch", "ns/e"), ("Serving", "ns/s")])
            layout = an_object(choice.randrange(40) * 2 + (policy == "Epoch"), cells=4)
            blob = store.blob(layout, dataset=dataset, policy=policy)
            fill(store, blob, *choice.sample(range(4), 2), spare=choice.random() < 0.2)
            for cell in range(4):
                assert blob.verified_read(cell) in (None, content(layout, cell))
                assert sent(blob, cell) in (None, content(layout, cell))
                blob.touch(cell)
            if choice.random() < 0.1:
                store.drop(layout.key)
            if choice.random() < 0.3:
                store.relieve()
            over.extend(path for path, quota in quotas.items() if on_disk_now(path) > quota)

    threads = [Failing(work, seed) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
        assert thread.error is None
    assert not over
    for report, (path, quota) in zip(store.tiers(), quotas.items(), strict=True):
        assert on_disk(path) <= report.used <= quota
    assert store.counters.corrupt_cells == 0
    assert store.counters.demotions > 0


def sent(blob, cell):
    """Return a cell's bytes as a send would read them, None if it is not here."""
    with blob.pin(blob.layout.unit_of(cell)):
        place = blob.locate(cell)
        return place and os.pread(place.fd, place.length, place.offset)


class Failing(threading.Thread):
    """A thread that keeps its error for the test."""

    def __init__(self, work, seed):
        super().__init__()
        self._work, self._seed = work, seed
        self.error = None

    def run(self):
        try:
            self._work(self._seed)
        except BaseException as error:  # noqa: BLE001 - the test raises it
            self.error = error


def on_disk_now(root):
    """Return the bytes on disk while files come and go."""
    total = 0
    for folder, _, names in os.walk(root):
        for name in names:
            if name.endswith((".data", ".map")):
                try:
                    total += Path(folder, name).stat().st_blocks * 512
                except FileNotFoundError:
                    continue
    return total


@pytest.fixture
def mounted(tmp_path):
    """Mount small file systems; skip where that is not allowed."""
    folders = []

    def mount(kind, options):
        folder = tmp_path / kind
        folder.mkdir()
        command = ["mount", "-t", kind, "-o", options, kind, str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip(f"may not mount a {kind} here")
        folders.append(folder)
        return folder

    yield mount
    for folder in folders:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_file_system_degrades_to_read_through(open_store, mounted):
    folder = mounted("tmpfs", "size=4m")
    now = [0.0]
    store = open_store(TierPlan("Memory", str(folder), 64 * MIB), clock=lambda: now[0])
    kept = []

    def fill_up():
        for number in range(300):
            blob = one(store, number)
            fill(store, blob)
            kept.append(blob)

    with pytest.raises(NoRoom, match="cannot take more bytes: No space left"):
        fill_up()
    assert store.tiers()[0].state == "Full"
    assert all(right(blob, 0) for blob in kept)
    assert not fill(store, one(store, 1000))
    for blob in kept[:150]:
        store.drop(blob.layout.key)
    assert fill(store, one(store, 1000)), "there is space again"


def test_serving_makes_room_on_a_full_file_system_too(open_store, mounted):
    folder = mounted("tmpfs", "size=4m")
    store = open_store(TierPlan("Memory", str(folder), 64 * MIB))
    done = 0
    for number in range(400):
        blob = one(store, number, policy="Serving")
        try:
            done += fill(store, blob)
        except NoRoom:
            assert store.tiers()[0].state == "Full"
    assert done >= 398
    assert right(blob, 0)


def test_where_nothing_can_be_punched_whole_files_leave(open_store, mounted):
    folder = mounted("ramfs", "mode=700")
    store = open_store(TierPlan("Memory", str(folder), 130 * KIB))
    first = store.blob(an_object(1), dataset=DATASET, policy="Serving")
    second = store.blob(an_object(2), dataset=DATASET, policy="Serving")
    third = store.blob(an_object(3, cells=2), dataset=DATASET, policy="Serving")
    assert fill(store, first)
    assert fill(store, second, 0, 1)
    assert fill(store, third)
    assert present(first) == set()
    assert all(right(second, cell) for cell in range(2))
    assert all(right(third, cell) for cell in range(2))


def test_a_tier_that_cannot_be_opened_is_reported(open_store, root):
    root.mkdir()
    (root / "file").write_text("in the way")
    store = open_store(tier(root / "file" / "tier", MIB), tier(root / "good", MIB))
    assert [report.state for report in store.tiers()] == ["Failed", "Normal"]
    blob = one(store, 1)
    assert fill(store, blob)
    assert right(blob, 0)
    (root / "file").unlink()
    store.retier([tier(root / "file" / "tier", MIB), tier(root / "good", MIB)])
    assert [report.state for report in store.tiers()] == ["Normal", "Normal"]
    assert right(blob, 0)


def test_a_failed_tier_is_tried_again_later(open_store, root):
    now = [0.0]
    store = open_store(tier(root, MIB), clock=lambda: now[0])
    (root / "ns").write_text("a file where a folder belongs")
    assert not fill(store, one(store, 1))
    assert store.tiers()[0].state == "Failed"
    assert store.counters.io_errors == 1
    (root / "ns").unlink()
    assert not fill(store, one(store, 1))
    now[0] += 31
    assert fill(store, one(store, 1))
    assert store.tiers()[0].state == "Normal"
