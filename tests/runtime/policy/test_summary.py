"""The summary of held units."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import ConfigError
from runtime.policy.summary import Summary


@given(st.sets(st.text(min_size=1, max_size=40), max_size=200))
def test_what_is_held_is_always_found_also_after_the_wire(names):
    summary = Summary.decode(Summary.of(names, version=3).encode())

    assert all(name in summary for name in names)
    assert summary.version == 3


def test_what_is_not_held_is_found_less_than_three_times_in_a_hundred():
    summary = Summary.of([f"unit.{number}" for number in range(5000)], version=1)

    errors = sum(f"other.{number}" in summary for number in range(5000))
    assert errors < 150


@pytest.mark.parametrize("data", [b"", b"x" * 15, b"\0" * 16, b"\1" + b"\0" * 7 + b"\xff" * 8])
def test_other_bytes_are_refused(data):
    with pytest.raises(ConfigError):
        Summary.decode(data)
