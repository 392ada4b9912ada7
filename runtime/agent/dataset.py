"""One Dataset on this agent: its snapshots on disk, its origins, and what readers hold."""

from __future__ import annotations

import secrets
import shutil
from collections import Counter
from typing import TYPE_CHECKING

from runtime.agent.mounts import Mounts
from runtime.agent.troubles import Trouble, Troubles
from runtime.errors import ConfigError, NotCached, RefusedByPolicy, StaleVersion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from runtime.catalog.read import Catalog, FileRecord
    from runtime.catalog.shelf import Head, Shelf
    from runtime.contract.plan import DatasetPlan, Mode, NetworkClass
    from runtime.origin.base import Origin


class Dataset:
    """A Dataset of the plan in force.

    ``secret`` returns the keys of a named secret; ``source_address`` is where connections to the
    origin start from.
    """

    def __init__(
        self,
        plan: DatasetPlan,
        shelf: Shelf,
        *,
        secret: Callable[[str], Mapping[str, str]],
        source_address: str | None,
    ) -> None:
        self.plan = plan
        self.ref = plan.ref
        self.shelf = shelf
        self.listing: Trouble | None = None
        """Why its snapshots cannot be taken or followed now."""
        self.fetching = Troubles()
        """Why bytes of it could not be fetched from its origin of late."""
        self.origin_bytes = 0
        self.peer_bytes = 0
        self.network_class: NetworkClass = "Basic"
        self.mode: Mode = "LocalOnly"
        self.mounts = Mounts(secret, source_address=source_address)
        self.head: Head | None = shelf.current()
        """The snapshot that this agent follows, if it has one."""
        self.published = shelf.count
        """The count in the head file when ``head`` was published. Read it before ``head``: both
        are set by a thread, and a client that is told too small a count only asks once more."""
        self._catalogs: dict[str, Catalog] = {}
        self._holds: Counter[str] = Counter()

    def follow(self, plan: DatasetPlan, network_class: NetworkClass, mode: Mode) -> list[Origin]:
        """Take over a new plan; return the origins that are no longer used, to be closed."""
        before, self.plan = self.plan, plan
        self.network_class = network_class
        self.mode = mode
        return self.mounts.follow(before.mounts, plan.mounts, network_class)

    def forget_origins(self) -> list[Origin]:
        """Drop the open origins and return them, to be closed."""
        return self.mounts.forget_origins()

    def forget_former_mounts(self) -> list[Origin]:
        """Forget mounts of before where no snapshot with them is read any more.

        Returns their origins, to be closed.
        """
        head = self.head
        if head is None or head.request != self.plan.snapshot_request:
            return []
        if self.live_snapshots() != {head.snapshot}:
            return []
        return self.mounts.forget_former(self.plan.mounts)

    @property
    def error(self) -> str:
        """Return why its snapshots cannot be taken or followed now, or an empty string."""
        return self.listing.message if self.listing is not None else ""

    def check_readable(self) -> None:
        """Refuse readers where the Dataset says so.

        Raises:
            RefusedByPolicy: this node is LocalOnly, and the Dataset is not to be read on those.
        """
        if self.mode == "LocalOnly" and self.plan.local_only == "Refuse":
            raise RefusedByPolicy(
                f"Dataset {self.ref} refuses reads on LocalOnly nodes (spec.localOnly.policy)"
            )

    @property
    def bypasses(self) -> bool:
        """Tell whether this node reads through and keeps nothing."""
        return self.mode == "LocalOnly" and self.plan.local_only != "Cache"

    def catalog(self, snapshot: str = "") -> Catalog:
        """Return an open catalog, the current one unless another is named.

        Raises:
            NotCached: this agent has no such snapshot.
        """
        head = self.head
        wanted = snapshot or (head.snapshot if head is not None else "")
        if not wanted:
            why = self.error or "its first snapshot is being taken"
            raise NotCached(f"Dataset {self.ref} cannot be read yet: {why}")
        found = self._catalogs.get(wanted)
        if found is None:
            try:
                found = self.shelf.open(wanted)
            except (OSError, ConfigError) as error:
                raise NotCached(f"Dataset {self.ref} has no snapshot {wanted} here") from error
            self._catalogs[wanted] = found
        return found

    def origin(self, mount: int) -> Origin:
        """Return the origin behind the plan's mount of this index, opened for this node's class.

        Raises:
            ConfigError: the source or an option cannot be used.
            SecretMissing: its secret cannot be read.
        """
        return self.mounts.origin(self.plan.mounts[mount], self.network_class)

    def sources_of(self, record: FileRecord) -> list[tuple[Origin, str]]:
        """Return where a snapshot's object may come from: origins, and the path below each.

        Raises:
            StaleVersion: the plan no longer has the mount.
            ConfigError: the origin cannot be opened.
            SecretMissing: its secret cannot be read.
        """
        found = [
            (self.mounts.origin(mount, self.network_class), path)
            for mount, path in self.mounts.of(record, self.plan.mounts)
        ]
        if not found:
            raise StaleVersion(
                f"the mount of {record.path} has left Dataset {self.ref}; open the file again once "
                "the new snapshot is taken"
            )
        return found

    def hold(self, snapshot: str) -> None:
        """Keep a snapshot and its objects while a reader uses it."""
        self._holds[snapshot] += 1

    def release(self, snapshot: str) -> None:
        """End one hold."""
        self._holds[snapshot] -= 1
        if self._holds[snapshot] <= 0:
            del self._holds[snapshot]

    def live_snapshots(self) -> set[str]:
        """Return the current snapshot and those that readers hold."""
        head = self.head
        return set(self._holds) | ({head.snapshot} if head is not None else set())

    def drop_old_catalogs(self) -> None:
        """Close and remove the catalogs of snapshots that are no longer live."""
        live = self.live_snapshots()
        for snapshot in [name for name in self._catalogs if name not in live]:
            self._catalogs.pop(snapshot).close()
        self.shelf.drop_except(live)

    def scratch(self) -> Path:
        """Return a free name beside the catalogs, for one that is on its way."""
        return self.shelf.folder / f"{secrets.token_hex(8)}.part"

    def install(self, path: Path, head: Head) -> None:
        """Follow the snapshot whose catalog lies at ``path``.

        Raises:
            ConfigError: the file is not that catalog, or the head is not above the present one.
        """
        self.shelf.install(path, head)
        # Another catalog of the same snapshot has other packs. Who still reads it may go on.
        self._catalogs.pop(head.snapshot, None)
        self._follow(head)

    def publish(self, head: Head) -> None:
        """Follow a snapshot whose catalog is here.

        Raises:
            ConfigError: it is not here, or the head is not above the present one.
        """
        self.shelf.publish(head)
        self._follow(head)

    def _follow(self, head: Head) -> None:
        self.head = head
        self.published = self.shelf.count

    def close(self) -> None:
        """Close the catalogs and the shelf."""
        for catalog in self._catalogs.values():
            catalog.close()
        self._catalogs.clear()
        self.shelf.close()

    def remove(self) -> None:
        """Close it and remove its catalogs from the disk; its clients look for another."""
        self.shelf.bump()
        self.close()
        shutil.rmtree(self.shelf.folder, ignore_errors=True)
