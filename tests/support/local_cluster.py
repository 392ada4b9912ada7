"""A local cluster as a person has it: files, ``cachectl up`` and the commands beside it."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.support.command import cachectl
from tests.support.live_world import REF, fleet, on_loopback
from tests.support.objects import SPACE, dataset, prewarm, runtime

if TYPE_CHECKING:
    from collections.abc import Iterator

STARTED = "all agents are ready"


class Cluster:
    """The files of a cluster in ``folder``, and commands about it.

    Edit ``objects`` (bodies by kind and name) and ``write`` them.
    """

    def __init__(self, folder: Path, source: str) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.file = folder / "cluster.yaml"
        tier = {"medium": "SSD", "path": str(folder / "tier"), "quota": "64Mi"}
        bodies = [
            *on_loopback(fleet()),
            runtime(tiers=[tier], chunkSize="64Ki"),
            dataset(mounts=[{"name": "train", "source": source}]),
            prewarm(includeLocalOnly=True),
        ]
        self.objects = {(body["kind"], body["metadata"]["name"]): body for body in bodies}
        self.write()

    def write(self) -> None:
        self.file.write_text(yaml.safe_dump_all(self.objects.values()))

    def run(self, *arguments: str | Path, stdin: str = "") -> Any:
        """Run a command on this state directory and return the finished process."""
        return cachectl(*arguments, stdin=stdin, timeout=180, CACHECTL_STATE_DIR=str(self.state))

    def ok(self, *arguments: str | Path, stdin: str = "") -> str:
        """Run a command that must succeed and return its output."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stdout + done.stderr
        return str(done.stdout)

    def refused(self, *arguments: str | Path, stdin: str = "") -> str:
        """Run a command that must fail with one clear sentence, and return that."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert done.stderr.startswith("cachectl: ")
        return str(done.stderr.removeprefix("cachectl: ").strip())

    def up(self) -> str:
        return self.ok("up", "-f", self.file, "--detach")

    def apply(self) -> list[str]:
        self.write()
        return self.ok("apply", "-f", self.file).splitlines()

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ok("status", "-o", "json"))
        return found

    def nodes(self) -> dict[str, dict[str, Any]]:
        return {row["name"]: row for row in self.status()["nodes"]}

    def wait_warm(self) -> None:
        """Wait until the prewarm is complete on every node."""
        self.wait(lambda found: all(row["complete"] for row in found["prewarms"]))

    def wait(self, condition: Any, tries: int = 300) -> dict[str, Any]:
        """Ask for the status until the condition holds; each asking is a process of its own."""
        for _ in range(tries):
            found = self.status()
            if condition(found):
                return found
        raise AssertionError(f"in vain: {json.dumps(found, indent=1)}")

    def read(self, path: str, node: str) -> bytes:
        """Read a file as a person would: the environment from ``env``, then ``cat``."""
        lines = self.ok("env", REF, "--node", node).splitlines()
        environment = dict(line.removeprefix("export ").split("=", 1) for line in lines)
        done = subprocess.run(
            [sys.executable, "-m", "cache_ctl", "cat", f"{REF}/{path}"],
            capture_output=True,
            timeout=60,
            check=False,
            env=environment,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def sockets(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_socket()]


@contextlib.contextmanager
def foreground(cluster: Cluster) -> Iterator[subprocess.Popen[str]]:
    """Run ``cachectl up`` in the foreground for the time of the block; it is up at its start."""
    command = [sys.executable, "-m", "cache_ctl", "up", "-f", str(cluster.file)]
    with subprocess.Popen(
        [*command, "--state-dir", str(cluster.state)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as child:
        try:
            assert child.stdout is not None
            seen = []
            for line in child.stdout:
                seen.append(line)
                if STARTED in line:
                    break
            else:
                raise AssertionError("".join(seen))
            yield child
        finally:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)


@contextlib.contextmanager
def detached(cluster: Cluster) -> Iterator[Cluster]:
    """Run the cluster in the background for the time of the block."""
    cluster.up()
    try:
        yield cluster
    finally:
        cluster.run("down")


__all__ = ["REF", "SPACE", "STARTED", "Cluster", "detached", "foreground"]
