"""The agent process of ``client_agent``, driven by a test."""

from __future__ import annotations

import http.client
import json
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
