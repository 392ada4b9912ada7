"""The policies that the product's own is compared with do what their names say."""

from __future__ import annotations

import pytest

from tests.perf.bench.caches import REFERENCES, lfu, lru, s3_fifo, serving, w_tiny_lfu
from tests.perf.bench.rows.zipf import hit_ratio, trace

EVERY = {**REFERENCES, "ours": serving}


@pytest.mark.parametrize("name", EVERY)
def test_what_fits_is_kept_for_ever(name):
    hit = EVERY[name](100)
    for key in range(90):
        assert not hit(key)

    # W-TinyLFU admits what fits into its window and main part, whatever its frequency.
    assert all(hit(key) for key in range(90))


@pytest.mark.parametrize("name", EVERY)
def test_no_policy_holds_more_than_its_capacity(name):
    hit = EVERY[name](50)
    for key in range(500):
        hit(key)

    assert sum(hit(key) for key in range(500, 0, -1)) <= 50


def test_lru_gives_up_what_was_used_longest_ago():
    hit = lru(2)
    hit("a"), hit("b"), hit("a"), hit("c")

    assert [hit("a"), hit("c"), hit("b")] == [True, True, False]


def test_lfu_gives_up_what_was_used_least():
    hit = lfu(2)
    hit("a"), hit("a"), hit("b"), hit("c")

    assert [hit("a"), hit("c"), hit("b")] == [True, True, False]


@pytest.mark.parametrize("policy", [s3_fifo, w_tiny_lfu, serving])
def test_a_scan_does_not_push_out_what_is_read_often(policy):
    hit = policy(100)
    for _ in range(20):
        for key in range(50):
            hit(key)
    for key in range(1000, 3000):
        hit(key)

    assert sum(hit(key) for key in range(50)) >= 40


def test_ours_is_near_the_best_on_a_skewed_trace():
    wanted = trace(2000, 60_000)
    best = max(hit_ratio(make(200), wanted) for make in REFERENCES.values())

    assert hit_ratio(serving(200), wanted) > best - 0.02
