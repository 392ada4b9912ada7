"""What the agent passes to its clients."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.serve.readers import duplicates


def open_descriptors() -> set[str]:
    return {link.name for link in Path("/proc/self/fd").iterdir() if link.exists()}


def test_descriptors_are_duplicated_all_or_none(tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    fd = os.open(tmp_path / "a", os.O_RDONLY)
    before = open_descriptors()

    with pytest.raises(OSError, match="Bad file descriptor"):
        duplicates([fd, fd, -1])

    assert open_descriptors() == before
    made = duplicates([fd, fd])
    assert len({fd, *made}) == 3
    for each in (fd, *made):
        assert os.pread(each, 1, 0) == b"a"
        os.close(each)
