"""The catalogs of one Dataset on disk, and which of them is followed.

``<state>/catalogs/<namespace>_<name>/`` holds ``<snapshot>.sqlite`` files, ``current`` (JSON of
``Head``, replaced by rename) and ``head`` (``contract.protocol.DATASET_HEAD``, changed in place,
since clients map it). A catalog is in place before ``current`` names it, and ``current`` before
the count in ``head`` grows. That count is this folder's own: it grows by one whenever clients are
to look again, while the sequence in ``Head`` orders the snapshots of a whole domain. Used by one
thread at a time of one process; ``install`` and ``open`` read the whole catalog, which takes some
tens of milliseconds for a million paths.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import xxhash

from runtime.catalog.read import Catalog
from runtime.contract.protocol import DATASET_HEAD
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path
    from typing import Self

_BLOCK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Head:
    """Which snapshot is followed.

    ``sequence`` is above that of every head its taker knew; ``request`` is the plan's
    ``snapshot_request`` that this snapshot answers; ``taken`` is wall-clock text for people;
    ``checksum`` is that of the catalog's file (see ``file_checksum``), empty when not known.
    """

    sequence: int
    snapshot: str
    request: str = ""
    taken: str = ""
    checksum: str = ""

    @property
    def order(self) -> tuple[int, str, str]:
        """Return what tells which of two heads is the greater one, which everybody adopts.

        Two members may take a snapshot at once and not know of each other: their heads then have
        one sequence. The checksum decides between two catalogs of one snapshot, whose packs may
        differ.
        """
        return (self.sequence, self.snapshot, self.checksum)

    def encode(self) -> str:
        """Return this as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: str | bytes) -> Self:
        """Read what ``encode`` wrote.

        Raises:
            ConfigError: it is something else.
        """
        try:
            document = json.loads(text)
            head = cls(
                sequence=int(document["sequence"]),
                snapshot=str(document["snapshot"]),
                request=str(document.get("request", "")),
                taken=str(document.get("taken", "")),
                checksum=str(document.get("checksum", "")),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError("the head is not a JSON object with sequence and snapshot") from error
        _check_snapshot(head.snapshot)
        return head


def file_checksum(path: Path) -> str:
    """Return the xxh3-128 (32 hex digits) of a file's bytes."""
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _check_snapshot(snapshot: str) -> None:
    if len(snapshot) != 32 or not set(snapshot) <= set("0123456789abcdef"):
        raise ConfigError(f"{snapshot!r} is not a snapshot's id, which is 32 hexadecimal digits")


class Shelf:
    """The catalogs of the Dataset ``namespace/name`` under the agent's state folder ``root``.

    Raises:
        ConfigError: the Dataset's name cannot be a folder's.
        OSError: the folder cannot be made or written.
    """

    def __init__(self, root: Path, dataset: str) -> None:
        namespace, slash, name = dataset.partition("/")
        if not (slash and namespace and name) or "/" in name or ".." in dataset:
            raise ConfigError(f"{dataset!r} is not the name of a Dataset as namespace/name")
        self.dataset = dataset
        self.folder = root / "catalogs" / f"{namespace}_{name}"
        self.folder.mkdir(parents=True, exist_ok=True)
        for part in self.folder.glob("*.part"):
            part.unlink()
        self._head_fd = os.open(self.folder / "head", os.O_RDWR | os.O_CREAT, 0o644)
        if os.fstat(self._head_fd).st_size < DATASET_HEAD.size:
            os.pwrite(self._head_fd, DATASET_HEAD.pack(0, 0), 0)
        self.bump()  # a crash may have come after a publication and before its count

    @property
    def count(self) -> int:
        """Return the count in the head file."""
        number: int = DATASET_HEAD.unpack(os.pread(self._head_fd, DATASET_HEAD.size, 0))[0]
        return number

    def bump(self) -> None:
        """Let clients that map the head file look again."""
        os.pwrite(self._head_fd, DATASET_HEAD.pack(self.count + 1, 0), 0)

    def path(self, snapshot: str) -> Path:
        """Return where the catalog of a snapshot lies, or would."""
        _check_snapshot(snapshot)
        return self.folder / f"{snapshot}.sqlite"

    def current(self) -> Head | None:
        """Return which snapshot is followed.

        None when there is none yet, or when what is written there cannot be used: then a new
        snapshot is wanted, as after a first start.
        """
        try:
            head = Head.decode((self.folder / "current").read_bytes())
        except (FileNotFoundError, ConfigError):
            return None
        return head if self.path(head.snapshot).exists() else None

    def install(self, tmp_file: Path, head: Head) -> None:
        """Take over a catalog's file, which lies in this file system, and publish it.

        Raises:
            ConfigError: the file is not this Dataset's catalog of ``head.snapshot``, or does not
                have ``head.checksum``; or the head is not above the one that is followed. Nothing
                has changed then.
        """
        self._check_is_above(head)
        self._check(tmp_file, head)
        _sync(tmp_file)
        tmp_file.replace(self.path(head.snapshot))
        _sync(self.folder)
        self.publish(head)

    def publish(self, head: Head) -> None:
        """Follow a snapshot that lies here already, and let mapped clients see it.

        Raises:
            ConfigError: the head is not above the one that is followed, or the catalog is not
                here.
        """
        self._check_is_above(head)
        if not self.path(head.snapshot).exists():
            raise ConfigError(f"{self.dataset} has no catalog of snapshot {head.snapshot} here")
        part = self.folder / "current.part"
        part.write_text(head.encode())
        _sync(part)
        part.replace(self.folder / "current")
        _sync(self.folder)
        self.bump()

    def open(self, snapshot: str) -> Catalog:
        """Open a catalog.

        Raises:
            ConfigError: it is not here, or is damaged: another snapshot's or Dataset's, or, for
                the one that is followed, not of the checksum it was installed with.
        """
        head = self.current()
        known = head if head is not None and head.snapshot == snapshot else Head(0, snapshot)
        self._check(self.path(snapshot), known)
        return Catalog(self.path(snapshot))

    def drop_except(self, snapshots: Container[str]) -> list[str]:
        """Remove the catalogs of all snapshots but these; open ones stay readable."""
        dropped = []
        for path in self.folder.glob("*.sqlite"):
            if path.stem not in snapshots:
                path.unlink()
                dropped.append(path.stem)
        return sorted(dropped)

    def head_fd(self) -> int:
        """Return the descriptor of the head file, which stays this object's."""
        return self._head_fd

    def close(self) -> None:
        """Close the head file; the object is unusable afterwards."""
        with contextlib.suppress(OSError):
            os.close(self._head_fd)
        self._head_fd = -1

    def _check(self, path: Path, head: Head) -> None:
        with Catalog(path) as catalog:
            meta = catalog.meta
        if (meta.dataset, meta.snapshot) != (self.dataset, head.snapshot):
            raise ConfigError(
                f"the catalog {path} is of {meta.dataset} {meta.snapshot}, not of {self.dataset} "
                f"{head.snapshot}"
            )
        if head.checksum and file_checksum(path) != head.checksum:
            raise ConfigError(
                f"the catalog {path} is damaged: its checksum is not {head.checksum}; remove it, "
                "and the agent makes or fetches a new one"
            )

    def _check_is_above(self, head: Head) -> None:
        current = self.current()
        if current is not None and head.order <= current.order:
            raise ConfigError(
                f"the new head of {self.dataset} has sequence {head.sequence} and snapshot "
                f"{head.snapshot}; it must be above {current.sequence} and {current.snapshot}"
            )


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
