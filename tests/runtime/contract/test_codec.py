"""Documents on the wire."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.contract import codec
from runtime.contract.plan import (
    DatasetPlan,
    Endpoints,
    Member,
    MountPlan,
    Plan,
    PrewarmPlan,
    TierPlan,
)
from runtime.contract.report import Connections, DatasetReport, NodeReport
from runtime.errors import ConfigError

text = st.text(max_size=12)
number = st.integers(0, 1 << 53)
members = st.builds(Member, text, text, text, number, weight=st.floats(0, 100))
mounts = st.builds(
    MountPlan,
    text,
    text,
    endpoints=st.builds(Endpoints, text, text, text),
    options=st.dictionaries(text, text, max_size=3),
    include=st.lists(text, max_size=3).map(tuple),
)
datasets = st.builds(
    DatasetPlan, text, text, text, st.lists(mounts, max_size=2).map(tuple), refresh_seconds=number
)
plans = st.builds(
    Plan,
    number,
    text,
    st.sampled_from(["Cloud", "Dedicated", "Basic"]),
    st.sampled_from(["Distributed", "LocalOnly"]),
    domain=st.none() | text,
    members=st.lists(members, max_size=3).map(tuple),
    rings=st.lists(st.lists(st.integers(0, 9), max_size=3).map(tuple), max_size=2).map(tuple),
    tiers=st.lists(st.builds(TierPlan, st.just("SSD"), text, number), max_size=2).map(tuple),
    datasets=st.lists(datasets, max_size=2).map(tuple),
    prewarms=st.lists(st.builds(PrewarmPlan, text, text, text, text), max_size=2).map(tuple),
)


@given(plans)
def test_a_plan_survives_the_wire(plan):
    assert codec.loads(Plan, codec.dumps(plan)) == plan


def test_a_report_survives_the_wire():
    report = NodeReport(
        "n",
        "u",
        "Basic",
        "LocalOnly",
        None,
        ready=True,
        plan_generation=3,
        pid=1,
        address="a",
        port=None,
        socket="s",
        datasets=(DatasetReport("a/b", bytes=7),),
        counters={"origin_bytes": 7},
        connections=Connections(dialled={"10.0.0.1": 2}),
    )

    assert codec.loads(NodeReport, codec.dumps(report)) == report


def test_fields_that_a_newer_writer_added_are_ignored():
    document = codec.to_json(Plan(1, "s/r", "Cloud", "LocalOnly")) | {"later": {"x": 1}}

    assert codec.from_json(Plan, document) == Plan(1, "s/r", "Cloud", "LocalOnly")


def test_the_same_document_gives_the_same_bytes():
    mount = MountPlan("m", "s", options={"b": "1", "a": "2"})
    other = replace(mount, options={"a": "2", "b": "1"})

    assert codec.dumps(mount) == codec.dumps(other)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"generation": "3"}, "Plan.generation is '3'"),
        ({"mode": "Both"}, "must be one of Distributed, LocalOnly"),
        ({"members": [{"uid": "u"}]}, "Plan.members[0].name is missing"),
        ({"tiers": {}}, "Plan.tiers is {}"),
        ({"members": [7]}, "Plan.members[0] is 7; it must be an object"),
        ({"generation": True}, "Plan.generation is True"),
    ],
)
def test_a_wrong_field_is_named_with_its_place(change, told):
    document = codec.to_json(Plan(1, "s/r", "Cloud", "LocalOnly")) | change

    with pytest.raises(ConfigError) as failure:
        codec.from_json(Plan, json.loads(json.dumps(document)))

    assert told in str(failure.value)


def test_what_is_not_json_is_refused():
    with pytest.raises(ConfigError, match="not a JSON document"):
        codec.loads(Plan, "{")
