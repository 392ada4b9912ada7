"""A lab of real agents and a real origin, for each test."""

from __future__ import annotations

import pytest

from tests.support.lab import Lab
from tests.support.lab_origin import LabOrigin


@pytest.fixture(name="origin")
def _origin(tmp_path):
    folder = tmp_path / "origin"
    folder.mkdir()
    origin = LabOrigin(folder)
    yield origin
    origin.stop()


@pytest.fixture(name="slow_origin")
def _slow_origin(origin):
    """A second server over the same files, behind a line of 3 MB/s."""
    slow = LabOrigin(origin.folder, "--shape", "127.0.0.0/8=24Mbit")
    yield slow
    slow.stop()


@pytest.fixture(name="lab")
def _lab(tmp_path):
    lab = Lab(tmp_path / "lab")
    try:
        yield lab
        for node in lab.nodes.values():
            if node.process is not None:
                assert "Traceback" not in node.log(), node.log()
    finally:
        lab.stop()
