"""Packs: what has not changed stays in place, and the waste is bounded."""

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.catalog import packing
from runtime.catalog.build import Entry, build
from runtime.catalog.packing import Kept, arrange
from runtime.catalog.read import Catalog
from runtime.contract.units import ALIGN

CHUNK = 8 * ALIGN
PACK_BELOW = 2 * ALIGN


def catalog_of(folder, listing, generation, previous):
    """Build a catalog of ``{name: (size, version)}``."""
    entries = [Entry(f"d{int(n) % 3}/{n}", s, f"v{v}") for n, (s, v) in listing.items()]
    place = folder / f"{generation}.sqlite"
    build(
        place,
        dataset="ns/d",
        entries=entries,
        chunk_size=CHUNK,
        pack_below=PACK_BELOW,
        previous=previous,
    )
    return Catalog(place)


def check_layouts(catalog):
    """Check what must hold of every pack, and that every record agrees with its layout."""
    live = {}
    for record in catalog.walk():
        assert (record.pack is not None) == (0 < record.size < PACK_BELOW)
        if record.pack is not None:
            layout = catalog.layout(record)
            assert layout.cell_range(record.ordinal) == (
                record.offset,
                record.offset + record.size,
            )
            live.setdefault(record.pack, {})[record.ordinal] = record
    assert sorted(live) == catalog.pack_ids()
    assert len({catalog.pack_layout(pack).key for pack in live}) == len(live)
    for pack, members in live.items():
        layout = catalog.pack_layout(pack)
        check_layout(layout)
        found = [record for unit in range(layout.units) for record in catalog.members(pack, unit)]
        assert found == [members.get(cell) for cell in range(layout.cells)]
        held = sum(record.size for record in members.values())
        assert 2 * held >= sum(layout.sizes)
    return live


def check_layout(layout, chunk=CHUNK):
    ranges = [layout.cell_range(cell) for cell in range(layout.cells)]
    assert all(stop <= start for (_, stop), (start, _) in pairwise(ranges))
    for unit in range(layout.units):
        start, stop = layout.unit_range(unit)
        cells = layout.unit_cells(unit)
        assert len(cells) > 0
        assert start % ALIGN == 0
        assert stop - start <= chunk or len(cells) == 1
        assert stop - start == sum(layout.sizes[cell] for cell in cells)


names = st.integers(0, 60).map(lambda n: f"{n:02d}")
files = st.tuples(st.integers(0, PACK_BELOW + 100), st.integers(0, 2))
edits = st.lists(
    st.dictionaries(names, st.one_of(st.none(), files), max_size=20), min_size=1, max_size=5
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(first=st.dictionaries(names, files), edits=edits)
def test_unchanged_objects_stay_in_place_through_any_edits(tmp_path, first, edits):
    listing = dict(first)
    catalog = catalog_of(tmp_path, listing, 0, None)
    live = check_layouts(catalog)
    for generation, edit in enumerate(edits, 1):
        before = dict(listing)
        listing |= {name: file for name, file in edit.items() if file is not None}
        listing = {n: f for n, f in listing.items() if edit.get(n, f) is not None}
        following = catalog_of(tmp_path, listing, generation, catalog)
        following_live = check_layouts(following)
        for pack in live.keys() & following_live.keys():
            old, new = catalog.pack_layout(pack), following.pack_layout(pack)
            assert (old.key, old.offsets, old.sizes) == (new.key, new.offsets, new.sizes)
        for record in catalog.walk():
            name = record.path.partition("/")[2]
            if record.pack in following_live and before[name] == listing.get(name):
                assert following.find(record.path) == record
        catalog.close()
        catalog, live = following, following_live
    catalog.close()


def entries_of(sizes):
    return [Entry(f"{n:05d}", size, "v") for n, size in enumerate(sizes)]


def test_members_lie_in_listing_order():
    done = arrange(entries_of([100] * 500), dataset="ns/d", chunk_size=8192, pack_below=1024)
    assert [(p.pack, p.ordinal) for p in done.places] == [(0, n) for n in range(500)]
    assert [len(done.packs[0].unit_cells(u)) for u in range(7)] == [81] * 6 + [14]


def test_a_member_larger_than_a_chunk_is_a_group_of_its_own():
    sizes = [100, 9000, 100, 100]
    done = arrange(entries_of(sizes), dataset="ns/d", chunk_size=4096, pack_below=10_000)
    layout = done.packs[0]
    assert [list(layout.unit_cells(u)) for u in range(layout.units)] == [[0], [1], [2, 3]]
    check_layout(layout, 4096)


def test_packs_are_closed_at_their_size():
    done = arrange(
        entries_of([5000] * 100),
        dataset="ns/d",
        chunk_size=8192,
        pack_below=10_000,
        pack_bytes=50_000,
    )
    assert len(done.packs) == 17
    assert all(layout.size <= 50_000 for layout in done.packs.values())


@pytest.mark.parametrize(("gone", "kept"), [(5, True), (6, False)])
def test_a_pack_more_than_half_gone_is_given_up(gone, kept):
    options = {"dataset": "ns/d", "chunk_size": 8192, "pack_below": 1024}
    first = arrange(entries_of([100] * 10), **options)
    entries = entries_of([100] * 10)[gone:]
    places = {n: (0, n + gone) for n in range(len(entries))}
    done = arrange(entries, kept=Kept(places, first.packs), **options)
    assert set(done.packs) == ({0} if kept else {1})
    assert all(place.pack == (0 if kept else 1) for place in done.places)


@pytest.mark.parametrize(("packs", "merged"), [(32, False), (33, True)])
def test_many_small_packs_are_merged(packs, merged):
    options = {"dataset": "ns/d", "chunk_size": 8192, "pack_below": 1024}
    entries = entries_of([100] * packs)
    layouts = {n: arrange([entry], **options).packs[0] for n, entry in enumerate(entries)}
    done = arrange(entries, kept=Kept({n: (n, 0) for n in range(packs)}, layouts), **options)
    assert packing.MANY_SMALL == 32
    assert list(done.packs) == ([packs] if merged else list(range(packs)))


def test_empty_and_large_objects_are_in_no_pack():
    done = arrange(entries_of([0, 1, 1023, 1024]), dataset="ns/d", chunk_size=1, pack_below=1024)
    assert [place is None for place in done.places] == [True, False, False, True]


def test_members_are_found_when_a_group_is_scattered_over_the_listing(tmp_path):
    listing = {f"{n:04d}": (100, 0) for n in range(2000)}
    with catalog_of(tmp_path, listing, 0, None) as first:
        changed = listing | {f"{n:04d}": (100, 1) for n in range(0, 2000, 37)}
        with catalog_of(tmp_path, changed, 1, first) as second:
            check_layouts(second)
            assert second.pack_ids() == [0, 1]
            [unit] = range(second.pack_layout(1).units)
            assert all(record.version == "v1" for record in second.members(1, unit))
