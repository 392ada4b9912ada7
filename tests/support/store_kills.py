"""Kill a store at every fault point, one child process each, and look at what is left.

Run as ``python -m tests.support.store_kills FOLDER``. It prints a JSON document: for every fault
point, how often the scenario reached it, at which occurrences a child was killed there, and what
was wrong afterwards (nothing, it is hoped). A process of its own, as it forks.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from runtime.contract.layout import Layout
from runtime.store.core import FAULT_POINTS, no_fault
from runtime.store.store import Store
from tests.support.store import (
    KIB,
    a_pack,
    an_object,
    content,
    fill,
    on_disk,
    present,
    raw_words_are_true,
    right,
    tier,
)

EPOCH, SERVING = "ns/epoch", "ns/serving"
OBJECTS = [an_object(number, cells=3) for number in range(1, 4)]
PACKS = [a_pack(10, [5_000, 300, 9_000, 4_096, 77, 12_000]), a_pack(11, [700] * 6, per_group=3)]
SINGLES = [an_object(number, cells=1, short=100) for number in range(20, 32)]
LAYOUTS: dict[str, Layout] = {layout.key: layout for layout in (*OBJECTS, *PACKS, *SINGLES)}
QUOTAS = (200 * KIB, 300 * KIB)


def plans(root: Path, quotas=QUOTAS):
    return [
        tier(root / f"tier-{index}", quota, high=80, low=50) for index, quota in enumerate(quotas)
    ]


def scenario(root: Path, fault: Callable[[str], None]) -> None:
    """Do everything that a store does, in one fixed order."""
    store = Store.open(plans(root), boot_id="boot-1", fault=fault)
    for layout in (*OBJECTS[:2], *PACKS):
        fill(store, store.blob(layout, dataset=EPOCH, policy="Epoch"), 0, 2)
        fill(store, store.blob(layout, dataset=EPOCH, policy="Epoch"), 1)
    _give_up(store, OBJECTS[2])
    for layout in SINGLES:
        blob = store.blob(layout, dataset=SERVING, policy="Serving")
        fill(store, blob)
        blob.touch(0)
        while store.relieve():
            pass
    store.drop(OBJECTS[0].key)
    fill(store, store.blob(OBJECTS[0], dataset=EPOCH, policy="Epoch"))
    store.retier(plans(root, (120 * KIB, 200 * KIB)))
    store.retier(plans(root))
    for layout in SINGLES[:3]:
        fill(store, store.blob(layout, dataset=SERVING, policy="Serving"))
    _litter(root)
    store.close(sync=False)
    # The machine crashed here, as far as the store can know.
    store = Store.open(plans(root), boot_id="boot-2", fault=fault, at_once=2)
    present(_attach(store, PACKS[0]))
    store.drop(SINGLES[-1].key)
    while store.continue_recovery(1):
        pass
    for layout in LAYOUTS.values():
        present(_attach(store, layout))
    fill(store, store.blob(OBJECTS[2], dataset=EPOCH, policy="Epoch"))
    store.drop_dataset(SERVING)
    store.close(sync=True)


def _attach(store: Store, layout: Layout):
    serving = layout in SINGLES
    dataset, policy = (SERVING, "Serving") if serving else (EPOCH, "Epoch")
    return store.blob(layout, dataset=dataset, policy=policy)


def _give_up(store: Store, layout: Layout) -> None:
    blob = store.blob(layout, dataset=EPOCH, policy="Epoch")
    with store.reserve(blob, [0, 1], spare=False) as reservation:
        reservation.write(0, content(layout, 0))


def _litter(root: Path) -> None:
    """Leave what a killed store may leave, for the next one to clean."""
    folder = root / "tier-1" / EPOCH / "ff"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ("ff" * 16 + ".data")).write_bytes(b"data without a map")
    (folder / ("fe" * 16 + ".map")).write_bytes(b"in another's folder")
    pack = PACKS[0]
    for data in root.rglob(f"{pack.key}.data"):
        with data.open("r+b") as file:
            os.pwrite(file.fileno(), b"half" * 3_000, pack.cell_range(5)[0])


def killer(point: str, occurrence: int) -> Callable[[str], None]:
    left = [occurrence]

    def fault(reached: str) -> None:
        if reached == point:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

    return fault


def in_child(work: Callable[[], None]) -> int:
    """Run ``work`` in a forked child; return its wait status."""
    pid = os.fork()
    if pid == 0:
        code = 0
        try:
            work()
        except BaseException:  # noqa: BLE001 - the parent sees the exit code
            traceback.print_exc()
            code = 1
        os._exit(code)
    return os.waitpid(pid, 0)[1]


def wrong_after_kill(root: Path) -> list[str]:
    """Say what is wrong with the folders, as they lie and once a store has opened them again."""
    wrong = []
    for index in range(2):
        folder = root / f"tier-{index}"
        if folder.exists():
            wrong += raw_words_are_true(folder, LAYOUTS)
    for boot, at_once in (("boot-1", None), ("boot-2", 2), ("boot-3", None)):
        store = Store.open(plans(root), boot_id=boot, at_once=at_once)
        for layout in LAYOUTS.values():
            blob = store.find(layout.key) or _attach(store, layout)
            here = present(blob)
            wrong += [f"{layout.key}.{cell} in {boot}" for cell in here if not right(blob, cell)]
        store.continue_recovery()
        if store.counters.corrupt_cells:
            wrong.append(f"{store.counters.corrupt_cells} corrupt cells in {boot}")
        wrong += [f"{step} in {boot}" for step in store.scrub() if not step.good]
        for index, report in enumerate(store.tiers()):
            taken = on_disk(root / f"tier-{index}")
            if not taken <= report.used <= report.quota:
                wrong.append(f"tier {index}: {taken} on disk, {report} in {boot}")
        store.close(sync=False)
    return wrong


def kill_everywhere(root: Path) -> dict[str, dict[str, object]]:
    reached: Counter[str] = Counter()
    scenario(root / "dry", lambda point: reached.update([point]))
    results: dict[str, dict[str, object]] = {}
    for point in FAULT_POINTS:
        total = reached[point]
        occurrences = sorted({1, 2, (total + 1) // 2, total} & set(range(1, total + 1)))
        wrong: list[str] = []
        for occurrence in occurrences:
            folder = root / "kill"
            status = in_child(partial(scenario, folder, killer(point, occurrence)))
            if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
                wrong.append(f"occurrence {occurrence}: the child ended with {status}")
            wrong += [f"occurrence {occurrence}: {what}" for what in wrong_after_kill(folder)]
            scenario(folder, no_fault)  # whatever is left, the work can go on
            wrong += [f"occurrence {occurrence}, later: {w}" for w in wrong_after_kill(folder)]
            shutil.rmtree(folder)
        results[point] = {"reached": total, "killed": occurrences, "wrong": wrong}
    return results


if __name__ == "__main__":
    json.dump(kill_everywhere(Path(sys.argv[1])), sys.stdout)
