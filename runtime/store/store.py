"""The chunk store of an agent: blobs in tiers, within hard quotas, safe against any crash."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final

from runtime.contract.layout import ObjectLayout
from runtime.contract.units import ALIGN
from runtime.errors import ConfigError
from runtime.store import folder, recover
from runtime.store.blob import Blob
from runtime.store.core import Core, Counters, Descriptors, no_fault
from runtime.store.relief import Relief
from runtime.store.reservation import Reservation
from runtime.store.room import Room
from runtime.store.scrub import scrub
from runtime.store.sleepers import Sleepers

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Sequence

    from runtime.contract.layout import Layout
    from runtime.contract.plan import CachePolicy, TierPlan
    from runtime.contract.report import TierReport
    from runtime.store.pair import FilePair
    from runtime.store.scrub import ScrubStep
    from runtime.store.tier import Resident, Tier

_PART: Final = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_DATASET: Final = re.compile(rf"{_PART}/{_PART}")


class Store:
    """Blobs over tiers, fastest first. Made by ``open``; every method is safe in any thread.

    Methods are short and belong on the event loop's thread, but for those whose docstring says
    that they are heavy.
    """

    def __init__(
        self, core: Core, boot_id: str, owned: Callable[[str, str, int], bool] | None
    ) -> None:
        self._core = core
        self._boot_id = boot_id
        self._room = Room(core, owned, self._wake_in)
        self._relief = Relief(core, self._room)
        self._blobs: dict[str, Blob] = {}
        self._unattached: dict[str, list[Resident]] = {}
        self._keys: dict[str, set[str]] = {}
        self._policies: dict[str, CachePolicy] = {}
        self._sleepers = Sleepers(
            core, self._room, blobs=self._blobs, unattached=self._unattached, keys=self._keys
        )
        self._numbers = 0
        self._at_once: int | None = None

    @classmethod
    def open(
        cls,
        tiers: Sequence[TierPlan],
        *,
        boot_id: str,
        owned: Callable[[str, str, int], bool] | None = None,
        fault: Callable[[str], None] = no_fault,
        clock: Callable[[], float] = time.monotonic,
        max_open: int | None = None,
        at_once: int | None = None,
    ) -> Store:
        """Open the tiers' folders, making them where they are missing, and find what they hold.

        Heavy: about 50 us a blob, but after ``at_once`` blobs the rest is left to
        ``continue_recovery``.
        ``boot_id`` names the machine's boot
        (``/proc/sys/kernel/random/boot_id``). ``owned(dataset, key, unit)`` tells whether this
        agent owns a unit under the plan in force; it is asked about spare units before they are
        evicted.
        ``fault`` is called at every step in ``core.FAULT_POINTS``; ``max_open`` limits the blobs
        whose descriptors are kept open.

        Raises:
            ConfigError: a folder is used by another store, or is not a tier's; or the tiers are
                not usable as given.
        """
        descriptors = Descriptors(max_open) if max_open is not None else None
        store = cls(Core(fault=fault, clock=clock, descriptors=descriptors), boot_id, owned)
        store._at_once = at_once
        store.retier(tiers)
        return store

    @property
    def counters(self) -> Counters:
        """Return the live counters."""
        return self._core.counters

    # -- tiers ---------------------------------------------------------------------------------

    def retier(self, tiers: Sequence[TierPlan]) -> None:
        """Follow edited tiers: quotas, watermarks, order, tiers added or removed.

        A smaller quota evicts at once; what is in use leaves when its use ends. A removed tier's
        contents are deleted. Heavy where tiers are added or removed.

        Raises:
            ConfigError: as ``open``; nothing has changed then.
        """
        plans = {folder.checked_path(plan): plan for plan in tiers}
        if len(plans) != len(tiers):
            raise ConfigError("two tiers have the same path; give each tier a folder of its own")
        with self._core.lock:
            old = {tier.path: tier for tier in self._room.tiers if tier.usable}
            new = self._open_new({path: plans[path] for path in plans if path not in old})
            gone = [tier for path, tier in old.items() if path not in plans]
            for path, plan in plans.items():
                if path in old:
                    old[path].plan = plan
            self._room.tiers = [old.get(path) or new[path] for path in plans]
            pairs = [pair for tier in gone for pair in self._retire_tier(tier)]
            for dataset, policy in self._policies.items():
                self._set_policy(dataset, policy)
            for tier in gone:
                tier.usable = False  # a scan under way stops here
            for tier in new.values():
                self._sleepers.start(tier)
            for tier in self._room.tiers:
                self._room.enforce(tier)
        self._sleepers.scan(self._at_once)
        with self._core.lock:
            self._room.start_reassessment()
        for pair in pairs:
            self._room.release(pair)
        for tier in gone:
            self._sleepers.remove(tier)
            with self._core.lock:
                self._room.abandon(tier)
            folder.remove_tier(tier, recover.datasets(tier.path))

    @property
    def closed_tiers(self) -> bool:
        """Tell whether a tier's folder could not be opened, or not be looked at to its end."""
        return any(not tier.usable or _stalled(tier) for tier in self._room.tiers)

    def reopen(self) -> None:
        """Try to open the tiers that could not be opened, and take in what they hold. Heavy."""
        with self._core.lock:
            if self._core.closed:
                return
            for index, old in enumerate(self._room.tiers):
                if _stalled(old):
                    self._sleepers.start(old)
                if old.usable:
                    continue
                try:
                    tier = folder.open_tier(self._core, old.plan, self._numbers, self._boot_id)
                except ConfigError as error:
                    old.message = str(error)
                    continue
                old.message = tier.message
                if not tier.usable:
                    continue
                self._numbers += 1
                self._room.tiers[index] = tier
                for dataset, policy in self._policies.items():
                    tier.set_policy(dataset, policy)
                self._sleepers.start(tier)
        self._sleepers.scan(self._at_once)

    def _open_new(self, plans: dict[str, TierPlan]) -> dict[str, Tier]:
        opened: dict[str, Tier] = {}
        try:
            for path, plan in plans.items():
                opened[path] = folder.open_tier(self._core, plan, self._numbers, self._boot_id)
                self._numbers += 1
        except ConfigError:
            for tier in opened.values():
                folder.unlock(tier)
            raise
        return opened

    @property
    def recovering(self) -> bool:
        """Tell whether ``continue_recovery`` has something to do."""
        return self._sleepers.scanning

    def continue_recovery(self, blobs: int | None = None) -> bool:
        """Take in the next ``blobs`` of what the tiers held before; all, without a number.

        Until a tier is through it serves what it holds, and admits nothing. Returns whether there
        is more. Heavy: a thread's work, which any other call may interleave with.
        """
        self._sleepers.scan(blobs)
        return self._sleepers.scanning

    def _wake_in(self, tier: Tier, dataset: str, key: str) -> list[Resident] | None:
        return self._sleepers.wake_in(tier, dataset, key)

    def _wake_anywhere(self, key: str) -> None:
        for dataset in self.datasets():
            self._sleepers.wake(dataset, key)

    def _woken(self, dataset: str, key: str) -> Blob | None:
        with self._core.lock:
            self._sleepers.wake(dataset, key)
            return self._blobs.get(key)

    def _keys_of(self, dataset: str) -> Iterator[str]:
        """Yield the keys of a Dataset, some of them twice, while any of its blobs may leave."""
        yield from tuple(self._keys.get(dataset, ()))
        yield from self._sleepers.keys_of(dataset)

    def _retire_tier(self, tier: Tier) -> list[FilePair]:
        pairs: list[FilePair] = []
        for blob in self._blobs.values():
            pair = blob.pairs.get(tier)
            if pair is not None:
                self._room.retire(pair, blob)
                pairs.append(pair)
        for wholes in self._unattached.values():
            for whole in [one for one in wholes if one.pair.tier is tier]:
                wholes.remove(whole)
                self._room.retire_whole(whole)
                pairs.append(whole.pair)
        return pairs

    def tiers(self) -> tuple[TierReport, ...]:
        """Return what the agent's report says of each tier, in the plan's order."""
        with self._core.lock:
            for tier in self._room.tiers:
                self._room.reclaim(tier)
            return tuple(tier.report() for tier in self._room.tiers)

    def usage(self, dataset: str) -> tuple[int, int]:
        """Return the bytes of a Dataset that are here, ``(owned, spare)``."""
        with self._core.lock:
            owned, spare = zip(
                (0, 0), *(tier.usage(dataset) for tier in self._room.tiers), strict=True
            )
            return sum(owned), sum(spare)

    # -- blobs ---------------------------------------------------------------------------------

    def blob(self, layout: Layout, *, dataset: str, policy: CachePolicy) -> Blob:
        """Return the blob with this layout, as it is here or empty.

        Files are made at the first fill. What is here under the same key with another layout is
        dropped. ``policy`` holds for the whole Dataset from now on.

        Raises:
            ConfigError: the Dataset's name cannot be a folder's, or units do not begin at
                multiples of 4 KiB.
        """
        with self._core.lock:
            self._set_policy(dataset, policy)
            found = self._blobs.get(layout.key)
            if found is None:
                _check_names(dataset, layout)
                self._sleepers.wake(dataset, layout.key)
                found = self._blobs.get(layout.key)
            if found is not None:
                if found.layout is layout or _same(found.layout, layout):
                    return found
                self.drop(layout.key, dataset=dataset)
            _check_names(dataset, layout)
            blob = Blob(self._core, self._room, layout, dataset)
            self._blobs[layout.key] = blob
            self._keys.setdefault(dataset, set()).add(layout.key)
            for whole in self._unattached.pop(layout.key, ()):
                if not whole.pair.dead:
                    recover.attach_pack(self._room, blob, whole)
            return blob

    def find(self, key: str) -> Blob | None:
        """Return the blob with this key; None for a pack not asked for since the store opened."""
        with self._core.lock:
            if key not in self._blobs:
                self._wake_anywhere(key)
            return self._blobs.get(key)

    def held(self) -> Iterator[tuple[str, int]]:
        """Yield key and unit of everything that is wholly here, as of now or a little later."""
        with self._core.lock:
            residents = [unit for tier in self._room.tiers for unit in tier.residents.values()]
            trusted = [tier for tier in self._room.tiers if not tier.suspect]
            dormant = [rows for tier in trusted for rows in tier.dormant.values()]
        for rows in dormant:
            yield from rows.units()
        for resident in residents:
            blob, name = resident.blob, resident.name
            if blob is not None and resident.count == len(blob.layout.unit_cells(name[1])):
                yield name

    def datasets(self) -> list[str]:
        """Return the Datasets that have blobs here."""
        with self._core.lock:
            found = {dataset for dataset, keys in self._keys.items() if keys}
            return sorted(found | self._sleepers.datasets())

    def _set_policy(self, dataset: str, policy: CachePolicy) -> None:
        self._policies[dataset] = policy
        for tier in self._room.tiers:
            tier.set_policy(dataset, policy)

    # -- fill ----------------------------------------------------------------------------------

    def reserve(self, blob: Blob, cells: Iterable[int], *, spare: bool) -> Reservation | None:
        """Make room for those of ``cells`` that are neither here nor being filled.

        ``spare``: another member owns them, and this copy is kept beside; without it, units that
        were spares become owned. None: they are not admitted, so the reader reads through.
        """
        with self._core.lock:
            if blob.dropped or self._core.closed:
                self._core.counters.refused += 1
                return None
            grants: dict[int, tuple[Resident, set[int]]] = {}
            reservation = Reservation(self._core, self._room, blob, grants)
            for unit, wanted in self._absent(blob, cells, spare=spare):
                resident = self._room.admit(blob, unit, wanted, spare=spare)
                if resident is None:
                    reservation.abort()
                    self._core.counters.refused += 1
                    return None
                resident.start_filling(wanted)
                grants[unit] = (resident, set(wanted))
            return Reservation(self._core, self._room, blob, grants)

    @staticmethod
    def _absent(blob: Blob, cells: Iterable[int], *, spare: bool) -> list[tuple[int, list[int]]]:
        by_unit: dict[int, set[int]] = {}
        for cell in cells:
            by_unit.setdefault(blob.layout.unit_of(cell), set()).add(cell)
        found = []
        for unit, wanted in by_unit.items():
            absent = wanted.intersection(blob.missing(unit))
            resident = blob.units.get(unit)
            if resident is not None:
                absent -= resident.filling
                if not spare:
                    resident.pair.tier.set_spare(resident, spare=False)
            if absent:
                found.append((unit, sorted(absent)))
        return found

    # -- leaving -------------------------------------------------------------------------------

    def drop(self, key: str, *, dataset: str | None = None) -> int:
        """Remove a blob; return the bytes freed, now or when their last use ends.

        It is looked for in one Dataset, or in all.
        Heavy for blobs of many GiB: frees bytes, without holding the lock.
        """
        with self._core.lock:
            if dataset is None:
                self._wake_anywhere(key)
            else:
                self._sleepers.wake(dataset, key)
            pairs = self._detach(key)
            freed = sum(pair.charged for pair in pairs)
        for pair in pairs:
            self._room.release(pair)
        return freed

    def _detach(self, key: str) -> list[FilePair]:
        pairs: list[FilePair] = []
        blob = self._blobs.pop(key, None)
        if blob is not None:
            blob.dropped = True
            self._keys[blob.dataset].discard(key)
            pairs.extend(blob.pairs.values())
            for pair in pairs:
                self._room.retire(pair, blob)
        for whole in self._unattached.pop(key, ()):
            if not whole.pair.dead:
                self._keys[whole.pair.dataset].discard(key)
                self._room.retire_whole(whole)
                pairs.append(whole.pair)
        return pairs

    def drop_dataset(self, dataset: str) -> int:
        """Remove all blobs of a Dataset; return the bytes freed. Heavy."""
        freed = sum(self.drop(key, dataset=dataset) for key in self._keys_of(dataset))
        with self._core.lock:
            if not self._keys.get(dataset):
                self._keys.pop(dataset, None)
                self._policies.pop(dataset, None)
                for tier in self._room.tiers:
                    tier.policies.pop(dataset, None)
                    tier.woken.pop(dataset, None)
                    dormant = tier.dormant.get(dataset)
                    if dormant is not None and not dormant.count:
                        del tier.dormant[dataset]
                    folder.remove_dataset(f"{tier.path}/{dataset}")
        return freed

    def retain(self, dataset: str, keys: Container[str]) -> int:
        """Remove the blobs of a Dataset whose keys are not in ``keys``; return the bytes freed.

        Heavy.
        """
        gone = (key for key in self._keys_of(dataset) if key not in keys)
        return sum(self.drop(key, dataset=dataset) for key in gone)

    @property
    def pressed(self) -> bool:
        """Tell whether ``relieve`` has something to do."""
        with self._core.lock:
            return self._relief.pressed

    def relieve(self) -> bool:
        """Evict one unit of a tier above its high watermark, on the way down to the low one.

        Only for Serving Datasets; call it in a thread while ``pressed``, as it may copy a unit to
        the next tier. False: there was nothing to do.
        """
        return self._relief.step()

    def start_reassessment(self) -> int:
        """Begin to ask again who owns what, for a new plan; return how many units there are."""
        with self._core.lock:
            return self._room.start_reassessment()

    def reassess(self, units: int = 500) -> None:
        """Ask about the next units of the reassessment.

        Reservations go on with it when they find no room.
        """
        with self._core.lock:
            self._room.reassess(units)

    def scrub(self) -> Iterator[ScrubStep]:
        """Verify what rests, a cell at each step; drive it slowly, in a thread.

        Packs are passed over until they are attached by ``blob``, as only their catalog knows
        where their members lie.
        """
        return scrub(
            self._core, lambda: list(self._blobs.values()), self._sleepers.resting, self._woken
        )

    def close(self, *, sync: bool = True) -> None:
        """Close all files and give the folders free; what is still being filled is not kept.

        ``sync`` waits until the tiers rest on their media, which lets them be trusted after the
        machine restarts; without it they are verified then. Heavy.
        """
        with self._core.lock:
            self._core.closed = True
            self._core.descriptors.close_all()
            for tier in self._room.tiers:
                self._room.abandon(tier)
                folder.close_tier(self._core, tier, self._boot_id, sync=sync)
            self._room.tiers = []
            self._blobs.clear()
            self._unattached.clear()
            self._keys.clear()


def _check_names(dataset: str, layout: Layout) -> None:
    if not _DATASET.fullmatch(dataset):
        raise ConfigError(
            f"Dataset {dataset!r} is not namespace/name in letters, digits, . _ and -"
        )
    if isinstance(layout, ObjectLayout):
        aligned = layout.chunk % ALIGN == 0
    else:
        aligned = all(layout.offsets[first] % ALIGN == 0 for first in layout.groups)
    if not aligned:
        raise ConfigError(
            f"blob {layout.key} of {dataset} has units that do not begin at multiples of {ALIGN} "
            "bytes; use a chunk size that is one"
        )


def _stalled(tier: Tier) -> bool:
    """Tell whether a tier's folder could not be looked at to its end."""
    return tier.recovering and tier.scan is None


def _same(one: Layout, other: Layout) -> bool:
    if isinstance(one, ObjectLayout) or isinstance(other, ObjectLayout):
        return one == other
    mine = (one.offsets, one.sizes, one.groups)
    return mine == (other.offsets, other.sizes, other.groups)
