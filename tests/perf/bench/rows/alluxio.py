"""Alluxio beside our agent: three JVMs, so it takes memory and minutes and runs when named."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

from tests.perf.bench.local import MIB, warm_agent, write_random
from tests.perf.bench.mounts import cases
from tests.perf.bench.origins import origin_folder
from tests.perf.bench.peers import alluxio, present
from tests.perf.bench.row import Case, Context, Gap, Pair, Sample
from tests.perf.bench.rows import cold_seq

NAME = "alluxio"
WORK = "a large object, first read and warm, beside Alluxio over a local folder"
OPT_IN = True
OBJECT = cold_seq.OBJECT
COPIES = 16
"""Names of the same file, so that each turn has one that Alluxio has not read."""


def run(context: Context) -> Generator[Case, None, None]:
    size = context.sized(256 * MIB, 64 * MIB)
    true = origin_folder(context) / OBJECT
    write_random(true, size)
    root = Path(context.folder) / "root"
    root.mkdir()
    for number in range(COPIES):
        (root / f"{number}.bin").hardlink_to(true)
    (root / OBJECT).hardlink_to(true)
    with ExitStack() as stack:
        mount = alluxio.mount(Path(context.folder) / "x", root, Path(context.memory) / "x")
        peer = present.start(stack, context, "Alluxio", mount)
        if isinstance(peer, Gap):
            yield peer
            return
        names = itertools.count()
        with cold_seq.place(context, "Alluxio", size) as here:

            def theirs() -> Sample:
                return here.read("file", f"{peer.folder}/{next(names)}.bin", peer.pids)

            theirs()  # the JVMs have done it once
            yield Pair("first read", "Alluxio", "B", here.ours, theirs, page_cache=cold_seq.EMPTY)
        with warm_agent(context) as local:
            yield from cases(local, local.system(), peer, OBJECT, quick=context.quick)
