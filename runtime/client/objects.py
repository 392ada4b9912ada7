"""Reads of one large object by one handle: verify, ask for what is absent, read through.

The word of a cell is taken before and after its bytes: equal and present, they are the cell's.
``verify: FirstRead`` keeps, per 64 KiB segment, the word under which it was last verified: a cell
that was taken away and filled again has another word, so its segments are verified anew.
"""

from __future__ import annotations

import contextlib
import enum
import io
from array import array
from os import pread, preadv
from typing import TYPE_CHECKING, Final, NamedTuple

from xxhash import xxh3_64, xxh3_64_intdigest

from runtime.client.blobs import ROUNDS
from runtime.client.failures import BytesUnavailable, Failure, PathMissing, StoreFull
from runtime.client.mappings import map_whole, mismatches
from runtime.client.read_through import read_range
from runtime.contract.layout import ObjectLayout
from runtime.contract.units import SEGMENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.catalog.read import FileRecord
    from runtime.client.blobs import TierFiles
    from runtime.client.mappings import Mapping
    from runtime.client.settings import Verify
    from runtime.client.snapshots import DatasetView, Snapshot

_SHIFT: Final = SEGMENT.bit_length() - 1
_MOST_AHEAD: Final = 8
_CELLS_AT_ONCE: Final = 16
"""Cells of one large read that are asked for in one question, so that a store smaller than the
read can still hold what was asked."""


class _Outcome(enum.Enum):
    ABSENT = "absent, or taken away during the read"
    CORRUPT = "present, and not what its checksum says"


class _Tier(NamedTuple):
    """A tier's files, and the word under which each segment of them was verified here."""

    words: memoryview
    verified: array[int]
    descriptor: int
    files: TierFiles


class ObjectReader:
    """Reads one version of one large object. Safe to share between threads.

    It holds its snapshot, so that the agent keeps this version, and its blob's descriptors.
    """

    __slots__ = (
        "_admitted",
        "_blob",
        "_chunk",
        "_last_cell",
        "_mapping",
        "_per_cell",
        "_streak",
        "_tiers",
        "_verify",
        "_view",
        "record",
        "snapshot",
    )

    def __init__(
        self, view: DatasetView, snapshot: Snapshot, record: FileRecord, verify: Verify
    ) -> None:
        layout = snapshot.catalog.layout(record)
        assert isinstance(layout, ObjectLayout)
        self._view = view
        self._blob = view.object(layout, record.path)
        self._chunk = layout.chunk
        self._per_cell = layout.header.segments_per_cell
        self._verify = verify
        self._tiers: tuple[_Tier, ...] = ()
        self._mapping: Mapping | None = None
        self._admitted = -1
        self._last_cell = -1
        self._streak = 0
        self.record = record
        self.snapshot = snapshot

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes of ``start <= stop <= size``.

        Raises:
            Failure: they cannot be had now; see ``AgentSocket.ask``.
        """
        size = stop - start
        cell = start // self._chunk
        base = cell * self._chunk
        if 0 < size <= base + self._chunk - start:
            first = cell * self._per_cell + ((start - base) >> _SHIFT)
            last = cell * self._per_cell + ((stop - 1 - base) >> _SHIFT)
            for words, verified, descriptor, _ in self._tiers:
                word = words[cell]
                if (
                    word & 1
                    and verified[first] == word
                    and verified[last] == word
                    and (last - first < 2 or verified[first:last].count(word) == last - first)
                ):
                    data = pread(descriptor, size, start)
                    if words[cell] == word and len(data) == size:
                        return data
            return bytes(self._read_part(None, start, stop, ahead=self._note(cell)))
        # BytesIO hands its buffer out as bytes without copying it.
        buffer = io.BytesIO(bytes(size))
        with buffer.getbuffer() as view:
            self.fill(view, start)
        return buffer.getvalue()

    def fill(self, into: memoryview, start: int) -> None:
        """Fill ``into`` (contiguous bytes) with the object's bytes from ``start`` on.

        Raises:
            Failure: they cannot be had now; ``into`` then holds nothing to rely on.
        """
        stop = start + len(into)
        while start < stop:
            cell = start // self._chunk
            ahead = self._note(cell)
            last = min((stop - 1) // self._chunk, cell + _CELLS_AT_ONCE - 1)
            if last > cell:
                self._fetch(range(cell, last + 1), ahead)
                self._last_cell = last
            for part in range(cell, last + 1):
                end = min((part + 1) * self._chunk, stop)
                view = into[: end - start]
                self._read_part(view, start, end, ahead=ahead)
                into = into[end - start :]
                start = end

    def map(self) -> memoryview:
        """Return a read-only view of all bytes, mapped from the store; see ``mappings``.

        Verified when it is mapped, for ``EveryRead`` at each call.

        Raises:
            Failure: see ``mappings.map_whole``.
        """
        mapping = self._mapping
        if mapping is not None and self._verify == "EveryRead" and mismatches(mapping):
            mapping = None
        if mapping is None:
            try:
                mapping = map_whole(self._blob, self.snapshot.name, check=self._verify != "OnFill")
            except BytesUnavailable:
                self._view.renew(self.snapshot)
                raise
            self._mapping = mapping
        return mapping.view[:]

    def _note(self, cell: int) -> int:
        """Follow the access pattern; return how many chunks to fetch ahead of this cell.

        The agent is told early, while half of what it fetched ahead is still to be read.
        """
        if cell == self._last_cell:
            return 0
        self._streak = self._streak + 1 if cell == self._last_cell + 1 and cell else 0
        self._last_cell = cell
        ahead = min(1 << self._streak, _MOST_AHEAD) if self._streak else 0
        coming = cell + (ahead + 1) // 2
        if (
            ahead
            and self._blob.holder(cell) is not None
            and coming * self._chunk < self.record.size
            and self._blob.holder(coming) is None
        ):
            with contextlib.suppress(Failure):
                self._blob.want(self.snapshot.name, (cell,), ahead=ahead, patient=False)
        return ahead

    def _fetch(self, cells: Sequence[int], ahead: int) -> None:
        """Ask for those of the cells that are absent, all at once; refusals show at the read."""
        with contextlib.suppress(StoreFull, PathMissing, BytesUnavailable):
            if not self._blob.tiers:
                self._blob.refresh(self.snapshot.name)
            absent = [cell for cell in cells if self._blob.holder(cell) is None]
            if absent:
                self._blob.want(self.snapshot.name, absent, ahead=ahead)

    def _read_part(
        self, into: memoryview | None, start: int, stop: int, *, ahead: int
    ) -> bytes | memoryview:
        """Read a range within one cell; who opens the file again finds what there is now."""
        try:
            return self._read_asking(into, start, stop, ahead=ahead)
        except BytesUnavailable:
            self._view.renew(self.snapshot)
            raise

    def _read_asking(
        self, into: memoryview | None, start: int, stop: int, *, ahead: int
    ) -> bytes | memoryview:
        """Read a range within one cell, by descriptor if that can be had, else by the agent."""
        cell = start // self._chunk
        name = self.snapshot.name
        blob = self._blob
        outcome = self._attempt(into, start, stop)
        try:
            if isinstance(outcome, _Outcome) and not blob.tiers:
                blob.refresh(name)
                outcome = self._attempt(into, start, stop)
            for _ in range(ROUNDS):
                if not isinstance(outcome, _Outcome):
                    return outcome
                if self._admitted == cell:
                    break
                if outcome is _Outcome.CORRUPT:
                    blob.suspect(name, (cell,))
                if not blob.want(name, (cell,), ahead=ahead):
                    self._admitted = cell
                    break
                outcome = self._attempt(into, start, stop)
        except (StoreFull, PathMissing):
            pass  # no room, or an agent that knows this file by its name only
        if not isinstance(outcome, _Outcome):
            return outcome
        into = memoryview(bytearray(stop - start)) if into is None else into
        read_range(self._view, self.snapshot, self.record, into, start)
        return into

    def _attempt(
        self, into: memoryview | None, start: int, stop: int
    ) -> bytes | memoryview | _Outcome:
        self._follow_tiers()
        cell = start // self._chunk
        for tier in self._tiers:
            word = tier.words[cell]
            if not word & 1:
                continue
            data: bytes | memoryview
            if into is None:
                data = pread(tier.descriptor, stop - start, start)
                count = len(data)
            else:
                count = preadv(tier.descriptor, (into,), start)
                data = into
            is_right = count == stop - start and (
                self._verify == "OnFill" or self._matches(tier, word, data, start)
            )
            if tier.words[cell] != word:
                return _Outcome.ABSENT
            if not is_right:
                return _Outcome.CORRUPT
            if self._verify != "EveryRead":
                first, last = self._segments(start, stop)
                tier.verified[first : last + 1] = array("Q", [word]) * (last + 1 - first)
            return data
        return _Outcome.ABSENT

    def _follow_tiers(self) -> None:
        """Take up the blob's files; what was verified in files that stay is remembered."""
        files = self._blob.tiers
        if tuple(tier.files for tier in self._tiers) == files:
            return
        known = {tier.files: tier.verified for tier in self._tiers}
        segments = -(-self.record.size // self._chunk) * self._per_cell
        self._tiers = tuple(
            _Tier(
                tier.words,
                known.get(tier) or array("Q", bytes(8 * segments)),
                tier.descriptor,
                tier,
            )
            for tier in files
        )

    def _segments(self, start: int, stop: int) -> tuple[int, int]:
        """Return the first and the last segment of a range within one cell."""
        cell = start // self._chunk
        base = cell * self._chunk
        zero = cell * self._per_cell
        return zero + (start - base) // SEGMENT, zero + (stop - 1 - base) // SEGMENT

    def _matches(self, tier: _Tier, word: int, data: bytes | memoryview, start: int) -> bool:
        """Compare bytes within one cell with the checksums of the segments that they touch.

        Of a segment that they cover in part, the rest is read too and only hashed, so that the
        bytes returned are the very bytes compared.
        """
        stop = start + len(data)
        cell = start // self._chunk
        base = cell * self._chunk
        end = min(base + self._chunk, self.record.size)
        first, last = self._segments(start, stop)
        if start == base and stop == end:
            if tier.verified[first : last + 1].count(word) == last + 1 - first:
                return True
            return (xxh3_64_intdigest(data) or 1) == tier.files.sums[cell]
        whole = memoryview(data)
        for segment in range(first, last + 1):
            if tier.verified[segment] == word:
                continue
            left = base + (segment - cell * self._per_cell) * SEGMENT
            right = min(left + SEGMENT, end)
            digest = xxh3_64()
            if left < start:
                digest.update(pread(tier.descriptor, start - left, left))
            digest.update(whole[max(left - start, 0) : right - start])
            if stop < right:
                digest.update(pread(tier.descriptor, right - stop, stop))
            if (digest.intdigest() or 1) != tier.files.segments[segment]:
                return False
        return True
