"""The Range header, against Python's own slices."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.serve.ranges import NotSatisfiable, parse_range

size = st.integers(0, 1000)


@given(size, st.integers(0, 1200), st.integers(0, 1200))
def test_first_and_last_give_what_a_slice_gives(total, first, last):
    data = bytes(range(256)) * 4
    data = data[:total]
    if last < first:
        assert parse_range(f"bytes={first}-{last}", total) is None
    elif first >= total:
        with pytest.raises(NotSatisfiable):
            parse_range(f"bytes={first}-{last}", total)
    else:
        start, stop = parse_range(f"bytes={first}-{last}", total)
        assert data[start:stop] == data[first : last + 1]


@given(st.integers(1, 1000), st.integers(1, 1200))
def test_a_suffix_gives_the_last_bytes(total, count):
    start, stop = parse_range(f"bytes=-{count}", total)

    assert (start, stop) == (max(0, total - count), total)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "items=0-1",
        "bytes=0-1,3-4",
        "bytes=a-b",
        "bytes=1-٢",
        "bytes=--1",
        f"bytes=0-{'9' * 5000}",
    ],
)
def test_other_headers_are_ignored(header):
    assert parse_range(header, 10) is None


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=-0"])
def test_a_range_outside_the_object_cannot_be_satisfied(header):
    with pytest.raises(NotSatisfiable):
        parse_range(header, 10)
