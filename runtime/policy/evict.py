"""Which unit leaves a tier first.

One policy instance orders the owned units of one Dataset in one tier. It knows names and sizes
only; whether and when to evict is the store's to decide. ``Epoch`` keeps what it has: on shuffled
epochs nothing beats it. ``S3Fifo`` follows Yang, Zhang, Qiu, Yue, Rashmi, "FIFO queues are all you
need for cache eviction", SOSP 2023, algorithm 1.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runtime.contract.plan import CachePolicy

Name = tuple[str, int]
"""A unit: the blob's key and the unit's index."""


class Victim(NamedTuple):
    """A unit that a policy has let go. ``reread``: it was touched while it was here."""

    name: Name
    size: int
    reread: bool


class Policy(Protocol):
    """An order of eviction over units. Every call is O(1), amortised."""

    @property
    def yields(self) -> bool:
        """Whether units of this Dataset make room for new ones of the same Dataset."""

    @property
    def size(self) -> int:
        """Bytes of all units in it."""

    def insert(self, name: Name, size: int) -> None:
        """Take in a unit that is not in it."""

    def grow(self, name: Name, size: int) -> None:
        """Count ``size`` more bytes for a unit."""

    def touch(self, name: Name) -> None:
        """Note a read; unknown names are ignored."""

    def remove(self, name: Name) -> None:
        """Forget a unit, if it is there, without a memory of it."""

    def victim(self, busy: Callable[[Name], bool]) -> Victim | None:
        """Choose a unit that is not ``busy`` and let it go; None if there is none."""

    def let_go(self, name: Name) -> bool:
        """Let go of a unit that is in it, as a victim that others chose; not if it was read."""

    def names(self) -> Iterator[tuple[Name, int]]:
        """Yield every unit and its size."""


class Epoch:
    """Keep what is here. Asked for a victim (the quota shrank), it gives the newest."""

    yields = False

    def __init__(self) -> None:
        self.size = 0
        self._units: dict[Name, int] = {}

    def insert(self, name: Name, size: int) -> None:
        """Take in a unit that is not in it."""
        self._units[name] = size
        self.size += size

    def grow(self, name: Name, size: int) -> None:
        """Count ``size`` more bytes for a unit."""
        self._units[name] += size
        self.size += size

    def touch(self, name: Name) -> None:
        """Note nothing: reads do not change the order."""

    def remove(self, name: Name) -> None:
        """Forget a unit, if it is there."""
        self.size -= self._units.pop(name, 0)

    def victim(self, busy: Callable[[Name], bool]) -> Victim | None:
        """Let go of the newest unit that is not busy."""
        kept: list[tuple[Name, int]] = []
        try:
            while self._units:
                # Walking backwards would step over the gaps that earlier victims left.
                name, size = self._units.popitem()
                if not busy(name):
                    self.size -= size
                    return Victim(name, size, reread=False)
                kept.append((name, size))
            return None
        finally:
            self._units.update(reversed(kept))

    def let_go(self, name: Name) -> bool:
        """Forget a unit; reads change nothing."""
        self.remove(name)
        return True

    def names(self) -> Iterator[tuple[Name, int]]:
        """Yield every unit and its size, oldest first."""
        return iter(self._units.items())


class _Entry:
    __slots__ = ("main", "reads", "size")

    def __init__(self, size: int, *, main: bool) -> None:
        self.size = size
        self.reads = 0
        self.main = main


class S3Fifo:
    """S3-FIFO: a small queue filters units read once, a main queue keeps those read again.

    Against the paper: the small queue's share is a tenth of the bytes that are here (the Dataset
    has no fixed capacity in a tier that it shares), and the ghost queue remembers as many names as
    there are units (at least ``GHOSTS``). A busy unit at a queue's head goes to its end.
    """

    yields = True

    SMALL = 10
    """The small queue holds a tenth."""
    READS = 3
    """Reads are counted up to this."""
    GHOSTS = 16

    def __init__(self) -> None:
        self.size = 0
        self._small_size = 0
        self._entries: dict[Name, _Entry] = {}
        self._small: OrderedDict[Name, None] = OrderedDict()
        self._main: OrderedDict[Name, None] = OrderedDict()
        self._ghosts: OrderedDict[Name, None] = OrderedDict()

    def insert(self, name: Name, size: int) -> None:
        """Take in a unit: into the main queue if it left not long ago, else the small one."""
        remembered = name in self._ghosts
        self._entries[name] = _Entry(size, main=remembered)
        self.size += size
        if remembered:
            del self._ghosts[name]
            self._main[name] = None
        else:
            self._small[name] = None
            self._small_size += size

    def grow(self, name: Name, size: int) -> None:
        """Count ``size`` more bytes for a unit."""
        entry = self._entries[name]
        entry.size += size
        self.size += size
        if not entry.main:
            self._small_size += size

    def touch(self, name: Name) -> None:
        """Note a read."""
        entry = self._entries.get(name)
        if entry is not None and entry.reads < self.READS:
            entry.reads += 1

    def remove(self, name: Name) -> None:
        """Forget a unit, if it is there, without a memory of it."""
        entry = self._entries.get(name)
        if entry is not None:
            self._take(name, entry)

    def victim(self, busy: Callable[[Name], bool]) -> Victim | None:
        """Let go of the next unit in the order of the paper's algorithm 1."""
        if self._small_size * self.SMALL >= self.size:
            return self._from_small(busy) or self._from_main(busy)
        return self._from_main(busy) or self._from_small(busy)

    def let_go(self, name: Name) -> bool:
        """Forget a unit that was not read since it came, but remember its name."""
        entry = self._entries[name]
        if entry.reads or entry.main:
            return False
        self._take(name, entry)
        self._remember(name)
        return True

    def names(self) -> Iterator[tuple[Name, int]]:
        """Yield every unit and its size."""
        return ((name, entry.size) for name, entry in self._entries.items())

    def _from_small(self, busy: Callable[[Name], bool]) -> Victim | None:
        for _ in range(len(self._small)):
            name = next(iter(self._small))
            entry = self._entries[name]
            if busy(name):
                self._small.move_to_end(name)
            elif entry.reads > 1:
                del self._small[name]
                self._small_size -= entry.size
                self._main[name] = None
                entry.main = True
                entry.reads = 0
            else:
                self._take(name, entry)
                self._remember(name)
                return Victim(name, entry.size, reread=entry.reads > 0)
        return None

    def _from_main(self, busy: Callable[[Name], bool]) -> Victim | None:
        # Each unit can be passed over once for every read that it has saved up.
        for _ in range((self.READS + 1) * len(self._main)):
            name = next(iter(self._main))
            entry = self._entries[name]
            if entry.reads and not busy(name):
                entry.reads -= 1
                self._main.move_to_end(name)
            elif busy(name):
                self._main.move_to_end(name)
            else:
                self._take(name, entry)
                return Victim(name, entry.size, reread=True)
        return None

    def _take(self, name: Name, entry: _Entry) -> None:
        del self._entries[name]
        self.size -= entry.size
        if entry.main:
            del self._main[name]
        else:
            del self._small[name]
            self._small_size -= entry.size

    def _remember(self, name: Name) -> None:
        self._ghosts[name] = None
        while len(self._ghosts) > max(self.GHOSTS, len(self._entries)):
            self._ghosts.popitem(last=False)


def policy_for(kind: CachePolicy) -> Policy:
    """Return a new, empty policy of this kind."""
    return S3Fifo() if kind == "Serving" else Epoch()
