"""Whom a node asks, in which order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.contract import route
from runtime.contract.ownership import Ownership
from runtime.contract.plan import Member, Plan

ZONES = ("a", "b")


def plan_of(count: int) -> Plan:
    members = tuple(
        Member(f"n{number}", f"n{number}", f"10.0.0.{number}", 1, zone=ZONES[number % 2])
        for number in range(count)
    )
    return Plan(1, "s/r", "Cloud", "Distributed", domain="cloud", members=members)


def asked(steps: tuple[route.Step, ...]) -> list[tuple[str, str]]:
    return [(step.via, step.uid) for step in steps]


def test_a_local_only_node_asks_the_origin_alone():
    plan = Plan(1, "s/r", "Basic", "LocalOnly")

    found = route.steps(plan, "n0", ("n0",), holders={"n1", "n2"})

    assert asked(found) == [("origin", "")]


def test_the_owner_looks_at_its_first_standby_before_it_crosses_the_line():
    """After a join that standby is the owner of before, and has the unit."""
    found = route.steps(plan_of(4), "n1", ("n1", "n2", "n3"))

    assert asked(found) == [("holder", "n2"), ("origin", "")]


def test_an_owner_whose_standby_is_down_asks_the_origin_alone():
    found = route.steps(plan_of(4), "n1", ("n1", "n2", "n3"), down={"n2"})

    assert asked(found) == [("origin", "")]


def test_holders_of_the_own_zone_come_first_then_the_ranking_then_the_origin():
    found = route.steps(plan_of(6), "n0", ("n1", "n2", "n3"), holders={"n4", "n5"})

    assert asked(found) == [
        ("holder", "n4"),
        ("holder", "n5"),
        ("owner", "n1"),
        ("standby", "n2"),
        ("standby", "n3"),
        ("origin", ""),
    ]


def test_a_standby_asks_only_those_ranked_before_it():
    found = route.steps(plan_of(4), "n2", ("n1", "n2", "n3"))

    assert asked(found) == [("owner", "n1"), ("origin", "")]


def test_an_owner_that_announced_the_unit_is_asked_as_the_owner():
    """A false announcement must not take the owner out of the order."""
    found = route.steps(plan_of(4), "n0", ("n1", "n2", "n3"), holders={"n1"})

    assert asked(found)[0] == ("owner", "n1")


def test_members_that_are_down_are_left_out():
    found = route.steps(plan_of(5), "n0", ("n1", "n2", "n3"), holders={"n4"}, down={"n1", "n4"})

    assert asked(found) == [("standby", "n2"), ("standby", "n3"), ("origin", "")]


def test_a_member_that_left_the_plan_is_no_holder():
    found = route.steps(plan_of(3), "n0", ("n1",), holders={"gone"})

    assert asked(found) == [("owner", "n1"), ("origin", "")]


@given(st.integers(2, 12), st.integers(0, 200), st.data())
def test_following_owner_and_standby_askings_always_ends_at_the_owner(count, slot, data):
    """The chain of askings climbs the ranking, so it cannot turn in a circle."""
    plan = plan_of(count)
    ranking = Ownership([(member.uid, 1.0) for member in plan.members]).ranking(slot)
    here = data.draw(st.sampled_from([member.uid for member in plan.members]))
    seen = [here]
    while True:
        above = [s for s in route.steps(plan, here, ranking) if s.via in ("owner", "standby")]
        if not above:
            break
        here = data.draw(st.sampled_from(above)).uid
        assert here not in seen
        seen.append(here)

    assert here == ranking[0]


def test_distances_count_hops_breadth_first():
    graph = {"a": ("b",), "b": ("a", "c"), "c": ("b",), "d": ()}

    assert route.distances(graph, "a") == {"a": 0, "b": 1, "c": 2}
