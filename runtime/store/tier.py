"""One medium: what it holds, what that takes, in which order it leaves, and whether it works."""

from __future__ import annotations

import errno
import logging
import os
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

from runtime.contract.report import TierReport
from runtime.policy.evict import policy_for
from runtime.store.dormant import Dormant

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from typing import Literal

    from runtime.contract.plan import CachePolicy, TierPlan
    from runtime.policy.evict import Name, Policy
    from runtime.store.blob import Blob
    from runtime.store.core import Core
    from runtime.store.dormant import Row
    from runtime.store.pair import FilePair

_log = logging.getLogger(__name__)

WHOLE: Final = -1
"""The unit number that stands for all of a recovered pack whose layout is not known yet."""
RETRY_SECONDS: Final = 30.0
"""A tier that failed is tried again after this time."""
_NONE: Final[frozenset[int]] = frozenset()
"""Shared: hundreds of bytes a unit are saved where a million units are kept."""
_SPARE_SPACE: Final = 1 << 20
"""Left free on a file system that has been full, for what it needs to work."""


class Resident:
    """A unit in a tier, with some of its cells present or being filled.

    ``charged`` is an upper bound of the blocks that its bytes take; ``size`` counts the bytes of
    its present cells, ``count`` those cells. ``spare``: kept beside another owner's copy.
    ``doubted`` are cells from before a machine crash, absent until verified. For a recovered pack
    ``blob`` is None until it is attached, and ``found`` holds 1 for each of its present cells.
    """

    __slots__ = (
        "blob", "charged", "count", "doubted", "filling", "found", "name", "pair", "pins", "size",
        "spare",
    )  # fmt: skip

    def __init__(self, name: Name, pair: FilePair, blob: Blob | None) -> None:
        self.name = name
        self.pair = pair
        self.blob = blob
        self.charged = 0
        self.size = 0
        self.count = 0
        self.filling = _NONE
        self.pins = 0
        self.spare = False
        self.doubted: tuple[int, ...] = ()
        self.found = b""

    def start_filling(self, cells: Collection[int]) -> None:
        """Note that these cells are being filled."""
        self.filling = self.filling.union(cells)

    def end_filling(self, cells: Collection[int]) -> None:
        """Note that these cells are no longer being filled."""
        self.filling = self.filling.difference(cells) or _NONE

    @property
    def busy(self) -> bool:
        """Tell whether this unit must stay now: it is being sent, filled, or mapped by a reader."""
        return bool(self.pins or self.filling) or self.pair.held()


class Tier:
    """One tier; every method needs the store's lock.

    ``number`` names the tier to clients and is never given again in this process. ``usable``: its
    folder was opened. ``suspect``: the folder is from before a machine crash.
    ``recovering``: not all of the folder has been looked at, so nobody knows how much of the quota
    is taken, and nothing is admitted; ``scan`` goes on with that, and is None after it failed.
    ``dormant`` are objects from before that nobody has used, by Dataset; ``woken`` the units of
    those that were woken to leave.
    ``lent`` are pairs that readers may have mapped, dead ones too, whose bytes stay charged until
    the last mapping ends.
    """

    def __init__(self, core: Core, plan: TierPlan, number: int) -> None:
        self.plan = plan
        self.number = number
        self.path = os.path.normpath(plan.path)
        self.used = 0
        self.state: Literal["Normal", "Full", "Failed"] = "Normal"
        self.message = ""
        self.folder_fd = -1
        self.usable = False
        self.suspect = False
        self.draining = False
        self.recovering = False
        self.scan: Iterator[None] | None = None
        self.dormant: dict[str, Dormant] = {}
        self.woken: dict[str, deque[Name]] = {}
        self.residents: dict[Name, Resident] = {}
        self.spares: OrderedDict[Name, Resident] = OrderedDict()
        self.spare_size = 0
        self.policies: dict[str, Policy] = {}
        self.lent: set[FilePair] = set()
        self._tallies: dict[str, list[int]] = {}
        self._core = core
        self._retry_at = 0.0

    # -- room ----------------------------------------------------------------------------------

    @property
    def free(self) -> int:
        """Bytes that may be admitted: what is left of the quota, or of a full file system."""
        left = self.plan.quota - self.used
        return left if self.state != "Full" else min(left, self._look_for_space())

    @property
    def files_size(self) -> int:
        """Bytes charged for files beyond their units; some go when the last unit of a file does."""
        datasets = self.policies.keys() | self.dormant.keys()
        return self.used - self.spare_size - sum(self.owned_size(one) for one in datasets)

    def owned_size(self, dataset: str) -> int:
        """Bytes charged for owned units of a Dataset."""
        policy, dormant = self.policies.get(dataset), self.dormant.get(dataset)
        return (policy.size if policy else 0) + (dormant.charged if dormant else 0)

    def _look_for_space(self) -> int:
        """Return the bytes left on the medium; one that was full may have room again."""
        space = self._space()
        if self.state == "Full" and space >= self.plan.quota - self.used:
            self._normal()
        return space

    def _normal(self) -> None:
        self.state = "Normal"
        self.message = ""

    def _space(self) -> int:
        try:
            status = os.fstatvfs(self.folder_fd)
        except OSError:
            return 0
        return status.f_bavail * status.f_frsize - _SPARE_SPACE

    @property
    def high_mark(self) -> int:
        """Bytes above which units of Serving Datasets leave in advance."""
        return self.plan.quota * self.plan.high // 100

    @property
    def low_mark(self) -> int:
        """Bytes down to which they leave."""
        return self.plan.quota * self.plan.low // 100

    def charge(self, pair: FilePair, size: int) -> None:
        """Count ``size`` more (or fewer) bytes for a pair."""
        pair.charged += size
        self.used += size

    @property
    def accepts(self) -> bool:
        """Tell whether the medium works well enough to write to it, and its room is known."""
        if not self.usable or self.recovering:
            return False
        return self.state != "Failed" or self._core.clock() >= self._retry_at

    def worked(self) -> None:
        """Note that a fill went well."""
        if self.state == "Failed":
            _log.warning("tier %s works again", self.path)
            self._normal()

    def failed(self, error: OSError) -> None:
        """Note that the medium refused a read or a write."""
        self._core.counters.io_errors += 1
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        state: Literal["Full", "Failed"] = "Full" if full else "Failed"
        self.message = f"{self.path}: {error.strerror or error}; {_remedy(error)}"
        if self.state != state:
            _log.warning("tier %s", self.message)
        self.state = state
        self._retry_at = self._core.clock() + RETRY_SECONDS

    # -- what is here --------------------------------------------------------------------------

    def policy(self, dataset: str) -> Policy:
        """Return the order of eviction of a Dataset; Epoch until it is known better."""
        found = self.policies.get(dataset)
        if found is None:
            found = self.policies[dataset] = policy_for("Epoch")
        return found

    def set_policy(self, dataset: str, kind: CachePolicy) -> None:
        """Order this Dataset's units by another policy, which starts without a memory of reads."""
        old = self.policies.get(dataset)
        if old is not None and old.yields == (kind == "Serving"):
            return
        new = self.policies[dataset] = policy_for(kind)
        for name, size in old.names() if old is not None else ():
            new.insert(name, size)

    def end_recovery(self) -> None:
        """Note that all of the folder has been looked at."""
        self.scan = None
        if self.usable:
            self.recovering = False
            self.worked()

    def lull(self, dataset: str, key: str, row: Row, cells: bytes) -> None:
        """Take in an object that stays dormant."""
        self.used += row.overhead + row.charged
        dormant = self.dormant.get(dataset)
        if dormant is None:
            dormant = self.dormant[dataset] = Dormant()
        dormant.add(key, row, cells)

    def rests(self, dataset: str, key: str) -> bool:
        """Tell whether this object is here and dormant."""
        dormant = self.dormant.get(dataset)
        return dormant is not None and key in dormant

    def rouse(self, dataset: str, key: str) -> bool:
        """Give back what an object is charged as a dormant one; tell whether it was one."""
        dormant = self.dormant.get(dataset)
        row = dormant.take(key) if dormant is not None else None
        if row is not None:
            self.used -= row.overhead + row.charged
        return row is not None

    def place(self, resident: Resident) -> None:
        """Take in a unit that has been charged."""
        self.residents[resident.name] = resident
        resident.pair.residents += 1
        self._enqueue(resident)

    def displace(self, resident: Resident) -> None:
        """Let go of a unit; its charge stays with its pair."""
        del self.residents[resident.name]
        resident.pair.residents -= 1
        self._dequeue(resident)
        self._tally(resident, -resident.size)

    def grow(self, resident: Resident, size: int) -> None:
        """Charge ``size`` more bytes for a unit that is here."""
        self.charge(resident.pair, size)
        resident.charged += size
        if resident.spare:
            self.spare_size += size
        else:
            self.policy(resident.pair.dataset).grow(resident.name, size)

    def count(self, resident: Resident, cells: int, size: int) -> None:
        """Note ``cells`` more (or fewer) present cells of ``size`` bytes in a unit."""
        resident.count += cells
        resident.size += size
        self._tally(resident, size)

    def set_spare(self, resident: Resident, *, spare: bool) -> None:
        """Note that a unit is, or is no longer, kept beside another owner's."""
        if resident.spare != spare:
            self._dequeue(resident)
            self._tally(resident, -resident.size)
            resident.spare = spare
            self._tally(resident, resident.size)
            self._enqueue(resident)

    def _enqueue(self, resident: Resident) -> None:
        if resident.spare:
            self.spares[resident.name] = resident
            self.spare_size += resident.charged
        else:
            self.policy(resident.pair.dataset).insert(resident.name, resident.charged)

    def _dequeue(self, resident: Resident) -> None:
        if resident.spare:
            del self.spares[resident.name]
            self.spare_size -= resident.charged
        else:
            self.policy(resident.pair.dataset).remove(resident.name)

    def _tally(self, resident: Resident, size: int) -> None:
        tally = self._tallies.setdefault(resident.pair.dataset, [0, 0])
        tally[resident.spare] += size

    def is_busy(self, name: Name) -> bool:
        """Tell whether a unit that is here must stay now."""
        return self.residents[name].busy

    def usage(self, dataset: str) -> tuple[int, int]:
        """Return the bytes of present cells of a Dataset, owned and spare."""
        owned, spare = self._tallies.get(dataset, (0, 0))
        dormant = self.dormant.get(dataset)
        return owned + (dormant.size if dormant is not None and not self.suspect else 0), spare

    def serving(self) -> list[str]:
        """Return the Datasets whose units leave in advance, largest first."""
        yielding = [dataset for dataset, policy in self.policies.items() if policy.yields]
        return sorted(filter(self.owned_size, yielding), key=lambda one: -self.owned_size(one))

    def report(self) -> TierReport:
        """Return what the agent's report says of this tier."""
        self._look_for_space()
        disk = self._disk()
        return TierReport(
            medium=self.plan.medium,
            path=self.plan.path,
            quota=self.plan.quota,
            used=self.used,
            state="Recovering" if self.recovering and self.state == "Normal" else self.state,
            disk=disk,
            message=self.message or self._too_large(disk) or self._progress(),
        )

    def _progress(self) -> str:
        if not self.recovering:
            return ""
        return (
            f"{self.path}: what it holds is being looked at since the agent's start; "
            "it serves that, and takes new bytes when this is done"
        )

    def _disk(self) -> int:
        try:
            status = os.fstatvfs(self.folder_fd)
        except OSError:
            return 0
        return status.f_blocks * status.f_frsize

    def _too_large(self, disk: int) -> str:
        if not disk or self.plan.quota <= disk:
            return ""
        return (
            f"{self.path}: quota is {self.plan.quota} bytes, and its file system has {disk}; "
            "lower the quota, or give the tier a larger disk"
        )


def _remedy(error: OSError) -> str:
    """Return what to do about a medium's refusal."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return "free space on it, or lower the tier's quota"
        case errno.EROFS:
            return "mount it writable, or give the tier another path"
        case errno.ENOTDIR | errno.EEXIST:
            return "a tier's path is a folder; remove the file there, or give another path"
        case errno.EACCES | errno.EPERM:
            return "let the agent's user write there, or give the tier another path"
        case errno.ENOENT:
            return "it cannot be made there; give the tier another path"
        case _:
            return "look at the medium, or give the tier another path"
