"""Filling the store, against copying the same bytes."""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Generator
from pathlib import Path

from runtime.contract.layout import ObjectLayout
from runtime.contract.plan import TierPlan
from runtime.contract.units import object_key
from runtime.store.store import Store
from tests.perf.bench.local import CHUNK, MIB, check, write_random
from tests.perf.bench.process import sample
from tests.perf.bench.row import Case, Context, Pair, Sample

NAME = "store"
WORK = "fill a tier on disk, checksums and sync as its policy has them, beside cp and sync"
BARS = {("fill and sync", "cp and sync"): (0.7, 0.9)}
PIECE = 256 * MIB
BOOT = Path("/proc/sys/kernel/random/boot_id")


def run(context: Context) -> Generator[Case, None, None]:
    free = shutil.disk_usage(context.folder).free
    wanted = context.sized(40, 4) * PIECE
    pieces = max(min(wanted, free // 3) // PIECE, 1)
    source = Path(context.memory) / "source"
    write_random(source, PIECE)
    folder = Path(context.folder)
    _check(source, folder)
    bar, aim = BARS["fill and sync", "cp and sync"]
    yield Pair(
        "fill and sync",
        "cp and sync",
        "B",
        _filling(source, folder, pieces),
        _copying(source, folder, pieces),
        bar,
        aim,
        page_cache="source in memory; all written bytes synced within the time",
    )


def fill(tier: Path, source: Path, pieces: int) -> int:
    """Fill a new tier with so many objects of the source's bytes and close it.

    The bytes are mapped: an agent has them in memory when it writes them, as they have just come
    in.
    """
    plan = TierPlan("SSD", str(tier), 2 * pieces * PIECE)
    store = Store.open([plan], boot_id=BOOT.read_text().strip())
    with (
        source.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as content,
        contextlib.closing(store),  # which syncs: fills are not synced one by one, a clean end is
    ):
        for number in range(pieces):
            layout = ObjectLayout(
                object_key("team/images", f"{number}", PIECE, "1", CHUNK), PIECE, CHUNK
            )
            blob = store.blob(layout, dataset="team/images", policy="Epoch")
            for cell in range(layout.cells):
                reservation = store.reserve(blob, [cell], spare=False)
                assert reservation is not None
                start, stop = layout.cell_range(cell)
                with reservation, content[start:stop] as data:
                    reservation.write(cell, data)
                    assert reservation.commit()
    return pieces * PIECE


def _filling(source: Path, folder: Path, pieces: int) -> Callable[[], Sample]:
    def turn() -> Sample:
        tier = folder / "tier"
        try:
            return sample(lambda: fill(tier, source, pieces), seconds=0, bytes_per_work=1)
        finally:
            _emptied(tier)

    return turn


def _copying(source: Path, folder: Path, pieces: int) -> Callable[[], Sample]:
    copies = folder / "copies"

    def once() -> int:
        copies.mkdir()
        for number in range(pieces):
            target = copies / str(number)
            subprocess.run(["cp", "--reflink=never", source, target], check=True)
        subprocess.run(["sync", "-f", copies], check=True)
        return pieces * PIECE

    def turn() -> Sample:
        before = os.times()
        start = time.perf_counter()
        try:
            done = once()
            seconds = time.perf_counter() - start
        finally:
            _emptied(copies)
        after = os.times()
        cpu = sum(after[2:4]) - sum(before[2:4])
        return Sample(seconds, done, client_cpu=cpu, bytes=done)

    return turn


def _emptied(folder: Path) -> None:
    """Remove a folder and wait for the disk, so that the next turn finds it idle."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["sync", "-f", folder.parent], check=True)


def _check(source: Path, folder: Path) -> None:
    tier = folder / "check"
    fill(tier, source, 1)
    copied = next(tier.rglob("*.data"))
    check({"the store": copied.read_bytes()}, source.read_bytes())
    _emptied(tier)
