"""Names of a large Dataset, resolved in the reader's process."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import fsspec

from tests.perf.bench import simulated
from tests.perf.bench.agents import DATASET, RunningAgent, running_agents
from tests.perf.bench.row import Case, Context, Single

NAME = "names"
WORK = "a Dataset of a million paths: info, ls, find, and the first use by a new process"
BARS = {
    ("info", ""): (100_000.0, 200_000.0),
    ("ls of 1,000 entries", ""): (0.005, None),
    ("find of all", ""): (2.0, 1.0),
    ("first byte of a new process", ""): (0.05, None),
}
FIRST = """
import json, sys, time
start = time.perf_counter()
import fsspec
known = time.perf_counter()
asked = json.load(sys.stdin)
with fsspec.filesystem("cachectl", **asked["options"]).open(asked["path"]) as file:
    assert file.read(1) == b"\\0"
print(time.perf_counter() - start, known - start)
"""


def run(context: Context) -> Generator[Case, None, None]:
    count = context.sized(1_000_000, 50_000)
    folder = Path(context.folder)
    with running_agents(
        folder / "a",
        "http://127.0.0.1:9/",
        domain=None,
        tier=folder / "t",
        prepare=lambda node, tier: simulated.fill(
            tier, simulated.give_catalog(node, simulated.equal_files(count, 10 << 10))
        ),
    ) as agents:
        system = fsspec.filesystem("cachectl", **agents[0].options)
        _check(system, count)
        times = context.sized(9, 3)
        yield _single("info", "paths/s", _info(system, count), times, best="high")
        yield _single("ls of 1,000 entries", "s", _ls(system, count), context.sized(101, 21))
        yield _single("find of all", "s", _find(system), times, of=count)
        new = _NewProcess(agents[0], f"{DATASET}/{simulated.path_of(count // 2)}")
        yield _single("first byte of a new process", "s", new.first_byte, context.sized(21, 5))
        yield Single(
            "import of fsspec alone", "s", new.imported, times=times, about="it is part of that"
        )


def _single(
    case: str,
    unit: str,
    measure: Callable[[], float],
    times: int,
    *,
    best: str = "low",
    of: int = 1_000_000,
) -> Single:
    bar, aim = BARS[case, ""]
    if of != 1_000_000:  # a quick run has fewer paths to find
        bar, aim = bar * of / 1_000_000, aim * of / 1_000_000
    return Single(case, unit, measure, bar, aim, best, times, ABOUT[case])


ABOUT = {
    "info": "random paths, one thread",
    "ls of 1,000 entries": "with details, another folder each time",
    "find of all": "the whole list of paths",
    "first byte of a new process": "import fsspec, open, read; the interpreter runs already",
}


def _check(system: Any, count: int) -> None:
    found = system.find(DATASET)
    wanted = [f"{DATASET}/{simulated.path_of(number)}" for number in range(count)]
    if found != wanted:
        raise RuntimeError("find lists other paths than the Dataset has")


def _info(system: Any, count: int) -> Callable[[], float]:
    source = random.Random(1)
    paths = [f"{DATASET}/{simulated.path_of(source.randrange(count))}" for _ in range(50_000)]

    def measure() -> float:
        start = time.perf_counter()
        for path in paths:
            system.info(path)
        return len(paths) / (time.perf_counter() - start)

    return measure


def _ls(system: Any, count: int) -> Callable[[], float]:
    numbers = random.Random(1)

    def measure() -> float:
        number = numbers.randrange(count // simulated.FOLDER)
        start = time.perf_counter()
        listed = system.ls(f"{DATASET}/train/{number:04}", detail=True)
        seconds = time.perf_counter() - start
        assert len(listed) == simulated.FOLDER
        return seconds

    return measure


def _find(system: Any) -> Callable[[], float]:
    def measure() -> float:
        start = time.perf_counter()
        system.find(DATASET)
        return time.perf_counter() - start

    return measure


class _NewProcess:
    """What a process that has just started pays."""

    def __init__(self, agent: RunningAgent, path: str) -> None:
        # The token goes in by standard input: lists of processes show arguments.
        self._asked = json.dumps({"options": agent.options, "path": path})

    def _run(self) -> tuple[float, float]:
        done = subprocess.run(
            [sys.executable, "-c", FIRST],
            input=self._asked,
            capture_output=True,
            text=True,
            check=True,
            env=dict(os.environ),
        )
        whole, known = map(float, done.stdout.split())
        return whole, known

    def first_byte(self) -> float:
        return self._run()[0]

    def imported(self) -> float:
        return self._run()[1]
