"""Which pack holds which small object, and where.

New objects are laid out in listing order. An object that has not changed keeps its place, since
its bytes may be cached there; a pack's layout never changes, so members that are gone leave their
bytes unused. Two rules bound that waste: a pack whose members are more than half gone, by bytes,
is given up and its live members laid out anew; and when many small refreshes have left more than
``MANY_SMALL`` small packs, these are given up together. Laid out anew means cached anew.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from runtime.contract.layout import PackLayout
from runtime.contract.units import ALIGN, PACK_BYTES, pack_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runtime.catalog.records import Entry

GROUP_MEMBERS: Final = 1024
"""What is done for each member of a group, one after the other, must stay short."""
MANY_SMALL: Final = 32
"""So many packs may be smaller than ``PACK_BYTES / MANY_SMALL`` before they are merged."""


class Place(NamedTuple):
    """A member's pack, its ordinal there and its first byte."""

    pack: int
    ordinal: int
    offset: int


class Packing(NamedTuple):
    """The place of each entry (None: in no pack), and the layouts of all packs in use."""

    places: list[Place | None]
    packs: dict[int, PackLayout]


class Kept(NamedTuple):
    """What the previous catalog says: its members' places by entry index, and its packs."""

    places: dict[int, tuple[int, int]]
    packs: dict[int, PackLayout]


NOTHING_KEPT: Final = Kept({}, {})


def arrange(
    entries: Sequence[Entry],
    *,
    dataset: str,
    chunk_size: int,
    pack_below: int,
    kept: Kept = NOTHING_KEPT,
    pack_bytes: int = PACK_BYTES,
) -> Packing:
    """Give every small entry a place.

    ``entries`` are in listing order; ``chunk_size``, ``pack_below`` and ``pack_bytes`` are bytes.
    A group has at most ``GROUP_MEMBERS`` members, and at most ``chunk_size`` bytes unless it is a
    single member; a pack at most ``pack_bytes`` unless it is a single member.
    """
    given_up = _given_up(entries, kept, pack_bytes)
    places: list[Place | None] = [None] * len(entries)
    packs: dict[int, PackLayout] = {}
    fresh: list[int] = []
    for index, entry in enumerate(entries):
        if not 0 < entry.size < pack_below:
            continue
        pack, ordinal = kept.places.get(index, (-1, 0))
        if pack < 0 or pack in given_up:
            fresh.append(index)
            continue
        layout = packs[pack] = kept.packs[pack]
        places[index] = Place(pack, ordinal, layout.offsets[ordinal])
    number = max(kept.packs, default=-1)
    for draft in _drafts((entries[i].size for i in fresh), chunk_size, pack_bytes):
        number += 1
        members = fresh[draft.first : draft.first + len(draft.offsets)]
        listed = [entries[i] for i in members]
        key = pack_key(dataset, ((e.path, e.size, e.version) for e in listed), draft.groups)
        packs[number] = PackLayout(key, draft.offsets, [e.size for e in listed], draft.groups)
        for ordinal, (index, offset) in enumerate(zip(members, draft.offsets, strict=True)):
            places[index] = Place(number, ordinal, offset)
    return Packing(places, packs)


def _given_up(entries: Sequence[Entry], kept: Kept, pack_bytes: int) -> set[int]:
    live: dict[int, int] = defaultdict(int)
    for index, (pack, _) in kept.places.items():
        live[pack] += entries[index].size
    sparse = {pack for pack, size in live.items() if 2 * size < sum(kept.packs[pack].sizes)}
    small = {
        pack for pack in live.keys() - sparse if kept.packs[pack].size < pack_bytes // MANY_SMALL
    }
    return sparse | small if len(small) > MANY_SMALL else sparse


class _Draft:
    """A pack being laid out."""

    __slots__ = ("end", "first", "group_start", "groups", "offsets")

    def __init__(self, first: int) -> None:
        self.first = first
        self.offsets: list[int] = []
        self.groups: list[int] = []
        self.group_start = 0
        self.end = 0

    def add(self, size: int, chunk_size: int, pack_bytes: int) -> bool:
        """Place the next member, or return False when the pack is full."""
        start = self.end
        opens = (
            not self.groups
            or start + size - self.group_start > chunk_size
            or len(self.offsets) - self.groups[-1] >= GROUP_MEMBERS
        )
        if opens:
            start = -(-start // ALIGN) * ALIGN
        if self.offsets and start + size > pack_bytes:
            return False
        if opens:
            self.groups.append(len(self.offsets))
            self.group_start = start
        self.offsets.append(start)
        self.end = start + size
        return True


def _drafts(sizes: Iterable[int], chunk_size: int, pack_bytes: int) -> Iterable[_Draft]:
    draft = _Draft(0)
    for index, size in enumerate(sizes):
        if not draft.add(size, chunk_size, pack_bytes):
            yield draft
            draft = _Draft(index)
            draft.add(size, chunk_size, pack_bytes)
    if draft.offsets:
        yield draft
