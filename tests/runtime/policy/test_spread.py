"""How an owner spreads a hot unit."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from runtime.policy.spread import WINDOW_SECONDS, Spread


def far(_one: str, _other: str) -> int:
    return 1


def ask(spread: Spread, requester: str, members: list[str], now: float = 0.0) -> str | None:
    return spread.admit("u.0", requester, now=now, members=members, distance=far)


@given(st.integers(1, 8), st.integers(1, 40))
def test_an_owner_serves_at_most_degree_requesters(degree, readers):
    spread = Spread(degree)
    members = [f"n{number}" for number in range(readers)]

    answers = {uid: ask(spread, uid, members) for uid in members}

    served = [uid for uid, target in answers.items() if target is None]
    assert len(served) == min(degree, readers)
    assert {target for target in answers.values() if target} <= set(served)


def test_redirects_are_shared_evenly_among_the_receivers():
    spread = Spread(3)
    members = [f"n{number}" for number in range(12)]

    answers = Counter(ask(spread, uid, members) for uid in members)

    assert answers[None] == 3
    assert {count for target, count in answers.items() if target} == {3}


def test_the_nearest_of_equally_used_receivers_is_named():
    spread = Spread(2)
    members = ["a", "b", "c"]
    ask(spread, "a", members)
    ask(spread, "b", members)

    target = spread.admit(
        "u.0", "c", now=0, members=members, distance=lambda _, uid: {"a": 3, "b": 1}[uid]
    )

    assert target == "b"


def test_a_receiver_that_asks_again_is_served():
    spread = Spread(1)
    ask(spread, "a", ["a", "b"])

    assert ask(spread, "a", ["a", "b"]) is None


def test_a_receiver_without_the_unit_is_named_no_more():
    spread = Spread(1)
    ask(spread, "a", ["a", "b"])
    assert ask(spread, "b", ["a", "b"]) == "a"

    spread.withdraw("u.0", "a")

    assert ask(spread, "b", ["a", "b"]) is None


def test_members_that_left_are_not_named():
    spread = Spread(1)
    ask(spread, "a", ["a", "b"])

    assert ask(spread, "b", ["b"]) is None


def test_receivers_are_forgotten_after_the_window():
    spread = Spread(1)
    ask(spread, "a", ["a", "b"])

    assert ask(spread, "b", ["a", "b"], now=WINDOW_SECONDS + 1) is None
