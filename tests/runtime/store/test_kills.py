"""Killed at any instant, a store finds each cell right or absent, and its quotas hold."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from runtime.store.core import FAULT_POINTS


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills")
    command = [sys.executable, "-m", "tests.support.store_kills", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("point", FAULT_POINTS)
def test_a_kill_here_leaves_only_whole_cells(outcomes, point):
    outcome = outcomes[point]
    assert outcome["killed"], f"the scenario never reaches {point}"
    assert outcome["wrong"] == []
