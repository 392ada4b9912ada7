"""What a store finds when it opens a folder again."""

from __future__ import annotations

import json
import os

import pytest

from runtime.contract.cellmap import CellMap
from runtime.contract.layout import PackLayout
from runtime.errors import ConfigError
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

SIZES = [5_000, 12_000, 3, 70_000, 4_096, 4_096, 900, 20_000, 55]


@pytest.fixture
def filled(root):
    """A closed tier with an object, of which chunk 2 is absent, and a pack with group 1 partial."""
    store = Store.open([tier(root, MIB)], boot_id="boot-1")
    fill(store, store.blob(an_object(1), dataset=DATASET, policy="Epoch"), 0, 1, 3)
    pack = store.blob(a_pack(2, SIZES), dataset=DATASET, policy="Epoch")
    fill(store, pack, 0, 1, 2, 3, 5)
    store.close(sync=False)
    return root


def everything_is_right(store) -> None:
    thing = store.blob(an_object(1), dataset=DATASET, policy="Epoch")
    pack = store.blob(a_pack(2, SIZES), dataset=DATASET, policy="Epoch")
    assert present(thing) == {0, 1, 3}
    assert present(pack) == {0, 1, 2, 3, 5}
    assert all(right(thing, cell) for cell in (0, 1, 3))
    assert all(right(pack, cell) for cell in (0, 1, 2, 3, 5))
    here = [(thing, (0, 1, 3)), (pack, (0, 1, 2, 3, 5))]
    sizes = (len(content(blob.layout, cell)) for blob, cells in here for cell in cells)
    assert store.usage(DATASET) == (sum(sizes), 0)


def test_everything_is_there_again(filled, open_store):
    store = open_store(tier(filled, MIB))
    assert store.counters.removed_files == 0
    everything_is_right(store)
    assert on_disk(filled) <= store.tiers()[0].used
    assert fill(store, store.find(an_object(1).key), 2)


def test_an_object_needs_no_layout_to_be_found(filled, open_store):
    store = open_store(tier(filled, MIB))
    assert store.datasets() == [DATASET]
    assert right(store.find(an_object(1).key), 3)
    assert store.find(a_pack(2, SIZES).key) is None


def test_a_pack_not_asked_for_yet_counts_and_can_leave(filled, open_store):
    store = open_store(tier(filled, MIB))
    key = a_pack(2, SIZES).key
    assert store.usage(DATASET)[1] == 0
    assert store.retain(DATASET, {an_object(1).key}) > 0
    assert not any(path.stem == key for path in blob_files(filled))
    assert store.tiers()[0].used >= on_disk(filled)


def test_a_smaller_quota_holds_from_the_start(filled, open_store):
    quota = 40 * KIB
    store = open_store(tier(filled, quota))
    assert on_disk(filled) <= store.tiers()[0].used <= quota


def test_a_full_tier_loses_nothing_by_a_restart(filled, open_store):
    store = Store.open([tier(filled, MIB)], boot_id="boot-1")
    everything_is_right(store)
    used = store.tiers()[0].used
    store.close(sync=False)
    store = open_store(tier(filled, used))
    assert on_disk(filled) <= store.tiers()[0].used <= used
    everything_is_right(store)
    assert store.counters.evictions == 0


def test_a_pack_laid_out_in_another_way_is_dropped(filled, open_store):
    store = open_store(tier(filled, MIB))
    old = a_pack(2, SIZES)
    offsets = [old.offsets[cell] for cell in range(len(SIZES))]
    groups = [0, 4, 8]
    offsets[1], offsets[2] = offsets[0] + SIZES[0] + SIZES[2], offsets[0] + SIZES[0]
    moved = PackLayout(old.key, offsets, SIZES, groups)
    assert moved.header == old.header
    pack = store.blob(moved, dataset=DATASET, policy="Epoch")
    assert present(pack) == set()


def test_foreign_and_broken_files_are_removed_and_counted(filled, open_store):
    key = an_object(1).key
    folder = filled / DATASET / key[:2]
    other = folder / f"{key[:2]}{'7' * 30}"
    other.with_suffix(".data").write_bytes(b"data without a map")
    lone = folder / f"{key[:2]}{'8' * 30}"
    lone.with_suffix(".map").write_bytes(b"map without data")
    odd = folder / f"{key[:2]}{'9' * 30}"
    odd.with_suffix(".map").write_bytes(b"no map at all" * 20)
    odd.with_suffix(".data").write_bytes(b"x")
    (folder / "notes.txt").write_text("?")
    (folder / ("ab" * 16 + ".data")).symlink_to("/etc/passwd")
    (filled / "core").write_text("?")
    (filled / "ns" / "file").write_text("?")
    store = open_store(tier(filled, MIB))
    assert store.counters.removed_files == 8
    everything_is_right(store)
    assert len(blob_files(filled)) == 4


@pytest.mark.parametrize(
    "damage",
    [
        lambda data, cells: os.truncate(data, 100),
        lambda data, cells: os.truncate(cells, 100),
        lambda data, cells: os.truncate(cells, 0),
        lambda data, cells: cells.write_bytes(b"\0" * cells.stat().st_size),
        lambda data, cells: data.unlink(),
        lambda data, cells: cells.unlink(),
    ],
    ids=["data short", "map short", "map empty", "map zeros", "no data", "no map"],
)
def test_a_damaged_pair_is_removed(filled, open_store, damage):
    key = an_object(1).key
    data = next(filled.rglob(f"{key}.data"))
    damage(data, data.with_suffix(".map"))
    store = open_store(tier(filled, MIB))
    assert store.find(key) is None
    assert not any(path.stem == key for path in blob_files(filled))
    pack = store.blob(a_pack(2, SIZES), dataset=DATASET, policy="Epoch")
    assert right(pack, 0)


def test_a_map_with_another_blobs_key_is_removed(filled, open_store):
    key = an_object(1).key
    data = next(filled.rglob(f"{key}.data"))
    other = f"{key[:2]}{'7' * 30}"
    data.with_suffix(".map").rename(data.with_name(f"{other}.map"))
    data.rename(data.with_name(f"{other}.data"))
    store = open_store(tier(filled, MIB))
    assert store.find(other) is None
    assert store.counters.removed_files == 2


def test_bytes_of_a_killed_fill_are_freed(filled, open_store):
    layout = an_object(1)
    data = next(filled.rglob(f"{layout.key}.data"))
    with data.open("r+b") as file:
        os.pwrite(file.fileno(), b"half" * 4_000, layout.cell_range(2)[0])
    before = on_disk(filled)
    store = open_store(tier(filled, MIB))
    assert on_disk(filled) == before - 16 * KIB
    everything_is_right(store)


def test_a_unit_found_in_two_tiers_stays_in_the_faster(open_store, root):
    fast, slow = root / "fast", root / "slow"
    for folder in (fast, slow):
        store = Store.open([tier(folder, MIB)], boot_id="boot-1")
        fill(store, store.blob(an_object(1), dataset=DATASET, policy="Epoch"), 0)
        fill(store, store.blob(a_pack(2, SIZES), dataset=DATASET, policy="Epoch"), 0)
        store.close(sync=False)
    store = open_store(tier(fast, MIB), tier(slow, MIB))
    thing = store.blob(an_object(1), dataset=DATASET, policy="Epoch")
    pack = store.blob(a_pack(2, SIZES), dataset=DATASET, policy="Epoch")
    assert right(thing, 0)
    assert right(pack, 0)
    assert blob_files(slow) == []
    assert store.tiers()[1].used == 0


def test_a_folder_serves_one_store(filled, open_store):
    open_store(tier(filled, MIB))
    with pytest.raises(ConfigError, match=f"the tier path {filled} is in use by another agent"):
        open_store(tier(filled, MIB))


def test_a_folder_of_something_else_is_left_alone(open_store, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ConfigError, match="is not empty and was not made by this store"):
        open_store(tier(tmp_path, MIB))
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_another_format_is_left_alone(filled, open_store):
    mark = json.loads((filled / "tier.json").read_text())
    (filled / "tier.json").write_text(json.dumps(mark | {"format": 2}))
    with pytest.raises(ConfigError, match="has format 2, this version reads 1"):
        open_store(tier(filled, MIB))
    assert len(blob_files(filled)) == 4


@pytest.mark.parametrize(
    ("tiers", "sentence"),
    [
        ([tier("/a/../b", 1), tier("/b", 1)], "two tiers have the same path"),
        ([tier("relative", 1)], "'relative' is not absolute"),
        ([tier("/b", 1, high=50, low=60)], "high 50 and low 60"),
    ],
    ids=["same path", "relative", "watermarks"],
)
def test_unusable_settings_are_refused_with_a_sentence(open_store, tiers, sentence):
    with pytest.raises(ConfigError, match=sentence):
        open_store(*tiers)


class TestAfterAMachineCrash:
    """Another boot, and no mark that says that bytes reached the medium."""

    def test_cells_are_verified_before_they_are_used(self, filled, open_store):
        flip(filled, an_object(1), 1)
        store = open_store(tier(filled, MIB), boot_id="boot-2")
        thing = store.find(an_object(1).key)
        assert thing.suspect(0)
        assert present(thing) == {0, 3}
        assert not thing.suspect(0)
        assert store.counters.corrupt_cells == 1
        assert fill(store, thing, 1)
        assert right(thing, 1)

    def test_what_matches_is_all_there(self, filled, open_store):
        everything_is_right(open_store(tier(filled, MIB), boot_id="boot-2"))

    def test_descriptors_show_only_what_was_verified(self, filled, open_store):
        store = open_store(tier(filled, MIB), boot_id="boot-2")
        thing = store.find(an_object(1).key)
        thing.vet(0)
        with thing.files() as ((_, _, map_fd),):
            cells = CellMap(map_fd)
            assert [cells.present(cell) for cell in range(4)] == [True, False, False, False]
            assert thing.complete(3)
            assert cells.present(3)
            cells.close()

    def test_a_cell_that_was_never_published_does_not_come_to_life(self, filled, open_store):
        """Its bytes and sums may be whole and yet refused by whoever fetched them."""
        store = Store.open([tier(filled, MIB)], boot_id="boot-1")
        thing = store.find(an_object(1).key)
        with store.reserve(thing, [2], spare=False) as reservation:
            reservation.write(2, content(thing.layout, 2))
        store.close(sync=False)
        store = open_store(tier(filled, MIB), boot_id="boot-2")
        everything_is_right(store)

    def test_what_was_not_verified_stays_suspect(self, filled, open_store):
        store = Store.open([tier(filled, MIB)], boot_id="boot-2")
        assert present(store.find(an_object(1).key)) == {0, 1, 3}
        store.close(sync=False)
        flip(filled, a_pack(2, SIZES), 3)
        store = open_store(tier(filled, MIB), boot_id="boot-2")
        pack = store.blob(a_pack(2, SIZES), dataset=DATASET, policy="Epoch")
        assert present(pack) == {0, 1, 2, 5}

    def test_a_clean_end_is_trusted(self, filled, open_store):
        Store.open([tier(filled, MIB)], boot_id="boot-1").close(sync=True)
        store = open_store(tier(filled, MIB), boot_id="boot-2")
        assert not store.find(an_object(1).key).suspect(0)
        everything_is_right(store)

    def test_a_broken_mark_is_no_trust(self, filled, open_store):
        (filled / "tier.json").write_bytes(b"")
        store = open_store(tier(filled, MIB), boot_id="boot-1")
        assert store.find(an_object(1).key).suspect(0)
        everything_is_right(store)

    def test_scrubbing_verifies_the_suspects(self, filled, open_store):
        store = open_store(tier(filled, MIB), boot_id="boot-2")
        flip(filled, an_object(1), 0)
        assert {step.cell for step in store.scrub()} == {1, 3}
        assert store.counters.corrupt_cells == 1
