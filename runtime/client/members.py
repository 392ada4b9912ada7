"""Small objects, read whole out of packs.

A member has one checksum, compared at each read of it unless ``verify`` is ``OnFill``. The word of
its cell is taken before and after the bytes: equal and present, they are the member's.
"""

from __future__ import annotations

from os import pread
from typing import TYPE_CHECKING

from xxhash import xxh3_64_intdigest

from runtime.client.blobs import ROUNDS
from runtime.client.failures import (
    AgentTooSlow,
    AgentUnreachable,
    Failure,
    PathMissing,
    StoreFull,
)
from runtime.client.read_through import read_batch, read_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.catalog.read import FileRecord
    from runtime.client.blobs import Blob
    from runtime.client.snapshots import DatasetView, Snapshot

_CORRUPT = b""
"""Stands for bytes that were present and wrong; no member is empty."""


def _read_present(blob: Blob, record: FileRecord, *, check: bool) -> bytes | None:
    """Return the member's bytes, None when they are absent or taken away, or ``_CORRUPT``."""
    _, size, _, _, _, _, ordinal, offset = record
    for tier in blob.tiers:
        words = tier.words
        word = words[ordinal]
        if word & 1:
            data = pread(tier.descriptor, size, offset)
            # The contract's checksum is never 0.
            is_right = not check or (xxh3_64_intdigest(data) or 1) == tier.sums[ordinal]
            if words[ordinal] != word:
                return None
            return data if is_right and len(data) == size else _CORRUPT
    return None


def read_member(view: DatasetView, snapshot: Snapshot, record: FileRecord, *, check: bool) -> bytes:
    """Return a small object's bytes.

    Raises:
        Failure: they cannot be had now; see ``AgentSocket.ask``.
    """
    assert record.pack is not None
    blob = view.pack(snapshot, record.pack)
    data = _read_present(blob, record, check=check)
    if data:
        return data
    cells = (record.ordinal,)
    try:
        if not blob.tiers:
            blob.refresh(snapshot.name)
            data = _read_present(blob, record, check=check)
        for _ in range(ROUNDS):
            if data:
                return data
            if data is _CORRUPT:
                blob.suspect(snapshot.name, cells)
            if not blob.want(snapshot.name, cells):
                break
            data = _read_present(blob, record, check=check)
    except (StoreFull, PathMissing):
        # No room, or a pack of another catalog of this snapshot: the file can be had by its name.
        data = None
    if data:
        return data
    whole = bytearray(record.size)
    read_range(view, snapshot, record, memoryview(whole), 0)
    return bytes(whole)


def read_members(
    view: DatasetView, snapshot: Snapshot, records: Sequence[FileRecord], *, check: bool
) -> list[bytes | Failure]:
    """Return the bytes of many small objects in order, or why one cannot be had.

    Those absent are asked for together, one question a pack.
    """
    results: list[bytes | Failure] = []
    blobs: dict[int | None, Blob] = {}
    for record in records:
        blob = blobs.get(record.pack)
        if blob is None:
            assert record.pack is not None
            blob = blobs[record.pack] = view.pack(snapshot, record.pack)
        results.append(_read_present(blob, record, check=check) or _CORRUPT)
    missing: dict[int, list[int]] = {}
    for index, data in enumerate(results):
        if data is _CORRUPT:
            missing.setdefault(records[index].pack, []).append(index)  # type: ignore[arg-type]  # as above
    for pack, indexes in missing.items():
        some = [records[index] for index in indexes]
        for index, data in zip(
            indexes, _read_missing(view, snapshot, pack, some, check=check), strict=True
        ):
            results[index] = data
    return results


def _read_missing(
    view: DatasetView,
    snapshot: Snapshot,
    pack: int,
    records: Sequence[FileRecord],
    *,
    check: bool,
) -> list[bytes | Failure]:
    blob = view.pack(snapshot, pack)
    try:
        if not blob.tiers:
            blob.refresh(snapshot.name)
        absent = [r.ordinal for r in records if blob.holder(r.ordinal) is None]
        if not absent or blob.want(snapshot.name, absent):
            return [_read_or_fail(view, snapshot, record, check=check) for record in records]
    except (StoreFull, PathMissing):
        pass  # as in read_member
    except (AgentUnreachable, AgentTooSlow) as failure:
        return [failure.with_traceback(None)] * len(records)
    except Failure:
        # One of them may be at fault; asked for alone, the others are had.
        return [_read_or_fail(view, snapshot, record, check=check) for record in records]
    try:
        return read_batch(view, snapshot, records)
    except Failure as failure:
        return [failure.with_traceback(None)] * len(records)


def _read_or_fail(
    view: DatasetView, snapshot: Snapshot, record: FileRecord, *, check: bool
) -> bytes | Failure:
    try:
        return read_member(view, snapshot, record, check=check)
    except Failure as failure:
        return failure.with_traceback(None)
