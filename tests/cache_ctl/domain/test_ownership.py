"""Who owns a unit, and where a read looks for it."""

from __future__ import annotations

import pytest

from cache_ctl.domain.facts import AgentFacts
from cache_ctl.domain.ownership import explain_unit, read_path, shares
from cache_ctl.domain.planning import plan
from cache_ctl.errors import UnknownName
from runtime.contract.units import slot_of
from tests.support.clusters import fleet, planning, runtime

UNIT = "00ff.3"


def made(name, size=12, **fields):
    return plan(*planning(fleet({"p": size}, basic=1), **fields)).plans[f"edge-cache.{name}"]


def test_the_ranking_names_owner_and_standbys_by_falling_score():
    found = explain_unit(made("pool.p"), UNIT)

    assert found.slot == slot_of(UNIT)
    assert len(found.ranking) == 3
    scores = [rank.score for rank in found.ranking]
    assert scores == sorted(scores, reverse=True)
    assert found.ranking[0].member.name in found.why


def test_shares_sum_to_one_and_clients_have_none():
    agents = [AgentFacts(f"uid-p-{i}", role="client" if i == 0 else "cache") for i in range(4)]
    plan_of_four = made("pool.p", 4, runtime=runtime((), agents=tuple(agents)))

    found = shares(plan_of_four)

    assert found["uid-p-0"] == 0
    assert sum(found.values()) == pytest.approx(1)


def test_a_read_looks_here_then_at_neighbours_then_at_the_owner_then_at_the_origin():
    distributed = made("pool.p")
    owner = explain_unit(distributed, UNIT).ranking[0].member.name
    reader = next(m.name for m in distributed.members if m.name not in _ranked(distributed))

    steps = read_path(distributed, UNIT, reader, origin="http://origin")

    sources = [step.source for step in steps]
    assert sources[0] == "local"
    assert sources[-4:] == ["owner", "standby", "standby", "origin"]
    assert set(sources[1:-4]) == {"holder"}
    assert next(step.node for step in steps if step.source == "owner") == owner
    assert "http://origin" in steps[-1].why


def _ranked(distributed):
    return {rank.member.name for rank in explain_unit(distributed, UNIT).ranking}


def test_the_owner_goes_to_the_origin_itself():
    distributed = made("pool.p")
    owner = explain_unit(distributed, UNIT).ranking[0].member.name

    sources = [step.source for step in read_path(distributed, UNIT, owner)]

    assert "owner" not in sources
    assert "standby" not in sources
    assert sources[-1] == "origin"


@pytest.mark.parametrize("size", [3, 12])
def test_the_owner_looks_at_its_first_standby_before_it_crosses_the_line(size):
    distributed = made("pool.p", size)
    owner, standby = [rank.member.name for rank in explain_unit(distributed, UNIT).ranking[:2]]

    *_, look, origin = read_path(distributed, UNIT, owner)

    assert (look.source, look.node) == ("holder", standby)
    assert "first standby" in look.why
    assert origin.source == "origin"


def test_a_local_only_node_asks_nobody_but_the_origin():
    steps = read_path(made("local-basic"), UNIT, "shop-0", origin="https://public")

    assert [(step.source, step.node) for step in steps] == [("local", "shop-0"), ("origin", "")]
    assert "https://public" in steps[1].why


def test_a_stranger_to_the_domain_is_an_error():
    with pytest.raises(UnknownName, match="shop-0 is no member of the domain pool:p"):
        read_path(made("pool.p"), UNIT, "shop-0")
