"""The store against a model: whatever is done to it, in any order, its promises hold."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from runtime.store.store import Store
from tests.support.store import (
    KIB,
    MEMORY,
    a_pack,
    an_object,
    content,
    fill,
    flip,
    on_disk,
    present,
    raw_words_are_true,
    tier,
)

EPOCH, SERVING = "ns/epoch", "ns/serving"
LAYOUTS = {
    EPOCH: [an_object(1), an_object(2, cells=1), a_pack(3, [5_000, 300, 9_000, 4_096, 77, 12_000])],
    SERVING: [an_object(4), an_object(5, cells=6), a_pack(6, [8_000] * 12)],
}
ALL = {layout.key: layout for layouts in LAYOUTS.values() for layout in layouts}
QUOTAS = (60 * KIB, 120 * KIB, 400 * KIB)

datasets = st.sampled_from([EPOCH, SERVING])
picks = st.integers(0, 2)
numbers = st.integers(0, 11)


class StoreMachine(RuleBasedStateMachine):
    """``kept`` are the cells that an Epoch Dataset must still hold.

    After a restart the store may be in the midst of its recovery, and nothing asks for its blobs
    behind the rules' backs, until ``look`` makes it ``watched`` again. ``doubted``: this was a
    crash, and a blob that is opened and not verified to its end loses the rest with the next one.
    """

    def __init__(self):
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="store-model-", dir=MEMORY))
        self.quotas = [120 * KIB, 120 * KIB]
        self.boot = 1
        self.kept: set[tuple[str, int]] = set()
        self.watched = True
        self.doubted = False
        self.found = [0, 0]
        self.pins = ExitStack()
        self.store = self._open()

    def _plans(self):
        return [
            tier(self.root / str(index), quota, high=80, low=50)
            for index, quota in enumerate(self.quotas)
        ]

    def _open(self, at_once=None):
        return Store.open(self._plans(), boot_id=f"boot-{self.boot}", at_once=at_once)

    def _blob(self, dataset, pick):
        policy = "Epoch" if dataset == EPOCH else "Serving"
        return self.store.blob(LAYOUTS[dataset][pick], dataset=dataset, policy=policy)

    @rule(dataset=datasets, pick=picks, cells=st.sets(numbers, min_size=1), spare=st.booleans())
    def fill(self, dataset, pick, cells, spare):
        blob = self._blob(dataset, pick)
        wanted = {cell % blob.layout.cells for cell in cells}
        done = fill(self.store, blob, *wanted, spare=spare)
        if done and dataset == EPOCH and not spare:
            owned_units = {blob.layout.unit_of(cell) for cell in wanted}
            self.kept |= {
                (blob.layout.key, cell)
                for cell in present(blob)
                if blob.layout.unit_of(cell) in owned_units and cell in wanted
            }

    @rule(dataset=datasets, pick=picks, cell=numbers)
    def abandon(self, dataset, pick, cell):
        blob = self._blob(dataset, pick)
        cell %= blob.layout.cells
        reservation = self.store.reserve(blob, [cell], spare=False)
        if reservation is not None:
            with reservation:
                reservation.write(cell, content(blob.layout, cell))

    @rule(dataset=datasets, pick=picks, unit=numbers)
    def read(self, dataset, pick, unit):
        blob = self._blob(dataset, pick)
        unit %= blob.layout.units
        blob.touch(unit)
        for cell in blob.layout.unit_cells(unit):
            assert blob.verified_read(cell, 3, 500) in (None, content(blob.layout, cell)[3:500])

    @rule(dataset=datasets, pick=picks, unit=numbers)
    def pin(self, dataset, pick, unit):
        blob = self._blob(dataset, pick)
        self.pins.enter_context(blob.pin(unit % blob.layout.units))

    @rule()
    def unpin(self):
        self.pins.close()

    @rule(steps=st.integers(1, 5))
    def relieve(self, steps):
        for _ in range(steps):
            self.store.relieve()

    @rule(dataset=datasets, pick=picks)
    def drop(self, dataset, pick):
        key = LAYOUTS[dataset][pick].key
        self.store.drop(key)
        self.kept = {cell for cell in self.kept if cell[0] != key}

    @precondition(lambda self: not self.pins._exit_callbacks)
    @rule(dataset=datasets)
    def drop_dataset(self, dataset):
        self.store.drop_dataset(dataset)
        assert self.store.usage(dataset) == (0, 0)
        self.kept = {cell for cell in self.kept if ALL[cell[0]] not in LAYOUTS[dataset]}

    @rule(index=st.integers(0, 1), quota=st.sampled_from(QUOTAS))
    def retier(self, index, quota):
        self.pins.close()
        shrinks = quota < self.quotas[index]
        self.quotas[index] = quota
        self.store.retier(self._plans())
        if shrinks:
            self.kept.clear()

    @rule(dataset=datasets, pick=picks, cell=numbers)
    def decay(self, dataset, pick, cell):
        blob = self._blob(dataset, pick)
        cell %= blob.layout.cells
        if not blob.present(cell) or sum(1 for _ in self.root.rglob(f"{blob.layout.key}.data")) > 1:
            return
        flip(self.root, blob.layout, cell)
        found = self.store.counters.corrupt_cells
        assert not blob.verify(cell)
        assert self.store.counters.corrupt_cells == found + 1
        self.kept.discard((blob.layout.key, cell))

    @rule(crashed=st.booleans())
    def restart(self, crashed):
        self.pins.close()
        self.store.continue_recovery()
        held = {
            layout.key: present(self._blob(dataset, pick))
            for dataset, layouts in LAYOUTS.items()
            for pick, layout in enumerate(layouts)
        }
        self.watched = True
        self.doubted = False
        self.store.close(sync=False)
        self.boot += crashed
        self.store = self._open()
        for dataset, layouts in LAYOUTS.items():
            for pick, layout in enumerate(layouts):
                found = present(self._blob(dataset, pick))
                assert found <= held.get(layout.key, set())
                # What was a spare is owned from now on; that none is lost is the point.
                assert found == held.get(layout.key, set())

    @rule(crashed=st.booleans(), at_once=st.sampled_from([None, 0, 1, 4]))
    def restart_unwatched(self, crashed, at_once):
        self.pins.close()
        if self.doubted:
            self.kept.clear()
        self.doubted = self.doubted or crashed
        self.store.close(sync=False)
        self.boot += crashed
        self.found = [on_disk(self.root / str(index)) for index in range(2)]
        self.store = self._open(at_once)
        self.watched = False

    @rule(blobs=st.integers(1, 3))
    def recover_some(self, blobs):
        self.store.continue_recovery(blobs)

    @rule()
    def look(self):
        self.store.continue_recovery()
        for dataset, layouts in LAYOUTS.items():
            for pick in range(len(layouts)):
                present(self._blob(dataset, pick))
        self.watched = True
        self.doubted = False

    def _blobs(self):
        found = ((key, self.store.find(key)) for key in ALL)
        return [(key, blob) for key, blob in found if blob is not None]

    @invariant()
    def quotas_hold(self):
        for index, report in enumerate(self.store.tiers()):
            taken = on_disk(self.root / str(index))
            assert report.used <= self.quotas[index]
            if report.state == "Recovering":
                assert taken <= self.found[index]
            else:
                assert taken <= report.used

    @invariant()
    def nothing_wrong_is_shown(self):
        for index in range(2):
            assert raw_words_are_true(self.root / str(index), ALL) == []

    @invariant()
    def epochs_keep_what_they_have(self):
        if not self.watched:
            return
        for key, cell in self.kept:
            blob = self.store.find(key)
            assert blob is not None
            assert blob.present(cell)

    @invariant()
    def usage_counts_the_present_bytes(self):
        if not self.watched:
            return
        for dataset, layouts in LAYOUTS.items():
            blobs = [blob for _, blob in self._blobs() if blob.layout in layouts]
            sizes = (len(content(blob.layout, c)) for blob in blobs for c in present(blob))
            assert sum(self.store.usage(dataset)) == sum(sizes)

    def teardown(self):
        self.pins.close()
        self.store.close(sync=False)
        shutil.rmtree(self.root)


StoreMachine.TestCase.settings = settings(
    max_examples=120, stateful_step_count=30, deadline=None, print_blob=True
)
TestStore = StoreMachine.TestCase
