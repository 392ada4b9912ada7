"""What the local rows share: an origin, a warm agent before it, and passes over files."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import fsspec

from tests.perf.bench import origins
from tests.perf.bench.agents import DATASET, Agents, running_agents
from tests.perf.bench.row import Context, Pair, Turn

MIB = 1 << 20
CHUNK = 4 * MIB

Bars = Mapping[tuple[str, str], tuple[float | None, float | None]]
"""Bar and aim by case and peer."""


def write_random(path: Path, size: int, *, seed: int = 1) -> None:
    """Write bytes that repeat nowhere near."""
    source = random.Random(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        left = size
        while left:
            left -= file.write(source.randbytes(min(left, 16 * MIB)))


@dataclass(frozen=True, slots=True)
class Local:
    """One agent that holds all its Dataset, and the origin it came from.

    ``files`` are the origin's own, which a plain reader opens; ``scratch`` is on the same disk.
    """

    agents: Agents
    url: str
    files: Path
    scratch: Path

    def system(self, **options: Any) -> Any:
        """Return our client's file system; it shares nothing with others but the process."""
        return fsspec.filesystem("cachectl", **self.agents[0].options, **options)

    def ours(self, path: str) -> str:
        return f"{DATASET}/{path}"

    def theirs(self, path: str) -> str:
        return f"{self.url}/{path}"

    def caches(self, name: str) -> Path:
        """Return an empty folder for a peer's copies."""
        folder = self.scratch / name
        folder.mkdir()
        return folder


@contextlib.contextmanager
def warm_agent(context: Context, **options: Any) -> Iterator[Local]:
    """Run an agent over what the row has put into its origin's folder, and let it fetch all of it.

    The agent's tier, the peers' copies and the plain files lie on one file system.
    """
    scratch = Path(context.folder)
    with (
        origins.running(context) as url,
        running_agents(
            scratch / "a", f"{url}/", domain=None, tier=scratch / "t", **options
        ) as agents,
    ):
        agents.warm()
        yield Local(agents, url, origins.origin_folder(context), scratch)


def one_pass(file: BinaryIO, step: int = CHUNK) -> int:
    """Read a file from its start to its end; return its bytes."""
    file.seek(0)
    done = 0
    while data := file.read(step):
        done += len(data)
    return done


def check(named: Mapping[str, bytes | int], wanted: bytes | int) -> None:
    """Insist, before anything is timed, that everyone reads the same bytes, or their digest.

    Raises:
        RuntimeError: somebody does not.
    """
    for name, data in named.items():
        if data != wanted:
            raise RuntimeError(f"{name} read other bytes than the origin has")


def pairs_of(bars: Bars, unit: str = "B") -> Callable[[str, Turn, str, Turn], Pair]:
    """Return how to make pairs that count one unit, with their bars and aims."""

    def pair(case: str, ours: Turn, peer: str, theirs: Turn) -> Pair:
        bar, aim = bars.get((case, peer), (None, None))
        return Pair(case, peer, unit, ours, theirs, bar, aim)

    return pair


def plain_pass(descriptor: int, buffer: bytearray, step: int = CHUNK) -> int:
    """Read a file with ``os.preadv`` into one buffer: the limit of any reader that copies."""
    done = 0
    view = memoryview(buffer)[:step]
    while count := os.preadv(descriptor, (view,), done):
        done += count
    return done
