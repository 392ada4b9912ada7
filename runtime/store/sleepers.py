"""What the tiers held before this process: found by a scan that may go on while the store serves.

An object stays dormant, a row in ``dormant``, until somebody asks for it or it is chosen to leave.
What is asked for before the scan has come to it is looked for by its name, as its path follows from
its key. Until all of a tier has been seen its room is not known, and it admits nothing; so no files
are made in it meanwhile, and what the scan meets is either old or in use already.
"""

from __future__ import annotations

import threading
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from runtime.contract.layout import ObjectLayout
from runtime.store import recover
from runtime.store.blob import Blob
from runtime.store.scrub import Resting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.store.core import Core
    from runtime.store.room import Room
    from runtime.store.tier import Resident, Tier


class Sleepers:
    """What rests in the tiers of one store and has not been used.

    ``blobs``, ``unattached`` (recovered packs whose layout is not known yet) and ``keys`` (those of
    each Dataset's blobs) are the store's own. Methods need the lock, unless they say otherwise.
    """

    def __init__(
        self,
        core: Core,
        room: Room,
        *,
        blobs: dict[str, Blob],
        unattached: dict[str, list[Resident]],
        keys: dict[str, set[str]],
    ) -> None:
        self._core = core
        self._room = room
        self._blobs = blobs
        self._unattached = unattached
        self._keys = keys
        self._scanning = threading.Lock()

    # -- the scan ------------------------------------------------------------------------------

    def start(self, tier: Tier) -> None:
        """Begin to look at a tier's folder, from its beginning."""
        if not tier.usable:
            return
        for dormant in tier.dormant.values():
            tier.used -= dormant.overhead + dormant.charged
        tier.dormant.clear()
        tier.recovering = True
        tier.scan = recover.scan(self._core, tier, partial(self._take_in, tier))

    @property
    def scanning(self) -> bool:
        """Tell whether there is more to ``scan``. Needs no lock."""
        return any(tier.scan is not None for tier in self._room.tiers)

    def scan(self, blobs: int | None) -> None:
        """Look at the next ``blobs`` pairs, or at all. Must not hold the lock."""
        with self._scanning:
            left = blobs
            for tier in tuple(self._room.tiers):
                if left == 0:
                    break
                left = self._scan_on(tier, left)

    def _scan_on(self, tier: Tier, blobs: int | None) -> int | None:
        """Go on with a tier's scan, and return what is left of the number of blobs."""
        scan = tier.scan
        if scan is None:
            return blobs
        done = 0
        try:
            for _ in islice(scan, blobs):
                done += 1
        except OSError as error:
            with self._core.lock:
                tier.scan = None
                tier.failed(error)
        else:
            if done != blobs:
                with self._core.lock:
                    tier.end_recovery()
        return blobs - done if blobs is not None else None

    def _take_in(self, tier: Tier, dataset: str, key: str) -> bool:
        """Take in a pair that the scan has come to; tell whether it stays."""
        if self._has(tier, key):
            return True
        found = recover.inspect(tier, dataset, key)
        if found is None:
            return False
        others = [one for one in self._room.tiers if one is not tier and one.rests(dataset, key)]
        for other in others:
            self.wake_in(other, dataset, key)  # a unit is kept in one tier only
        row = recover.row_of(found) if found.header.segments_per_cell else None
        if row is None or key in self._blobs:
            self._adopt(tier, found)
        else:
            tier.lull(dataset, key, row, found.cells)
        self._room.enforce(tier)
        return True

    def _has(self, tier: Tier, key: str) -> bool:
        """Tell whether a blob's pair in a tier has been taken in."""
        blob = self._blobs.get(key)
        if blob is not None and tier in blob.pairs:
            return True
        return any(one.pair.tier is tier for one in self._unattached.get(key, ()))

    # -- waking --------------------------------------------------------------------------------

    def wake(self, dataset: str, key: str) -> None:
        """Take in what rests of a blob, in all tiers."""
        for tier in self._room.tiers:
            self.wake_in(tier, dataset, key)

    def wake_in(self, tier: Tier, dataset: str, key: str) -> list[Resident] | None:
        """Take in what rests of a blob in a tier, and return its units; None if that fails."""
        if not (tier.rests(dataset, key) or (tier.recovering and not self._has(tier, key))):
            return []
        try:
            found = recover.inspect(tier, dataset, key)
        except OSError as error:
            tier.failed(error)
            return None
        known = tier.rouse(dataset, key)
        if found is not None:
            self._adopt(tier, found)
        elif known:  # else the scan will take away what does not fit
            recover.discard(self._core, tier, dataset, key)
        if not known:
            self._room.enforce(tier)  # the quota may have become smaller since
        blob = self._blobs.get(key)
        if blob is None:
            return []
        return [unit for unit in blob.units.values() if unit.pair.tier is tier]

    def _adopt(self, tier: Tier, found: recover.Found) -> None:
        header = found.header
        if not header.segments_per_cell:
            whole = recover.adopt_pack(self._room, tier, found)
            blob = self._blobs.get(header.key)
            if blob is not None:
                recover.attach_pack(self._room, blob, whole)
            else:
                self._unattached.setdefault(header.key, []).append(whole)
        else:
            layout = ObjectLayout(header.key, header.size, header.cell_size)
            blob = self._blobs.get(header.key)
            if blob is None:
                blob = Blob(self._core, self._room, layout, found.dataset)
                self._blobs[header.key] = blob
            recover.adopt_object(self._room, tier, blob, found)
        self._keys.setdefault(found.dataset, set()).add(header.key)

    # -- lists ---------------------------------------------------------------------------------

    def datasets(self) -> set[str]:
        """Return the Datasets that have something here."""
        found: set[str] = set()
        for tier in self._room.tiers:
            found.update(dataset for dataset, rows in tier.dormant.items() if rows.count)
            if tier.recovering:
                found.update(recover.datasets(tier.path))
        return found

    def keys_of(self, dataset: str) -> Iterator[str]:
        """Yield the keys of a Dataset, some of them twice. Needs no lock; any of them may leave."""
        for tier in tuple(self._room.tiers):
            dormant = tier.dormant.get(dataset)
            if dormant is not None:
                yield from dormant.keys()
            if tier.recovering:
                yield from recover.keys(tier.path, dataset)

    def resting(self) -> Iterator[Resting]:
        """Yield every dormant object that has been seen. Needs no lock."""
        for tier in tuple(self._room.tiers):
            for dataset, rows in tuple(tier.dormant.items()):
                for key in rows.keys():  # noqa: SIM118 - no mapping
                    yield Resting(tier, dataset, key)

    def remove(self, tier: Tier) -> None:
        """Remove what rests in a tier that has left the plan. Must not hold the lock."""
        for dataset in recover.datasets(tier.path):
            for key in recover.keys(tier.path, dataset):
                with self._core.lock:
                    tier.rouse(dataset, key)
                    try:
                        found = recover.inspect(tier, dataset, key)
                    except OSError as error:
                        tier.failed(error)
                        continue
                    if found is None:
                        recover.discard(self._core, tier, dataset, key)
                        continue
                    pair = recover.adopt_pair(self._room, tier, found)
                    self._room.retire_alone(pair)
                self._room.release(pair)
