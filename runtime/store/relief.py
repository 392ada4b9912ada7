"""Room made in advance: above the high watermark, down to the low one, one unit a step.

Only units of Serving Datasets leave, and spares before them. A victim that was read again while
it was here moves to the next tier if that has free room; copying is why this is no part of a
reservation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.contract.units import checksum
from runtime.store.blob import Blob
from runtime.store.pair import overhead
from runtime.store.room import whole_cover
from runtime.store.tier import Resident

if TYPE_CHECKING:
    from runtime.store.core import Core
    from runtime.store.pair import FilePair
    from runtime.store.room import Room
    from runtime.store.tier import Tier


@dataclass(slots=True)
class _Move:
    blob: Blob
    unit: int
    source: Resident
    target: Resident
    words: dict[int, int]
    """The cells to copy, and their words when the copy began."""


class Relief:
    """Eviction in advance for all tiers of a store."""

    def __init__(self, core: Core, room: Room) -> None:
        self._core = core
        self._room = room

    @property
    def pressed(self) -> bool:
        """Tell whether a step would find something to do, as far as watermarks say."""
        return any(
            (tier.draining or tier.used > tier.high_mark) and bool(tier.serving())
            for tier in self._room.tiers
        )

    def step(self) -> bool:
        """Let one unit leave; False when no tier is under pressure. Copies without the lock."""
        with self._core.lock:
            chosen = self._choose()
            if chosen is None:
                return False
            victim, reread = chosen
            move = self._begin(victim) if reread else None
            if move is None:
                self._room.evict(victim)
                return True
        try:
            copied = self._copy(move)
        except OSError as error:
            with self._core.lock:
                move.target.pair.tier.failed(error)
            copied = False
        with self._core.lock:
            self._finish(move, copied=copied)
        # These may free a file's bytes, which needs no lock.
        self._room.release(move.source.pair)
        self._room.release(move.target.pair)
        return True

    def _choose(self) -> tuple[Resident, bool] | None:
        for tier in self._room.tiers:
            if tier.used > tier.high_mark:
                tier.draining = True
            if tier.used <= tier.low_mark:
                tier.draining = False
            if not tier.draining:
                continue
            serving = tier.serving()
            spare = self._room.next_spare(tier) if serving else None
            if spare is not None:
                return spare, False
            for dataset in serving:
                victim, reread = self._room.next_owned(tier, dataset)
                if victim is not None:
                    return victim, reread
            tier.draining = False
        return None

    def _begin(self, resident: Resident) -> _Move | None:
        blob, unit = resident.blob, resident.name[1]
        if blob is None or resident.doubted:
            return None
        target = self._next_tier(resident.pair.tier, blob, unit)
        if target is None:
            return None
        source = resident.pair
        try:
            source.acquire()
        except OSError as error:
            source.tier.failed(error)
            return None
        try:
            pair = self._room.pair_in(target, blob)
            pair.acquire(writing=True)
        except OSError as error:
            target.failed(error)
            self._room.release(source)
            return None
        # Back into the order of eviction, where it is passed over while it is pinned.
        source.tier.policy(blob.dataset).insert(resident.name, resident.charged)
        resident.pins += 1
        moved = Resident(resident.name, pair, blob)
        moved.charged = whole_cover(blob.layout, unit)
        target.charge(pair, moved.charged)
        pair.residents += 1
        words = source.map.words
        present = (c for c in blob.layout.unit_cells(unit) if words[c] & 1)
        return _Move(blob, unit, resident, moved, {cell: words[cell] for cell in present})

    def _next_tier(self, tier: Tier, blob: Blob, unit: int) -> Tier | None:
        tiers = self._room.tiers
        for target in tiers[tiers.index(tier) + 1 :]:
            need = whole_cover(blob.layout, unit)
            if target not in blob.pairs:
                need += overhead(blob.layout.header)
            if target.accepts and need <= min(target.free, target.high_mark - target.used):
                return target
        return None

    def _copy(self, move: _Move) -> bool:
        source, target = move.source.pair, move.target.pair
        self._core.fault("demote.before-copy")
        for cell, word in move.words.items():
            start, stop = move.blob.layout.cell_range(cell)
            if checksum(data := self._read(source, start, stop)) != source.mapped.sums[cell]:
                with self._core.lock:
                    self._room.drop_cell(move.source, cell, word)
                return False
            target.write_cell(cell, start, memoryview(data))
        self._core.fault("demote.after-copy")
        return True

    def _read(self, pair: FilePair, start: int, stop: int) -> bytes:
        try:
            return pair.read(start, stop)
        except OSError as error:
            with self._core.lock:
                pair.tier.failed(error)
            return b""

    def _finish(self, move: _Move, *, copied: bool) -> None:
        if self._core.closed:
            return
        source, target = move.source, move.target
        source.pins -= 1
        target.pair.residents -= 1
        if copied and self._unchanged(move):
            self._publish(move)
            return
        if not target.pair.dead:
            self._room.free(target.pair, move.blob, move.unit, target.charged)
        here = not source.pair.dead and move.blob.units.get(move.unit) is source
        if not copied and here and not source.busy:
            self._room.evict(source)  # or it would be chosen again, for ever

    def _publish(self, move: _Move) -> None:
        target = move.target
        self._core.fault("demote.before-publish")
        self._room.take(move.source)
        move.blob.units[move.unit] = target
        target.pair.tier.place(target)
        target.pair.publish(move.words)
        ranges = (move.blob.layout.cell_range(cell) for cell in move.words)
        size = sum(stop - start for start, stop in ranges)
        target.pair.tier.count(target, len(move.words), size)
        self._core.fault("demote.after-publish")
        self._core.counters.demotions += 1

    @staticmethod
    def _unchanged(move: _Move) -> bool:
        source = move.source
        if source.pair.dead or move.target.pair.dead or source.busy:
            return False
        if move.blob.units.get(move.unit) is not source or source.count != len(move.words):
            return False
        words = source.pair.map.words
        return all(words[cell] == word for cell, word in move.words.items())
