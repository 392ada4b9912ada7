"""How many accelerators a node's reads can feed, in the three access patterns of MLPerf Storage.

The benchmark's own loader does not install here, so its patterns are emulated: sizes of files, how
a file is read, in shuffled order by some reader threads, and what one H100 takes in at full use
(its configuration: a batch's bytes over its compute time). An accelerator counts as fed at 90 % of
that. The figure is that of readers that never wait for a computation.

Ours and ``filecache`` are read warm on the node; the origin directly, as without any cache, over
a line of 1 Gbit/s that adds 10 ms to a round trip.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec

from runtime.client.filesystem import CacheFileSystem
from tests.perf.bench.agents import DATASET, Seat, running_agents
from tests.perf.bench.cluster import make_objects
from tests.perf.bench.netlab import MBIT, Host, NoNetlabError, copy_rate, line, round_trip
from tests.perf.bench.process import sample
from tests.perf.bench.row import Case, Context, Gap, Pair, Sample
from tests.support.lab import MIB
from tests.support.origin import running_origin

NAME = "trainers"
WORK = "MLPerf Storage's patterns unet3d, resnet50 and cosmoflow, emulated: H100s fed at 90 %"

READERS = 4
FED = 0.9
LINE = 1000 * MBIT
DELAY = 0.01

Open = Callable[[str], AbstractContextManager[Any]]
"""Opens a path; what it gives has ``readinto``."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """An access pattern: files of a size in bytes, read in pieces; bytes a second of one H100."""

    name: str
    size: int
    full: int
    quick: int
    piece: int
    demand: float

    def paths(self, context: Context) -> list[str]:
        """Return the paths of its files."""
        return [f"{self.name}/{n:04}" for n in range(context.sized(self.full, self.quick))]


PATTERNS = (
    # A sample is a file, read whole; seven a batch, 0.323 s.
    Pattern("unet3d", 146_600_000, 4, 1, 4 * MIB, 3.18e9),
    # Records of a file one after the other, through the 256 KiB buffer of its reader.
    Pattern("resnet50", 1251 * 114_700, 3, 1, 256 << 10, 205e6),
    # A sample is a file, read whole; one a batch, 3.5 ms.
    Pattern("cosmoflow", 2_830_000, 60, 30, 4 * MIB, 808e6),
)


class _Trainer:
    """Reader threads that take files in shuffled order."""

    def __init__(self, pattern: Pattern, paths: list[str], opened: Open, *, seconds: float) -> None:
        self._seconds = seconds
        self._pattern = pattern
        self._paths = paths
        self._opened = opened
        self._epoch = 0

    def turn(self) -> Sample:
        """Read for a while; return how many accelerators that feeds."""
        return sample(self._read, seconds=self._seconds)

    def _read(self) -> float:
        """Read until the time is over, a piece at least; return how long that feeds one H100."""
        deadline = time.perf_counter() + self._seconds
        order = self._shuffled()
        lock = threading.Lock()
        counts: list[int] = []
        failures: list[BaseException] = []

        def read() -> None:
            buffer = memoryview(bytearray(self._pattern.piece))
            got = 0
            try:
                while not got or time.perf_counter() < deadline:
                    with lock:
                        path = next(order)
                    with self._opened(path) as file:
                        while count := file.readinto(buffer):
                            got += count
                            if time.perf_counter() >= deadline:
                                break
            except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
                failures.append(error)
            counts.append(got)

        threads = [threading.Thread(target=read) for _ in range(READERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        return sum(counts) / (FED * self._pattern.demand)

    def _shuffled(self) -> Iterator[str]:
        while True:
            self._epoch += 1
            paths = list(self._paths)
            random.Random(self._epoch).shuffle(paths)
            yield from paths

    def warm(self, folder: Path) -> None:
        """Read every file once, whole, and compare it with the true one."""
        for path in self._paths:
            with self._opened(path) as file, (folder / path).open("rb") as true:
                while data := file.read(self._pattern.piece):
                    if data != true.read(len(data)):
                        raise ValueError(f"wrong bytes in {path}")


def _direct(host: Host, address: str) -> Open:
    """Return an opener that asks an origin from a host, each thread over a connection it keeps."""
    own = threading.local()

    @contextlib.contextmanager
    def opened(path: str) -> Iterator[http.client.HTTPResponse]:
        connection = getattr(own, "connection", None)
        if connection is None:
            connection = own.connection = http.client.HTTPConnection(address, timeout=60)
            with host.entered():
                connection.connect()
        connection.request("GET", f"/{path}")
        answer = connection.getresponse()
        try:
            yield answer
        finally:
            if not answer.isclosed():  # left in the middle
                connection.close()
                own.connection = None

    return opened


def run(context: Context) -> Iterator[Case]:
    """Yield each pattern against the origin and against filecache."""
    folder = Path(context.folder) / "origin"
    for pattern in PATTERNS:
        make_objects(folder, dict.fromkeys(pattern.paths(context), pattern.size))
    with contextlib.ExitStack() as stack:
        try:
            wire = stack.enter_context(line(LINE, DELAY))
        except NoNetlabError as error:
            yield Gap(NAME, "direct origin", str(error))
            return
        shape = copy_rate(wire.far, wire.near, LINE) / MBIT, round_trip(wire.near, wire.far)
        context.versions["line"] = f"{shape[0]:.0f} Mbit/s, {shape[1] * 1000:.1f} ms round trip"
        origin = stack.enter_context(
            running_origin(folder, "--manifest", host=wire.far.address, prefix=wire.far.prefix)
        )
        (agent,) = stack.enter_context(
            running_agents(
                Path(context.folder) / "lab",
                f"{origin.url}/",
                seats=[Seat(wire.near.address, wire.near.prefix)],
                domain=None,
                tier=Path(context.memory) / "tiers",
                medium="Memory",
            )
        )
        ours = CacheFileSystem(**agent.options, skip_instance_cache=True)
        cached = fsspec.filesystem(
            "filecache",
            target_protocol="file",
            cache_storage=str(Path(context.memory) / "filecache"),
            skip_instance_cache=True,
        )
        direct = _direct(wire.near, origin.url.removeprefix("http://"))
        seconds = 0.5 if context.quick else 1.5
        # Connections over the line need a while to get up to its rate.
        openers: tuple[tuple[Open, float], ...] = (
            (lambda path: ours.open(f"{DATASET}/{path}"), seconds),
            (lambda path: cached.open(str(folder / path)), seconds),
            (direct, 1.0 + seconds),
        )
        for pattern in PATTERNS:
            if context.quick and pattern is not PATTERNS[0]:
                yield Gap(pattern.name, "every peer", "left out of a quick run")
                continue
            paths = pattern.paths(context)
            one, two, without = (
                _Trainer(pattern, paths, opened, seconds=length) for opened, length in openers
            )
            one.warm(folder)
            two.warm(folder)
            yield Pair(
                f"{pattern.name}: over a line", "direct origin", "H100", one.turn, without.turn
            )
            yield Pair(pattern.name, "filecache", "H100", one.turn, two.turn)
