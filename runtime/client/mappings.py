"""A large object mapped into memory: its bytes with no copy, verified when they are mapped.

The agent passes a descriptor of the object's file in the one tier that has all of it. That
descriptor carries a hold, which the kernel keeps as long as the descriptor, a copy or a mapping of
it is open in any process: until then the agent neither punches nor evicts the object, nor does one
that was started anew. So the words of the cells need no look after the bytes were verified.
"""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING, NamedTuple

from xxhash import xxh3_64_intdigest

from runtime.client.blobs import MAX_CELLS_A_QUESTION, ROUNDS
from runtime.client.failures import BytesUnavailable, StoreFull

if TYPE_CHECKING:
    from runtime.client.blobs import Blob
    from runtime.contract.cellmap import CellMap

_CELLS_AT_ONCE = 16
"""Absent cells asked for in one question, so that each is answered in good time."""


class Mapping(NamedTuple):
    """A read-only view of all bytes of an object, and the map that tells their checksums."""

    view: memoryview
    cells: CellMap


def map_whole(blob: Blob, snapshot: str, *, check: bool) -> Mapping:
    """Have an object brought to this node, map it, and verify it if asked.

    Raises:
        StoreFull: the node's store cannot keep all of it, or lends no more.
        BytesUnavailable: it does not lie in one tier, or does not verify.
        Failure: see ``AgentSocket.ask``.
    """
    for left in reversed(range(ROUNDS)):
        _fetch(blob, snapshot)
        try:
            mapping = _mapped(blob, snapshot)
        except BytesUnavailable:
            if not left:
                raise
            continue  # some of it has left meanwhile
        wrong = mismatches(mapping) if check else []
        if not wrong:
            return mapping
        for start in range(0, len(wrong), MAX_CELLS_A_QUESTION):
            blob.suspect(snapshot, wrong[start : start + MAX_CELLS_A_QUESTION])
    raise BytesUnavailable(
        f"{blob.path} on this node does not match its checksums, also after it was fetched again; "
        "look at the node's disks",
        blob.path,
    )


def mismatches(mapping: Mapping) -> list[int]:
    """Return the cells whose bytes are not what their checksums say."""
    view, cells = mapping
    size = cells.header.cell_size
    return [
        cell
        for cell, total in enumerate(cells.sums)
        if (xxh3_64_intdigest(view[cell * size : (cell + 1) * size]) or 1) != total
    ]


def _fetch(blob: Blob, snapshot: str) -> None:
    if not blob.tiers:
        blob.refresh(snapshot)
    for start in range(0, blob.header.cells, _CELLS_AT_ONCE):
        stop = min(start + _CELLS_AT_ONCE, blob.header.cells)
        absent = [cell for cell in range(start, stop) if blob.holder(cell) is None]
        if absent and not blob.want(snapshot, absent):
            raise StoreFull(
                f"the store of this node does not keep all of {blob.path}, so it cannot be mapped; "
                "read it",
                blob.path,
            )


def _mapped(blob: Blob, snapshot: str) -> Mapping:
    data, cells = blob.whole(snapshot)
    try:
        mapped = mmap.mmap(data, blob.header.size, access=mmap.ACCESS_READ)
    finally:
        os.close(data)
    return Mapping(memoryview(mapped), cells)
