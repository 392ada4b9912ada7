"""Killed at any instant, a store finds each cell right or absent, and its quotas hold."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile

import pytest

from runtime.store.core import FAULT_POINTS
from tests.support.store import MEMORY


@pytest.fixture(scope="module")
def outcomes():
    with tempfile.TemporaryDirectory(prefix="store-kills-", dir=MEMORY) as folder:
        command = [sys.executable, "-m", "tests.support.store_kills", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("point", FAULT_POINTS)
def test_a_kill_here_leaves_only_whole_cells(outcomes, point):
    outcome = outcomes[point]
    assert outcome["killed"], f"the scenario never reaches {point}"
    assert outcome["wrong"] == []
