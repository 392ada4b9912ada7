"""Readers in other processes, while cells are punched, refilled and dropped under them.

They hold descriptors and the map, and no lease; they verify no checksum here, so that the words
alone have to keep them from zeros and from bytes of anything else.
"""

from __future__ import annotations

import json
import random
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.support.store import DATASET, MEMORY, MIB, fill, on_disk, tier
from tests.support.store_reader import LAYOUTS

SECONDS = 3.0
LARGE = 64 * MIB
SMALL = sum(layout.size for layout in LAYOUTS) * 60 // 100


class Readers:
    """Reader processes, and the descriptors that they ask for."""

    def __init__(self, store, count):
        self._store = store
        self._selector = selectors.DefaultSelector()
        self._processes = []
        for seed in range(count):
            ours, theirs = socket.socketpair()
            command = [sys.executable, "-m", "tests.support.store_reader", str(theirs.fileno())]
            process = subprocess.Popen(
                [*command, str(seed)],
                pass_fds=[theirs.fileno()], stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            theirs.close()
            self._processes.append((process, ours))
            self._selector.register(ours, selectors.EVENT_READ)

    def answer(self):
        for key, _ in self._selector.select(timeout=0):
            asked = key.fileobj.recv(1)
            if not asked:
                continue
            blob = self._store.find(LAYOUTS[asked[0]].key)
            if blob is None:
                key.fileobj.sendall(b".")
                continue
            with blob.files() as files:
                descriptors = [fd for file in files for fd in file[1:]]
                socket.send_fds(key.fileobj, [b"."], descriptors)

    def end(self):
        counts = []
        for process, ours in self._processes:
            ours.close()
            out, _ = process.communicate(timeout=30)
            assert process.returncode == 0
            counts.append(json.loads(out))
        self._selector.close()
        return counts


@pytest.fixture(params=[None, MEMORY], ids=["disk", "memory"])
def folder(request):
    with tempfile.TemporaryDirectory(prefix="store-readers-", dir=request.param) as path:
        yield Path(path)


def test_every_read_is_right_or_asks_again(folder, open_store):
    store = open_store(tier(folder / "tier", LARGE))
    readers = Readers(store, 3)
    rounds = take_away_and_refill(store, readers, folder, until=time.monotonic() + SECONDS)
    counts = readers.end()
    assert [count["wrong"] for count in counts] == [0, 0, 0]
    assert all(count["right"] > 100 for count in counts), counts
    assert all(count["again"] > 10 for count in counts), counts
    assert sum(count["changed"] for count in counts) > 0, "no read ever met a change"
    assert min(rounds.values()) > 20
    assert store.tiers()[0].used >= on_disk(folder)


def take_away_and_refill(store, readers, folder, *, until):
    """Evict units, drop whole blobs and fill it all again, as fast as it goes."""
    choice = random.Random(11)
    rounds = {"filled": 0, "evicted": 0, "dropped": 0}
    while time.monotonic() < until:
        readers.answer()
        layout = choice.choice(LAYOUTS)
        blob = store.blob(layout, dataset=DATASET, policy="Serving")
        rounds["filled"] += fill(store, blob)
        readers.answer()
        if choice.random() < 0.1:
            store.drop(layout.key)
            rounds["dropped"] += 1
        else:
            before = store.counters.evictions
            store.retier([tier(folder / "tier", SMALL)])
            store.retier([tier(folder / "tier", LARGE)])
            rounds["evicted"] += store.counters.evictions - before
    return rounds
