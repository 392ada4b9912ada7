"""The agent process of ``client_agent``, driven by a test."""

from __future__ import annotations

import http.client
import json
import random
import socket
import subprocess
import sys
from pathlib import Path

from tests.support.client_agent import TOKEN

ROOT = Path(__file__).parents[2]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(str(self._path))


class AgentProcess:
    """An agent in a process of its own. ``origin`` is the folder that it serves."""

    def __init__(self, folder: Path) -> None:
        self.origin = folder / "origin"
        self.state = folder / "state"
        self.socket = folder / "agent.sock"
        self.origin.mkdir()
        self.state.mkdir()
        self._process: subprocess.Popen[str] | None = None

    @property
    def options(self) -> dict[str, object]:
        return {"socket": str(self.socket), "token": TOKEN, "timeout": 10.0}

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.support.client_agent"]
        self._process = subprocess.Popen(
            [*command, self.origin, self.state, self.socket],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "listening\n"

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()
            self._process = None

    def tell(self, **order: object) -> dict[str, object]:
        """Give an order, return what the agent has seen so far."""
        connection = _UnixConnection(self.socket)
        try:
            connection.request("POST", "/test", json.dumps(order))
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def counts(self) -> dict[str, int]:
        return self.tell(reset=True)["counts"]


SAMPLES: dict[str, int] = {
    "train/a/0001.jpg": 10_240,
    "train/a/0002.jpg": 1,
    "train/a/0003.jpg": 65_535,
    "train/a/deep/er/x.txt": 300,
    "train/empty.bin": 0,
    "train/b/exactly.bin": 256 << 10,
    "train/b/one-more.bin": (256 << 10) + 1,
    "train/b/one-less.bin": (256 << 10) - 1,
    "train/b/smallest-large.bin": 65_536,
    "train/large.bin": 2_000_003,
    "val/with space +%&?#=.bin": 70_001,
    "val/na\u00efve \u96ea.txt": 77,
    "val/[1].txt": 12,
    "val/1.txt": 13,
    "readme.md": 5,
}
"""Files of the sample Dataset and their sizes, around every limit of chunk, segment and pack."""


def sample_bytes(path: str, size: int) -> bytes:
    """Return bytes with many lines in them, the same for one path."""
    data = random.Random(path).randbytes(size)
    return data.replace(b"\x07", b"\n")


def write_samples(folder: Path) -> dict[str, bytes]:
    """Write the sample files below a folder and return them by path."""
    files = {path: sample_bytes(path, size) for path, size in SAMPLES.items()}
    for path, data in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return files
