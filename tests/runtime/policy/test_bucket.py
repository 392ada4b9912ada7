"""The token bucket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.policy.bucket import TokenBucket


@given(st.integers(1, 1 << 30), st.lists(st.integers(1, 1 << 22), min_size=1, max_size=50))
def test_a_caller_that_waits_as_told_never_exceeds_rate_and_burst(rate, takes):
    burst = 1 << 16
    bucket = TokenBucket(rate, burst=burst, now=0.0)
    now, passed = 0.0, 0
    for count in takes:
        now += bucket.take(count, now=now)
        passed += count
        assert passed <= burst + rate * now * 1.000001 + 1


def test_no_rate_is_no_limit():
    assert TokenBucket(0, burst=1, now=0.0).take(1 << 40, now=0.0) == 0.0


def test_tokens_come_back_with_time_up_to_the_burst():
    bucket = TokenBucket(100, burst=50, now=0.0)
    bucket.take(50, now=0.0)

    assert bucket.take(25, now=0.25) == 0.0
    assert bucket.take(50, now=100.0) == 0.0
    assert bucket.take(50, now=100.0) == pytest.approx(0.5)


def test_what_is_owed_stays_owed_at_a_new_rate():
    bucket = TokenBucket(100, burst=1, now=0.0)
    bucket.take(101, now=0.0)
    bucket.set_rate(1000, burst=1, now=0.0)

    assert bucket.take(0, now=0.0) == pytest.approx(0.1)
