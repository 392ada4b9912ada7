"""Keys, chunks, layouts and ownership."""

from __future__ import annotations

import itertools
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from runtime.contract.cellmap import MapHeader
from runtime.contract.layout import ObjectLayout, PackLayout
from runtime.contract.ownership import Ownership
from runtime.contract.units import (
    ALIGN,
    DEFAULT_CHUNK,
    GIB,
    MAX_CHUNK,
    MAX_CHUNKS_PER_OBJECT,
    SLOTS,
    chunk_size_for,
    object_key,
)

KEY = "0" * 32


@given(st.integers(1, 1 << 45))
def test_chunks_grow_with_the_object_and_never_beyond_the_largest(size):
    chunk = chunk_size_for(size)

    assert DEFAULT_CHUNK <= chunk <= MAX_CHUNK
    assert chunk == MAX_CHUNK or size <= chunk * MAX_CHUNKS_PER_OBJECT
    assert chunk == DEFAULT_CHUNK or size > chunk // 2 * MAX_CHUNKS_PER_OBJECT


def test_every_part_of_an_object_s_identity_is_in_its_key():
    keys = {
        object_key("a/b", "p", 1, "v", 4),
        object_key("a/c", "p", 1, "v", 4),
        object_key("a/b", "q", 1, "v", 4),
        object_key("a/b", "p", 2, "v", 4),
        object_key("a/b", "p", 1, "w", 4),
        object_key("a/b", "p", 1, "v", 8),
    }

    assert len(keys) == 6


@given(st.integers(1, 3 * GIB))
def test_the_cells_of_an_object_cover_it_exactly(size):
    layout = ObjectLayout(KEY, size, DEFAULT_CHUNK)
    edges = [layout.cell_range(cell) for cell in range(layout.cells)]

    assert edges[0][0] == 0
    assert edges[-1][1] == size
    assert all(left[1] == right[0] for left, right in itertools.pairwise(edges))


@given(st.lists(st.lists(st.integers(1, 5000), min_size=1, max_size=5), min_size=1, max_size=6))
def test_a_pack_s_units_and_cells_agree(groups):
    offsets, sizes, firsts, at = [], [], [], 0
    for group in groups:
        at = -(-at // ALIGN) * ALIGN
        firsts.append(len(offsets))
        for size in group:
            offsets.append(at)
            sizes.append(size)
            at += size
    layout = PackLayout(KEY, offsets, sizes, firsts)

    assert layout.units == len(groups)
    for unit, group in enumerate(groups):
        cells = layout.unit_cells(unit)
        assert len(cells) == len(group)
        assert {layout.unit_of(cell) for cell in cells} == {unit}
        start, stop = layout.unit_range(unit)
        assert stop - start == sum(group)


@given(st.integers(1, GIB), st.integers(1, 20))
def test_a_header_says_how_long_its_file_is(size, members):
    for header in (
        MapHeader.for_object(KEY, size, DEFAULT_CHUNK),
        MapHeader.for_pack(KEY, size, members),
    ):
        assert MapHeader.decode(header.encode()) == header
        assert header.file_size == 64 + 8 * header.cells * (2 + header.segments_per_cell)


def owners(members: list[tuple[str, float]]) -> list[str]:
    ownership = Ownership(members)
    return [ownership.ranking(slot)[0] for slot in range(SLOTS)]


def test_a_member_that_leaves_moves_its_own_slots_and_no_other():
    members = [(f"n{number}", 1.0) for number in range(10)]
    before, after = owners(members), owners(members[1:])

    moved = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert {old for old, _ in moved} == {"n0"}
    assert len(moved) == before.count("n0")


def test_the_first_standby_is_the_owner_when_the_owner_leaves():
    members = [(f"n{number}", 1.0) for number in range(10)]
    full, less = Ownership(members), Ownership(members[1:])

    for slot in range(0, SLOTS, 7):
        ranking = full.ranking(slot)
        if ranking[0] == "n0":
            assert less.ranking(slot)[0] == ranking[1]


def test_shares_follow_weights_within_a_fifth():
    """Four standard deviations of the share of the lightest member are 17 %."""
    weights = {"a": 1.0, "b": 2.0, "c": 4.0}
    counts = Counter(owners(list(weights.items())))

    for uid, weight in weights.items():
        share = SLOTS * weight / 7
        assert abs(counts[uid] - share) < share * 0.2


def test_a_weight_of_zero_owns_nothing_and_order_does_not_matter():
    members = [("a", 1.0), ("b", 0.0), ("c", 1.0)]

    assert "b" not in owners(members)
    assert owners(members) == owners(members[::-1])
