"""Warm reads of one file on a mount, beside ours through fsspec, with both states of the kernel.

The kernel keeps pages of a mounted file, and then the mount's daemon is not asked at all; so a
pass is measured with these pages kept, and with them dropped before it.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from tests.perf.bench.local import CHUNK, Local, check, one_pass
from tests.perf.bench.peers.running import MountPeer, drop_kernel_cache
from tests.perf.bench.process import reset_peak, usage
from tests.perf.bench.row import Case, Pair, Sample

BLOCK = 64 << 10
READS = 2000
SECONDS = 1.0
DROPPED = "the mount's pages dropped before each pass, the cache's own files in memory"
KEPT = "the mount's pages kept by the kernel: its daemon may not be asked at all"

Opened = Callable[[], BinaryIO]
Pass = Callable[[BinaryIO], int]


def cases(
    local: Local, system: Any, peer: MountPeer, path: str, *, quick: bool = False
) -> Iterator[Case]:
    """Yield the pairs with one mount, its bytes and ours checked before.

    Args:
        local: our agent and the true files.
        system: our client's file system.
        peer: the mount; every byte of the file is read before, so that it is warm.
        path: of the file, in the Dataset and in the mount.
        quick: only sequential reads, with the pages dropped.
    """

    def ours() -> BinaryIO:
        file: BinaryIO = system.open(local.ours(path), "rb")
        return file

    def theirs() -> BinaryIO:
        return (peer.folder / path).open("rb", buffering=0)

    _check("our client", ours, local.files / path)
    _check(peer.name, theirs, local.files / path)
    for what, one in (("sequential", one_pass), ("random 64 KiB", _random_pass)):
        for state, about in (("dropped", DROPPED), ("kept", KEPT)):
            if quick and (one is not one_pass or state != "dropped"):
                continue
            dropped = peer.folder / path if state == "dropped" else None
            yield Pair(
                f"{what}, kernel cache {state}",
                peer.name,
                "B",
                lambda one=one: _turn(ours, one),
                lambda one=one, dropped=dropped: _turn(theirs, one, peer.pids, dropped),
                page_cache=about,
            )


def _turn(
    opened: Opened, one: Pass, pids: Sequence[int] = (), dropped: Path | None = None
) -> Sample:
    """Do passes with one handle until they have taken a second; dropping pages is not in it."""
    watched = pids or (os.getpid(),)
    reset_peak(watched)
    seconds = cpu = server = 0.0
    done = 0
    with opened() as file:
        while seconds < SECONDS:
            if dropped is not None:
                drop_kernel_cache(dropped)
            before, own, start = usage(pids), time.process_time(), time.perf_counter()
            done += one(file)
            seconds += time.perf_counter() - start
            cpu += time.process_time() - own
            server += usage(pids).cpu - before.cpu
    return Sample(
        seconds=seconds,
        work=done,
        client_cpu=cpu,
        server_cpu=server if pids else None,
        rss=usage(watched).peak,
        bytes=done,
    )


def _random_pass(file: BinaryIO) -> int:
    """Read blocks at random places of a file; return their bytes."""
    places = random.Random(1)
    size = file.seek(0, os.SEEK_END)
    done = 0
    for _ in range(READS):
        file.seek(places.randrange(size - BLOCK))
        done += len(file.read(BLOCK))
    return done


def _check(name: str, opened: Opened, true: Path) -> None:
    """Compare all bytes with the origin's; the cache is warm afterwards."""
    with opened() as file, true.open("rb") as wanted:
        while data := wanted.read(CHUNK):
            found = b""
            while len(found) < len(data) and (piece := file.read(len(data) - len(found))):
                found += piece  # an unbuffered read may give less
            check({name: found}, data)
