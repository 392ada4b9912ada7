"""Amounts as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_ctl.domain.quantity import format_rate, parse_bytes, parse_rate
from cache_ctl.errors import InvalidQuantity


@pytest.mark.parametrize(
    ("text", "amount"),
    [("4Mi", 4 << 20), ("10Gi", 10 << 30), ("8G", 8 * 10**9), ("1.5Ki", 1536), (512, 512),
     ("512", 512), (" 2 Ti ", 2 << 40), ("0", 0), ("3k", 3000)],
)  # fmt: skip
def test_bytes(text, amount):
    assert parse_bytes(text, "quota") == amount


@pytest.mark.parametrize(
    ("text", "rate"),
    [("500Mbit", 62_500_000), ("20Mbit", 2_500_000), ("1Gbit", 125_000_000), ("8bit", 1),
     ("1.5mbit", 187_500), ("64kbit", 8000)],
)  # fmt: skip
def test_rates_are_bits_and_become_bytes_per_second(text, rate):
    assert parse_rate(text, "line") == rate


@pytest.mark.parametrize(
    "text",
    ["", "Mi", "4MB", "4mi", "-1Gi", "1e3", "0.5", "1.7Ki", "9" * 20 + "Pi", True, None, 1.5],
)
def test_a_wrong_amount_is_named_with_its_field_and_the_remedy(text):
    with pytest.raises(InvalidQuantity) as caught:
        parse_bytes(text, "spec.tiers[0].quota")

    assert str(caught.value).startswith(f"spec.tiers[0].quota is {text!r}")
    assert '"10Gi"' in str(caught.value)


@pytest.mark.parametrize("text", ["500", "500MB", "500Mi", "fast", "1bit", "-1Mbit", ["1Mbit"]])
def test_a_wrong_rate_is_named_with_its_field_and_the_remedy(text):
    with pytest.raises(InvalidQuantity) as caught:
        parse_rate(text, "bandwidth")

    assert str(caught.value).startswith(f"bandwidth is {text!r}")
    assert '"500Mbit"' in str(caught.value)


@given(st.integers(0, 2**60))
def test_formatting_is_the_inverse_of_parsing(amount):
    assert parse_rate(format_rate(amount), "x") == amount
