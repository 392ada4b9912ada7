"""Quotas: who is admitted where, and who leaves for it.

A tier never holds more than its quota: room is charged before a byte is written, by an upper bound
of the blocks that the cells will take.

- An owned unit goes to the first tier with free room; else to the first where spares can leave for
  it; else, for a Serving Dataset, to the first where units of the same Dataset can. An Epoch
  Dataset keeps what it has, and nobody ever pushes out another Dataset's owned units.
- A spare unit is admitted into free room below the high watermark only.
- Before a spare leaves, the plan is asked again whether it is owned by now.
"""

from __future__ import annotations

from collections import deque
from itertools import chain
from typing import TYPE_CHECKING

from runtime.contract.units import ALIGN
from runtime.errors import NoRoom
from runtime.store import disk
from runtime.store.pair import FilePair, fingerprint, overhead
from runtime.store.tier import WHOLE, Resident

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from runtime.contract.layout import Layout
    from runtime.policy.evict import Name
    from runtime.store.blob import Blob
    from runtime.store.core import Core
    from runtime.store.tier import Tier

_SWEEP = 2000
"""Units asked again about their owner before a reservation is refused."""
_NOTHING, _SPARES, _OWN = range(3)


def cover(layout: Layout, cells: Sequence[int]) -> int:
    """Return the bytes of the blocks under these cells of one unit, in order."""
    if cells[-1] - cells[0] + 1 == len(cells):
        return disk.blocks(layout.cell_range(cells[0])[0], layout.cell_range(cells[-1])[1])
    total = end = 0
    for cell in cells:
        start, stop = layout.cell_range(cell)
        start = max(start // ALIGN * ALIGN, end)
        end = max(-(-stop // ALIGN) * ALIGN, end)
        total += max(end - start, 0)
    return total


def whole_cover(layout: Layout, unit: int) -> int:
    """Return the bytes of blocks under a unit."""
    return disk.blocks(*layout.unit_range(unit))


class Room:
    """The tiers of a store, fastest first. Every method needs the lock, but ``release``.

    ``owned`` tells whether this agent owns a unit under the plan in force; without it, a unit
    stays what it was reserved as. It is called with the lock held. ``wake(tier, dataset, key)``
    makes the units of a dormant object, and returns those in this tier; None if the medium fails.
    """

    def __init__(
        self,
        core: Core,
        owned: Callable[[str, str, int], bool] | None,
        wake: Callable[[Tier, str, str], Collection[Resident] | None],
    ) -> None:
        self.core = core
        self.tiers: list[Tier] = []
        self.owned = owned
        self._wake = wake
        self._sweep: Iterator[tuple[Tier, str, Name]] = iter(())

    # -- admission -----------------------------------------------------------------------------

    def admit(self, blob: Blob, unit: int, cells: Sequence[int], *, spare: bool) -> Resident | None:
        """Charge room for cells of a unit and hold its files open; None if there is none."""
        found = blob.units.get(unit)
        tiers = [found.pair.tier] if found is not None else self.tiers
        efforts = (_NOTHING,) if spare else (_NOTHING, _SPARES, _OWN)
        for effort in efforts:
            for tier in tiers:
                resident = self._admit_to(tier, blob, unit, cells, spare=spare, effort=effort)
                if resident is not None:
                    return resident
        if not spare and self.reassess(_SWEEP):
            return self.admit(blob, unit, cells, spare=spare)
        return None

    def _admit_to(
        self,
        tier: Tier,
        blob: Blob,
        unit: int,
        cells: Sequence[int],
        *,
        spare: bool,
        effort: int,
    ) -> Resident | None:
        resident = blob.units.get(unit)
        added = cover(blob.layout, cells)
        if resident is not None:
            most = whole_cover(blob.layout, unit) - resident.charged
            added = min(added, most)
            resident.pins += 1  # its own growth must not push it out
        try:
            # The pair may leave with the last of its units while room is made.
            def need() -> int:
                new_pair = overhead(blob.layout.header) if tier not in blob.pairs else 0
                return added + new_pair

            if not self._make_room(tier, need, blob.dataset, spare=spare, effort=effort):
                return None
        finally:
            if resident is not None:
                resident.pins -= 1
        if blob.units.get(unit) is not resident:
            return None  # its files had to go while room was made
        return self._enter(tier, blob, unit, added, spare=spare)

    def _enter(
        self, tier: Tier, blob: Blob, unit: int, added: int, *, spare: bool
    ) -> Resident | None:
        resident = blob.units.get(unit)
        try:
            pair = self.pair_in(tier, blob)
            pair.acquire(writing=True)
        except OSError as error:
            tier.failed(error)
            return None
        if resident is None:
            resident = Resident((blob.layout.key, unit), pair, blob)
            resident.spare = spare
            blob.units[unit] = resident
            tier.place(resident)
        tier.grow(resident, added)
        return resident

    def pair_in(self, tier: Tier, blob: Blob) -> FilePair:
        """Return the blob's files in a tier, made and charged if there are none.

        Raises:
            OSError: the medium is full or failed.
        """
        pair = blob.pairs.get(tier)
        if pair is None:
            header = blob.layout.header
            pair = FilePair(self.core, tier, blob.dataset, header)
            pair.create(fingerprint(blob.layout))
            blob.pairs[tier] = pair
            tier.charge(pair, overhead(header))
        return pair

    def _make_room(
        self, tier: Tier, need: Callable[[], int], dataset: str, *, spare: bool, effort: int
    ) -> bool:
        if not tier.accepts:
            return False
        if tier.free < need():
            self.reclaim(tier)
        if spare:
            return need() <= min(tier.free, tier.high_mark - tier.used)
        own = effort >= _OWN and tier.policy(dataset).yields
        reach = tier.free
        if effort >= _SPARES:
            reach += tier.spare_size
        if own:
            reach += tier.owned_size(dataset)
        if reach + (tier.files_size if effort else 0) < need():
            return False  # nobody leaves in vain
        while tier.free < need():
            victim = self.next_spare(tier)
            if victim is None and own:
                victim, _ = self.next_owned(tier, dataset)
            if victim is None:
                return False
            self.evict(victim)
        return True

    # -- leaving -------------------------------------------------------------------------------

    def next_spare(self, tier: Tier) -> Resident | None:
        """Return the oldest spare that is free to leave, turning those owned by now to owned."""
        for _ in range(len(tier.spares)):
            name, resident = next(iter(tier.spares.items()))
            if self.owned is not None and self.owned(resident.pair.dataset, *name):
                tier.set_spare(resident, spare=False)
            elif resident.busy:
                tier.spares.move_to_end(name)
            else:
                return resident
        return None

    def next_owned(self, tier: Tier, dataset: str) -> tuple[Resident | None, bool]:
        """Let an owned unit of a Dataset go, and tell whether it was reread while it was here.

        Dormant ones are older than all others: they leave first where a Dataset makes room for
        itself, and last where it keeps what it has.
        """
        policy = tier.policy(dataset)
        if policy.yields and (dormant := self._next_dormant(tier, dataset)) is not None:
            return dormant, False
        victim = policy.victim(tier.is_busy)
        if victim is not None:
            return tier.residents[victim.name], victim.reread
        return (None if policy.yields else self._next_dormant(tier, dataset)), False

    def _next_dormant(self, tier: Tier, dataset: str) -> Resident | None:
        """Let go of the first unit from before that nobody has used, in the order of the keys."""
        woken = tier.woken.setdefault(dataset, deque())
        while True:
            while woken:
                name = woken.popleft()
                resident = tier.residents.get(name)
                if resident is None or resident.spare or resident.busy:
                    continue
                if tier.policy(dataset).let_go(name):
                    return resident
            dormant = tier.dormant.get(dataset)
            key = dormant.first() if dormant is not None else None
            units = self._wake(tier, dataset, key) if key is not None else None
            if units is None:
                return None
            woken.extend(unit.name for unit in units)

    def reassess(self, units: int) -> bool:
        """Ask again who owns the next ``units`` units; tell whether any became a spare."""
        found = False
        for _ in range(units):
            one = next(self._sweep, None)
            if one is None or self.owned is None:
                break
            tier, dataset, name = one
            if name[1] == WHOLE:
                continue
            spare = not self.owned(dataset, *name)
            if spare and name not in tier.residents and tier.rests(dataset, name[0]):
                self._wake(tier, dataset, name[0])
            resident = tier.residents.get(name)
            if resident is not None:
                found = found or (spare and not resident.spare)
                tier.set_spare(resident, spare=spare)
        return found

    def start_reassessment(self) -> int:
        """Begin a round of ``reassess``; return how many units it has."""
        tiers = tuple(self.tiers)
        everything = [unit for tier in tiers for unit in tier.residents.values()]
        dormant = [(tier, *item) for tier in tiers for item in tuple(tier.dormant.items())]
        self._sweep = chain(
            ((unit.pair.tier, unit.pair.dataset, unit.name) for unit in everything),
            ((tier, dataset, name) for tier, dataset, rows in dormant for name in rows.units()),
        )
        return len(everything) + sum(rows.cells for _, _, rows in dormant)

    def evict(self, resident: Resident) -> None:
        """Take a unit away for others."""
        self.core.counters.evictions += 1
        self.core.counters.evicted_bytes += resident.charged
        self.take(resident)

    def enforce(self, tier: Tier) -> None:
        """Evict down to a quota that has become smaller, as far as units are free to leave."""
        while tier.used > tier.plan.quota:
            victim = self.next_spare(tier) or self._any_owned(tier)
            if victim is None:
                return
            self.evict(victim)

    def _any_owned(self, tier: Tier) -> Resident | None:
        datasets = tier.policies.keys() | tier.dormant.keys()
        order = sorted(
            (not tier.policy(one).yields, -tier.owned_size(one), one) for one in datasets
        )
        for _, _, dataset in order:
            victim, _ = self.next_owned(tier, dataset)
            if victim is not None:
                return victim
        return None

    def take(self, resident: Resident) -> None:
        """Take a unit away: its words first, then its bytes, then its charge."""
        blob, unit = resident.blob, resident.name[1]
        pair = resident.pair
        if blob is None:
            self.retire_whole(resident)
            self.release(pair)
            return
        self.core.fault("take.before-words")
        try:
            pair.clear(blob.layout.unit_cells(unit))
        except OSError as error:
            pair.tier.failed(error)
            self.retire(pair, blob)
            self.release(pair)
            return
        del blob.units[unit]
        pair.tier.displace(resident)
        self.free(pair, blob, unit, resident.charged)

    def free(self, pair: FilePair, blob: Blob, unit: int, charged: int) -> None:
        """Free the bytes and the charge of a unit whose words are clear.

        With its last unit a pair leaves; all of it also leaves where bytes cannot be punched.
        """
        self.core.fault("take.before-punch")
        freed = False
        try:
            start, stop = blob.layout.unit_range(unit)
            freed = pair.punch(start, disk.blocks(0, stop))
        except OSError as error:
            pair.tier.failed(error)
        self.core.fault("take.after-punch")
        if freed:
            pair.tier.charge(pair, -charged)
        if not (freed and pair.residents):
            self.retire(pair, blob)
            self.release(pair)

    def retire(self, pair: FilePair, blob: Blob) -> None:
        """Take a pair out of the store, and leave it in use: ``release`` it to free its bytes."""
        for unit in [unit for unit in blob.units.values() if unit.pair is pair]:
            pair.tier.displace(unit)
            del blob.units[unit.name[1]]
        del blob.pairs[pair.tier]
        self._end(pair)

    def retire_alone(self, pair: FilePair) -> None:
        """Take a pair that was never placed out of the store, as ``retire`` does."""
        self._end(pair)

    def retire_whole(self, whole: Resident) -> None:
        """Take an unattached pack out of the store, as ``retire`` does."""
        whole.pair.tier.displace(whole)
        self._end(whole.pair)

    def _end(self, pair: FilePair) -> None:
        try:
            pair.acquire(writing=True)
        except OSError as error:
            # Its words cannot be cleared, so its bytes are left to those who still read them.
            pair.tier.failed(error)
            pair.uses += 1
        try:
            pair.retire()
        except OSError as error:
            pair.tier.failed(error)

    def release(self, pair: FilePair) -> None:
        """End a use of a pair. Freeing the bytes of a dead one does not hold the lock itself."""
        with self.core.lock:
            if pair.uses > 1 or not pair.dead:
                pair.uses -= 1
                return
        # The last use of a dead pair: nobody can find it any more. It stays counted as in use,
        # so that its descriptors are not closed for others before they are done with here.
        self.core.fault("retire.before-punch")
        freed = True
        try:
            freed = pair.free()
        except OSError as error:
            with self.core.lock:
                pair.tier.failed(error)
        self.core.fault("retire.after-punch")
        with self.core.lock:
            if not freed and pair.tier in self.tiers:
                pair.awaits_mappings = True
                pair.tier.lent.add(pair)  # ``reclaim`` comes back to it
                return
            pair.tier.lent.discard(pair)
            pair.uses = 0
            self.core.descriptors.close(pair)
            pair.tier.charge(pair, -pair.charged)

    # -- lent to readers -----------------------------------------------------------------------

    def check_may_lend(self, pair: FilePair) -> None:
        """Note that a pair is about to be lent.

        Raises:
            NoRoom: more than three quarters of the tier would be, too much to make room in.
        """
        tier = pair.tier
        self.reclaim(tier)
        lent = sum(other.charged for other in tier.lent | {pair})
        if lent > tier.plan.quota * 3 // 4:
            raise NoRoom(
                f"readers may map three quarters of tier {tier.path} at most; read the object, "
                "or map it when other mappings have ended"
            )
        tier.lent.add(pair)

    def reclaim(self, tier: Tier) -> None:
        """Take back what is no longer mapped: bytes of dead pairs become free."""
        for pair in [pair for pair in tier.lent if not pair.held()]:
            tier.lent.discard(pair)
            if pair.awaits_mappings:
                pair.awaits_mappings = False
                self.release(pair)

    def abandon(self, tier: Tier) -> None:
        """Leave dead pairs of a tier that is closed to the mappings that hold them.

        One that is still read here is left by ``release``.
        """
        for pair in tier.lent:
            if pair.awaits_mappings:
                self.core.descriptors.close(pair)
        tier.lent.clear()

    # -- cells ---------------------------------------------------------------------------------

    def settle(self, resident: Resident, cells: set[int]) -> None:
        """End the filling of cells; a unit of which none is present leaves."""
        resident.end_filling(cells)
        if not (resident.pair.dead or resident.count or resident.busy):
            self.core.fault("abort.before-punch")
            self.take(resident)

    def drop_cell(self, resident: Resident, cell: int, word: int) -> None:
        """Take a cell away whose bytes do not match, unless it has changed since ``word``.

        Its bytes stay until they are filled anew or the unit leaves.
        """
        pair, blob = resident.pair, resident.blob
        if pair.dead or blob is None or pair.map.words[cell] != word:
            return
        self.core.counters.corrupt_cells += 1
        pair.clear((cell,))
        start, stop = blob.layout.cell_range(cell)
        pair.tier.count(resident, -1, start - stop)
        if not resident.count and not resident.busy:
            self.take(resident)
