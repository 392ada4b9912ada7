"""Names and label values that any Kubernetes name can be turned into."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_ctl.manifests.labels import label_value, worker_name

LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", fullmatch=True)


@given(st.text(max_size=300))
def test_every_text_gives_a_valid_label_value(text):
    assert LABEL.fullmatch(label_value(text))


@pytest.mark.parametrize("text", ["edge", "a.b-c", "x" * 63])
def test_what_is_valid_stays_as_it_is(text):
    assert label_value(text) == text


def test_texts_that_look_alike_get_values_of_their_own():
    texts = ["pool:a", "pool/a", "x" * 64, "x" * 65, "", ":"]

    assert len({label_value(text) for text in texts}) == len(texts)


@given(NAMES, NAMES)
def test_every_worker_has_a_valid_name(runtime, node):
    name = worker_name(runtime, node)

    assert len(name) <= 253
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", name)


def test_long_names_stay_apart():
    names = {worker_name("edge", "n" * 250 + end) for end in ("1", "2", "3")}

    assert len(names) == 3
