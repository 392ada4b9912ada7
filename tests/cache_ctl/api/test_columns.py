"""Printer columns: paths as a CustomResourceDefinition has them, and what stands there."""

from __future__ import annotations

import pytest

from cache_ctl.api.columns import COLUMNS, Column, columns_of
from cache_ctl.api.kinds import CACHE_RUNTIME, DATASET, NODE, SECRET, find_resource
from cache_ctl.api.load import MODELS

BODY = {
    "metadata": {"labels": {"a.b/c": "d"}},
    "status": {
        "files": 3,
        "conditions": [
            {"type": "Warm", "status": "False"},
            {"type": "Ready", "status": "True"},
        ],
    },
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (".status.files", 3),
        (".status.nothing.more", None),
        (r".metadata.labels.a\.b/c", "d"),
        ('.status.conditions[?(@.type=="Ready")].status', "True"),
        ('.status.conditions[?(@.type=="Placed")].status', None),
        (".status.files.more", None),
    ],
)
def test_a_path_leads_to_its_value(path, value):
    assert Column("X", path).value(BODY) == value


def test_every_kind_of_ours_has_columns_whose_fields_exist():
    for kind, model in MODELS.items():
        for column in COLUMNS[kind]:
            top, field = column.path.split("[")[0].split(".")[1:3]
            if top in ("spec", "status"):
                inner = model.model_fields[top].annotation
                assert field in {item.alias for item in inner.model_fields.values()}, column


def test_wide_has_more_columns():
    assert set(columns_of(DATASET)) < set(columns_of(DATASET, wide=True))
    assert [column.name for column in columns_of(SECRET)] == ["Age"]


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("Dataset", DATASET),
        ("datasets", DATASET),
        ("dset", DATASET),
        ("datasets.cachectl.dev", DATASET),
        ("CRT", CACHE_RUNTIME),
        ("no", NODE),
        ("datasets.example.org", None),
        ("pods", None),
    ],
)
def test_a_kind_has_several_names(word, kind):
    assert find_resource(word) is kind
