"""What is printed at the end, and the JSON document."""

import io

import pytest
from rich.console import Console

from cache_ctl.cli.demo import document
from cache_ctl.demo.figures import Outcome, PoolFigures
from cache_ctl.demo.screen import Screen, next_commands

MIB = 1 << 20
PLANT = PoolFigures(
    name="plant",
    network_class="Dedicated",
    mode="Distributed",
    reason="AckDedicatedPool",
    nodes=("p1", "p2"),
    local_bytes=30 * MIB,
    peer_bytes=20 * MIB,
    origin_bytes=10 * MIB,
    read_bytes=60 * MIB,
    line_bytes_saved=20 * MIB,
    samples_per_second=(10.04, 2000.0, 2100.0),
)
STORES = PoolFigures(
    name=None,
    network_class="Basic",
    mode="LocalOnly",
    reason="AckBasicPool",
    nodes=("s1", "s2"),
    local_bytes=40 * MIB,
    peer_bytes=0,
    origin_bytes=20 * MIB,
    read_bytes=60 * MIB,
    line_bytes_saved=0,
    samples_per_second=(5.0, 1000.0, 1000.0),
)


def outcome(*problems: str) -> Outcome:
    return Outcome(
        files=610,
        bytes=10 * MIB,
        epochs=3,
        wrong_bytes=0,
        forbidden_connections=0,
        domains=(PLANT, STORES),
        problems=problems,
        prewarm_seconds=4.0,
        reading_seconds=5.0,
        wall_seconds=12.5,
    )


def printed(ended: Outcome) -> str:
    out = io.StringIO()
    Screen(Console(file=out, width=80)).finish(ended, ["cachectl explain node s1"])
    return out.getvalue()


def test_the_end_says_where_bytes_came_from_and_what_to_do_next():
    text = printed(outcome())
    lines = [line.strip() for line in text.splitlines()]
    row = next(index for index, line in enumerate(lines) if line.startswith("plant "))
    assert lines[row].split() == ["plant", "30.0", "20.0", "10.0", "20.0", "10", "2,000", "2,100"]
    assert lines[row + 1 : row + 3] == ["Dedicated, Distributed", "AckDedicatedPool"]
    assert "s1, s2" in text
    assert "0 connections to basic or unknown nodes" in text
    assert "Every byte was right" in text
    assert "cachectl explain node s1" in text


def test_a_problem_is_said_instead_of_praise():
    text = printed(outcome("p1 read 1 of 3 epochs"))
    assert "Not as it must be: p1 read 1 of 3 epochs." in text
    assert "Every byte was right" not in text


def test_the_document_carries_the_same_figures():
    found = document(outcome())
    assert {
        "ok": True,
        "wrongBytes": 0,
        "forbiddenConnections": 0,
        "files": 610,
        "bytes": 10 * MIB,
        "epochs": 3,
        "wallSeconds": 12.5,
        "problems": [],
    }.items() <= found.items()
    assert {
        "name": None,
        "networkClass": "Basic",
        "mode": "LocalOnly",
        "reason": "AckBasicPool",
        "nodes": 2,
        "members": ["s1", "s2"],
        "localBytes": 40 * MIB,
        "peerBytes": 0,
        "originBytes": 20 * MIB,
        "samplesPerSecond": [5.0, 1000.0, 1000.0],
    }.items() <= found["domains"][1].items()


def test_the_document_of_a_bad_run_is_not_ok():
    found = document(outcome("something"))
    assert (found["ok"], found["problems"]) == (False, ["something"])


@pytest.mark.parametrize(
    ("where", "ending"), [("", "store-1"), (" --state-dir /s", "store-1 --state-dir /s")]
)
def test_next_commands_name_the_state_only_where_they_must(where, ending):
    first, *_ = commands = next_commands("cachectl", "/s/files", where)
    assert first.endswith(ending)
    assert len(commands) == 3
