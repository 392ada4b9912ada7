"""What must hold at the end of the demo, and what is said when it does not."""

from dataclasses import replace

import pytest

from cache_ctl.demo.figures import (
    Fetched,
    NodeFigures,
    Placing,
    Promise,
    Tally,
    forbidden_connections,
    pools_of,
    problems_of,
)
from runtime.contract.report import Connections

SIZE = 900
FILES = 9
PROMISE = Promise(FILES, SIZE, 2)


def tallies(*seconds: float) -> tuple[Tally, ...]:
    return tuple(Tally(n, files=FILES, bytes=SIZE, seconds=s) for n, s in enumerate(seconds))


def member(index: int, **changes) -> NodeFigures:
    placing = Placing(f"c{index}", f"127.0.1.{index}", "Cloud", "Distributed", "cloud", "CloudNode")
    figures = NodeFigures(
        placing,
        tallies=tallies(1.0, 0.5),
        fetched=Fetched(peer=600, origin=300),
        before=Fetched(peer=0, origin=300),
        sent=300,
    )
    return replace(figures, **changes)


def store(index: int, **changes) -> NodeFigures:
    placing = Placing(f"s{index}", f"127.0.4.{index}", "Basic", "LocalOnly", None, "BasicPool")
    figures = NodeFigures(
        placing, tallies=tallies(3.0, 0.5), fetched=Fetched(origin=SIZE), sent=SIZE
    )
    return replace(figures, **changes)


GOOD = (member(1), member(2), member(3), store(1), store(2))


def test_a_good_run_has_no_problems():
    assert problems_of(GOOD, [], PROMISE) == []


def test_an_agent_that_has_gone_is_a_problem_of_its_own():
    assert problems_of(GOOD, ["c1", "c2", "c3", "s1", "s2", "s9"], PROMISE) == [
        "the agent on s9 does not answer at the end"
    ]


def test_distributed_nodes_are_summed_by_domain_and_local_only_nodes_by_reason():
    unknown = store(9)
    unknown = replace(unknown, placing=replace(unknown.placing, reason="NoMarker"))
    cloud, stores, strangers = pools_of((*GOOD, unknown))
    assert (cloud.name, cloud.nodes) == ("cloud", ("c1", "c2", "c3"))
    assert (cloud.origin_bytes, cloud.peer_bytes) == (SIZE, 1800)
    assert (stores.name, stores.nodes, stores.origin_bytes) == (None, ("s1", "s2"), 2 * SIZE)
    assert (strangers.name, strangers.nodes) == (None, ("s9",))


def test_bytes_that_were_there_when_they_were_read_count_as_local():
    assert member(1).local_bytes == 2 * SIZE - 600
    assert store(1).local_bytes == SIZE


def test_a_line_saves_what_nodes_behind_it_had_from_each_other():
    behind = [
        replace(node, placing=replace(node.placing, network_class="Dedicated")) for node in GOOD[:3]
    ]

    assert pools_of(behind)[0].line_bytes_saved == 3 * 600
    assert [pool.line_bytes_saved for pool in pools_of(GOOD)] == [0, 0]


def test_the_samples_of_a_pool_add_up_by_epoch():
    assert pools_of(GOOD)[0].samples_per_second == (27.0, 54.0)


@pytest.mark.parametrize(
    ("node", "sentence"),
    [
        (
            member(1, tallies=(Tally(0, FILES, SIZE, wrong_bytes=7), *tallies(1, 1)[1:])),
            "c1, epoch 1: 7 bytes differ from the origin",
        ),
        (
            member(
                1, tallies=(Tally(0, 8, 800, failures=1, failure="a: gone"), *tallies(1, 1)[1:])
            ),
            "c1, epoch 1: 1 files could not be read, the last one a: gone",
        ),
        (
            member(1, tallies=(Tally(0, 8, 800), *tallies(1, 1)[1:])),
            "c1, epoch 1: read 8 files and 800 bytes of 9 and 900",
        ),
        (member(1, tallies=tallies(1)), "c1 read 1 of 2 epochs"),
        (member(1, sent=299), "c1 counts 300 bytes from the origin, which counts 299 to it"),
        (
            member(1, fetched=Fetched(600, 400), sent=400),
            "domain cloud drew 1000 bytes from the origin; one crossing is 900",
        ),
    ],
    ids=["wrong bytes", "unread", "missing", "short", "origin disagrees", "crossed twice"],
)
def test_each_broken_promise_is_named(node, sentence):
    assert problems_of((node, *GOOD[1:]), [], PROMISE) == [sentence]


def test_a_local_only_node_must_have_its_own_copy():
    lazy = store(1, fetched=Fetched(origin=10), sent=10)
    assert problems_of((lazy,), [], PROMISE) == [
        "s1 must fetch its own copy of 900 bytes, and fetched 10"
    ]


def test_connections_between_members_are_no_problem():
    talking = member(1, connections=Connections({"127.0.1.2": 3}, {"127.0.1.3": 2}, 0))
    assert forbidden_connections((talking, *GOOD[1:])) == 0


@pytest.mark.parametrize(
    "nodes",
    [
        (member(1, connections=Connections(dialled={"127.0.4.1": 1})), store(1)),
        (member(1), store(1, connections=Connections(accepted={"127.0.1.1": 1}))),
        (member(1, connections=Connections(accepted={"10.9.9.9": 1}, forbidden=1)), store(1)),
        (member(1, connections=Connections(accepted={"127.0.4.1": 1}, forbidden=1)), store(1)),
    ],
    ids=["dialled a store", "a store accepted", "agent refused a stranger", "seen by both"],
)
def test_a_connection_with_a_basic_node_counts_once_whoever_saw_it(nodes):
    assert forbidden_connections(nodes) == 1
    assert "1 connections involve a node that may not peer" in problems_of(nodes, [], PROMISE)
