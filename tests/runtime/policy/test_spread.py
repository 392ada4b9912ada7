"""How an owner spreads a hot unit."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from runtime.policy.spread import FAN_OUT, WINDOW_SECONDS, Spread

ALIKE = "u.6"
"""A unit for which "a" and "b" are drawn alike."""


def far(_one: str, _other: str) -> int:
    return 1


def ask(
    spread: Spread, requester: str, members: list[str], now: float = 0.0, unit: str = "u.0"
) -> str | None:
    return spread.admit(unit, requester, now=now, members=members, distance=far)


def tree(spread: Spread, members: list[str], unit: str = "u.0") -> dict[str, str | None]:
    """Let all ask in order; return whom each receives the unit from, None for the owner."""
    return {uid: ask(spread, uid, members, unit=unit) for uid in members}


def depth(parents: dict[str, str | None], uid: str) -> int:
    parent = parents[uid]
    return 1 if parent is None else 1 + depth(parents, parent)


@given(st.integers(1, 8), st.integers(1, 60))
def test_nobody_passes_a_unit_on_more_often_than_the_fan_out(degree, readers):
    members = [f"n{number}" for number in range(readers)]

    parents = tree(Spread(degree), members)

    assert max(Counter(parents.values()).values()) <= min(FAN_OUT, degree)


@given(st.permutations([f"n{number}" for number in range(40)]))
def test_everybody_is_pointed_at_one_that_asked_before(order):
    parents = tree(Spread(6), order)

    for uid, parent in parents.items():
        assert parent is None or order.index(parent) < order.index(uid)


@given(st.integers(2, 500), st.integers(0, 5))
def test_a_tree_is_not_deep(readers, unit):
    members = [f"n{number}" for number in range(readers)]

    parents = tree(Spread(6), members, unit=f"u.{unit}")

    deepest = max(depth(parents, uid) for uid in members)
    assert deepest <= readers.bit_length() + 4


def test_who_passes_on_is_drawn_for_every_unit():
    members = [f"n{number:02}" for number in range(15)]
    idle: Counter[str] = Counter()

    for unit in range(50):
        order = random.Random(unit).sample(members, len(members))
        parents = tree(Spread(6), order, unit=f"u.{unit}").values()
        idle.update(uid for uid in members if uid not in parents)

    assert set(idle) == set(members)
    assert max(idle.values()) < 45


def test_the_nearest_of_those_with_room_is_named():
    members = ["a", "b", "c"]

    def named(distances: dict[str, int]) -> str | None:
        spread = Spread(2)
        for uid in ("a", "b"):
            ask(spread, uid, members, unit=ALIKE)
        return spread.admit(
            ALIKE, "c", now=0, members=members, distance=lambda _, uid: distances[uid]
        )

    assert named({"a": 3, "b": 1}) == "b"
    assert named({"a": 1, "b": 3}) == "a"


def test_a_receiver_that_asks_again_is_served():
    spread = Spread(1)
    ask(spread, "a", ["a", "b"])
    assert ask(spread, "b", ["a", "b"]) == "a"

    assert ask(spread, "a", ["a", "b"]) is None
    assert ask(spread, "b", ["a", "b"]) is None


def test_a_receiver_without_the_unit_is_named_no_more():
    spread = Spread(1)
    ask(spread, "a", ["a", "b", "c"])

    spread.withdraw("u.0", "a")

    assert ask(spread, "b", ["a", "b", "c"]) is None
    assert ask(spread, "c", ["a", "b", "c"]) == "b"


def test_one_that_was_withdrawn_is_not_pointed_at_those_that_wait_for_it():
    spread = Spread(1)
    ask(spread, "a", ["a", "b"])
    assert ask(spread, "b", ["a", "b"]) == "a"

    spread.withdraw("u.0", "a")

    assert ask(spread, "a", ["a", "b"]) is None


def test_members_that_left_are_not_named():
    spread = Spread(1)
    ask(spread, "a", ["a", "b"])

    assert ask(spread, "b", ["b"]) is None


def test_receivers_are_forgotten_after_the_window():
    spread = Spread(1)
    ask(spread, "a", ["a", "b"])

    assert ask(spread, "b", ["a", "b"], now=WINDOW_SECONDS + 1) is None
