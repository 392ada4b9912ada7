"""What can be fetched: a blob of a Dataset's snapshot, and the parts of its units at the origin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from runtime.catalog.records import FileRecord
from runtime.contract.layout import ObjectLayout
from runtime.contract.units import Unit
from runtime.errors import NoSuchPath

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runtime.agent.dataset import Dataset
    from runtime.catalog.read import Catalog
    from runtime.contract.layout import Layout


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of one object that belong into a cell: ``start`` to ``stop`` of the object."""

    cell: int
    record: FileRecord
    start: int
    stop: int


class Content:
    """A blob as one snapshot of a Dataset describes it.

    ``record`` is the object's, or None for a pack.
    """

    __slots__ = ("catalog", "dataset", "layout", "pack", "record")

    def __init__(
        self,
        dataset: Dataset,
        catalog: Catalog,
        layout: Layout,
        *,
        record: FileRecord | None = None,
        pack: int | None = None,
    ) -> None:
        self.dataset = dataset
        self.catalog = catalog
        self.layout = layout
        self.record = record
        self.pack = pack

    @classmethod
    def of_path(cls, dataset: Dataset, catalog: Catalog, path: str) -> Content:
        """Return the blob that holds the object at ``path``.

        Raises:
            NoSuchPath: the snapshot has no such object.
        """
        record = catalog.find(path)
        if record is None:
            raise NoSuchPath(f"{dataset.ref} has no object {path!r} in this snapshot")
        return cls.of_record(dataset, catalog, record)

    @classmethod
    def of_record(cls, dataset: Dataset, catalog: Catalog, record: FileRecord) -> Content:
        """Return the blob that holds the object of this record."""
        if record.pack is not None:
            return cls(dataset, catalog, catalog.pack_layout(record.pack), pack=record.pack)
        return cls(dataset, catalog, catalog.layout(record), record=record)

    @classmethod
    def of_pack(cls, dataset: Dataset, catalog: Catalog, key: str) -> Content:
        """Return the pack with this key.

        Raises:
            NoSuchPath: the snapshot has no such pack.
        """
        pack = catalog.pack_by_key(key)
        if pack is None:
            raise NoSuchPath(f"{dataset.ref} has no pack {key} in this snapshot")
        return cls(dataset, catalog, catalog.pack_layout(pack), pack=pack)

    def unit_name(self, unit: int) -> str:
        """Return the name by which a unit is owned."""
        return str(Unit(self.layout.key, unit))

    def parts(self, unit: int, cells: Sequence[int]) -> Iterator[Part]:
        """Yield what to read at the origin for these cells of a unit.

        Members that this snapshot no longer has are left out: their bytes cannot be had.
        """
        if isinstance(self.layout, ObjectLayout):
            assert self.record is not None
            for cell in cells:
                yield Part(cell, self.record, *self.layout.cell_range(cell))
            return
        assert self.pack is not None
        first = self.layout.unit_cells(unit).start
        members = self.catalog.members(self.pack, unit)
        for cell in cells:
            if not first <= cell < first + len(members):
                raise ValueError(f"cell {cell} is none of unit {unit}")
            record = members[cell - first]
            if record is not None:
                yield Part(cell, record, 0, record.size)

    def query(self) -> str:
        """Return the part of a peer's question that names this blob."""
        key = f"key={self.layout.key}"
        return key if self.record is None else f"{key}&path={quote(self.record.path, safe='')}"
