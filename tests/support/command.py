"""The command line as a user runs it: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

DATA = Path(__file__).parent.parent / "data"
FLEET = DATA / "nodes" / "fleet.yaml"


def cachectl(*arguments: str | Path, stdin: str = "", timeout: float = 60, **environment: str):
    """Run ``cachectl`` and return the finished process; its output is text."""
    return subprocess.run(
        [sys.executable, "-m", "cache_ctl", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "NO_COLOR": "1", **environment},
    )
