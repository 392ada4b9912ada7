"""What processes cost, read from ``/proc``: processor seconds and resident memory."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from tests.perf.bench.row import Sample

TICK = 1 / os.sysconf("SC_CLK_TCK")
_loop = ContextVar("loop", default=1.0)


@contextlib.contextmanager
def loops_of(seconds: float) -> Iterator[None]:
    """Let ``sample`` repeat its work for so long where it is told nothing else."""
    token = _loop.set(seconds)
    try:
        yield
    finally:
        _loop.reset(token)


@dataclass(frozen=True, slots=True)
class Usage:
    """What some processes have cost so far.

    Attributes:
        cpu: processor seconds, those of children that ended included.
        rss: resident bytes now.
        peak: most resident bytes since the start, or since ``reset_peak``.
    """

    cpu: float = 0.0
    rss: int = 0
    peak: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.cpu + other.cpu, self.rss + other.rss, self.peak + other.peak)


def family(pids: Iterable[int]) -> set[int]:
    """Return these processes and all that descend from them."""
    found = {pid for pid in pids if Path(f"/proc/{pid}").exists()}
    for pid in tuple(found):
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                found |= family(map(int, children.read_text().split()))
            except OSError:
                continue  # the thread ended meanwhile
    return found


def usage(pids: Iterable[int]) -> Usage:
    """Sum what processes and their descendants cost; those that are gone count as nothing."""
    return sum((_usage(pid) for pid in family(pids)), Usage())


def _usage(pid: int) -> Usage:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return Usage()
    named = dict(line.split(":", 1) for line in status.splitlines())
    rss, peak = (int(named.get(name, "0").split()[0]) << 10 for name in ("VmRSS", "VmHWM"))
    return Usage(sum(map(int, fields[11:15])) * TICK, rss, peak)


def reset_peak(pids: Iterable[int]) -> None:
    """Let ``peak`` count from now; a process that may not be told keeps its own."""
    for pid in family(pids):
        try:
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        except OSError:
            continue


def sample(
    work: Callable[[], float],
    *,
    seconds: float | None = None,
    servers: Iterable[int] = (),
    bytes_per_work: float = 0,
) -> Sample:
    """Do ``work`` again and again for at least ``seconds``; return what that was.

    Args:
        work: does the work once and returns how much it was, in the pair's unit.
        seconds: 0 does it once, as where only the first time is cold. A second, and less in a
            quick run, when it is not given.
        servers: processes of the serving side, whose memory is the sample's. Without, it is what
            this process had more than at the start.
        bytes_per_work: bytes that a unit of work moves; 1 where the unit is bytes.
    """
    servers = tuple(servers)
    seconds = _loop.get() if seconds is None else seconds
    watched = servers or (os.getpid(),)
    reset_peak(watched)
    before = usage(servers)
    ground = 0 if servers else usage(watched).rss
    cpu, start, done = time.process_time(), time.perf_counter(), 0.0
    while True:
        done += work()
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            break
    cpu = time.process_time() - cpu
    after = usage(servers)
    return Sample(
        seconds=elapsed,
        work=done,
        client_cpu=cpu,
        server_cpu=after.cpu - before.cpu if servers else None,
        rss=max(usage(watched).peak - ground, 0),
        bytes=int(done * bytes_per_work),
    )
