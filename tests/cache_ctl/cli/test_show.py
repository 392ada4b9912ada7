"""Small words of the command line: ages, and state directories in commands to type."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cache_ctl.api.conditions import timestamp
from cache_ctl.cli.show import age
from cache_ctl.cli.state import DEFAULT, naming, shown
from cache_ctl.domain.quantity import short_bytes

NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (119, "119s"),
        (125, "2m5s"),
        (3599, "59m"),
        (4 * 3600, "4h"),
        (72 * 3600, "3d"),
    ],
)
def test_an_age_is_short(seconds, text):
    assert age(timestamp(NOW - timedelta(seconds=seconds)), NOW) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0"), (1023, "1023"), (1536, "1.5Ki"), (300 << 20, "300Mi")]
)
def test_bytes_are_short(count, text):
    assert short_bytes(count) == text


def test_the_usual_state_directory_need_not_be_named(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("CACHECTL_STATE_DIR", raising=False)
    assert naming(DEFAULT.expanduser()) == ""
    assert naming(Path("/home/me/my state")) == " --state-dir ~/'my state'"
    monkeypatch.setenv("CACHECTL_STATE_DIR", "/elsewhere")
    assert naming(Path("/elsewhere")) == ""
    assert shown(Path("/else where")) == "'/else where'"
