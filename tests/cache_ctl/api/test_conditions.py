"""Conditions: what a pass finds, merged into what stood there."""

from __future__ import annotations

from datetime import UTC, datetime

from cache_ctl.api.conditions import false, find, flips, merge, true, unknown
from cache_ctl.api.meta import dump

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 1, 1, 13, tzinfo=UTC)


def test_what_is_new_begins_now():
    (found,) = merge((), [true("Ready", "All", "fine")], generation=3, now=NOON)

    assert found.last_transition_time == "2026-01-01T12:00:00Z"
    assert found.observed_generation == 3


def test_the_time_moves_when_the_status_flips_and_not_otherwise():
    first = merge((), [true("Ready", "All", "fine")], generation=1, now=NOON)
    (same,) = merge(first, [true("Ready", "Most", "nearly")], generation=2, now=LATER)
    (flipped,) = merge(first, [false("Ready", "None", "no")], generation=2, now=LATER)

    assert (same.last_transition_time, same.reason) == ("2026-01-01T12:00:00Z", "Most")
    assert flipped.last_transition_time == "2026-01-01T13:00:00Z"


def test_merging_the_same_again_gives_the_same():
    findings = [true("Warm", "All", ""), false("Ready", "No", "")]
    first = merge((), findings, generation=1, now=NOON)

    assert merge(first, reversed(findings), generation=1, now=LATER) == first


def test_conditions_of_others_are_kept():
    others = merge((), [true("Theirs", "All", "")], generation=1, now=NOON)
    merged = merge(others, [true("Ours", "All", "")], generation=1, now=NOON)

    assert [item.type for item in merged] == ["Ours", "Theirs"]


def test_flips_leave_out_what_only_appears_as_unknown():
    before = merge((), [true("A", "R", ""), true("B", "R", "")], generation=1, now=NOON)
    findings = [false("A", "R", ""), true("B", "S", ""), unknown("C", "R", ""), true("D", "R", "")]
    after = merge(before, findings, generation=1, now=NOON)

    assert [item.type for item in flips(before, after)] == ["A", "D"]


def test_a_condition_that_speaks_of_an_older_spec_is_not_found():
    (condition,) = merge((), [true("Ready", "All", "")], generation=1, now=NOON)
    status = {"conditions": [dump(condition)]}

    assert find({"metadata": {"generation": 1}, "status": status}, "Ready") is not None
    assert find({"metadata": {"generation": 2}, "status": status}, "Ready") is None
    assert find({"metadata": {"generation": 1}, "status": {}}, "Ready") is None
