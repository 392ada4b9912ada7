"""Drivers bring client libraries that take long to import: they can be had ahead, off the loop."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = """
import sys
from runtime.origin.base import load_driver
assert "aiohttp" not in sys.modules
load_driver(sys.argv[1])
print(*(name for name in sys.modules if name.startswith("runtime.origin.")))
"""


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("HTTPS://files.example/a/", "runtime.origin.http"),
        ("oss://bucket/a", "runtime.origin.oss"),
        ("file:///data", "runtime.origin.generic"),
        ("no-such-scheme://a", "runtime.origin.generic"),
    ],
)
def test_the_driver_of_a_source_is_imported_and_nothing_opened(source, module):
    command = [sys.executable, "-c", _PROGRAM, source]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert module in done.stdout.split()
