"""The values that a catalog is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Entry(NamedTuple):
    """One object of a listing, as it goes into a catalog.

    ``path`` is the path in the Dataset, the mount's name included, without a leading slash.
    ``mount`` is the index of its mount; ``digest`` is ``algorithm:hex`` or empty.
    """

    path: str
    size: int
    version: str
    mount: int = 0
    digest: str = ""


class FileRecord(NamedTuple):
    """What a catalog knows of one path.

    ``pack`` is None for objects that are blobs of their own, and for empty ones. Otherwise
    ``ordinal`` is the member's place in its pack and ``offset`` its first byte there.
    """

    path: str
    size: int
    version: str
    mount: int
    digest: str
    pack: int | None
    ordinal: int
    offset: int


class Listing(NamedTuple):
    """One name in a folder; ``record`` is None for folders."""

    name: str
    is_dir: bool
    record: FileRecord | None


@dataclass(frozen=True, slots=True)
class CatalogMeta:
    """What a catalog says of itself.

    ``snapshot`` names the content alone: two catalogs of one snapshot may differ in their packs,
    whose keys always tell. ``files`` counts paths, ``bytes`` sums their sizes, ``packs`` counts
    packs, ``created`` is wall-clock text for people.
    """

    dataset: str
    snapshot: str
    files: int
    bytes: int
    chunk_size: int
    pack_below: int
    packs: int
    created: str = ""
