"""The cluster in memory: what an API server does that our passes rely on, and nothing else.

It keeps resource versions, generations, managed fields, finalizers, owner references and the
status apart. It checks no schema: files are checked by ``api.load``.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import re
import uuid
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from cache_ctl.api import kinds
from cache_ctl.api.conditions import timestamp
from cache_ctl.api.kinds import Kind, Resource, kind_of, name_of, namespace_of, title_of, uid_of
from cache_ctl.api.meta import DNS_LABEL, DNS_NAME
from cache_ctl.kube import fieldsets
from cache_ctl.kube.cluster import (
    ApplyConflict,
    Changed,
    KindAbsent,
    KindForbidden,
    Listed,
    ObjectMissing,
    ObjectRefused,
    WatchEvent,
)
from cache_ctl.kube.fieldsets import Path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping
    from typing import Literal


_KEPT_EVENTS: Final = 500
_LONGEST_EVENT_NAME: Final = 253 - 17
_DATA_KEY: Final = r"(?!\.\.)[-._a-zA-Z0-9]{1,253}"
"""What may be a file's name wherever a Secret is mounted."""
_OWNED_METADATA: Final = ("labels", "annotations", "ownerReferences", "finalizers")


@dataclass(slots=True)
class _Entry:
    body: Resource
    owners: dict[str, set[Path]] = field(default_factory=dict)
    """The fields that each manager last applied."""


def _random_uid(kind: Kind, namespace: str, name: str) -> str:
    del kind, namespace, name
    return str(uuid.uuid4())


def _utc_now() -> datetime:
    return datetime.now(UTC)


class MemoryCluster:
    """An in-memory ``Cluster``.

    Args:
        uid_for: gives new objects their uid.
        now: the wall clock of timestamps.
        absent: kinds that are not served, as without their CRD.
        forbidden: kinds that may not be read.
    """

    def __init__(
        self,
        *,
        uid_for: Callable[[Kind, str, str], str] = _random_uid,
        now: Callable[[], datetime] = _utc_now,
        absent: Collection[Kind] = (),
        forbidden: Collection[Kind] = (),
    ) -> None:
        self._uid_for = uid_for
        self._now = now
        self._absent = frozenset(absent)
        self._forbidden = frozenset(forbidden)
        self._entries: dict[Kind, dict[tuple[str, str], _Entry]] = {
            kind: {} for kind in kinds.KINDS
        }
        self._watchers: dict[Kind, set[tuple[str, asyncio.Queue[WatchEvent]]]] = {
            kind: set() for kind in kinds.KINDS
        }
        self._uids: set[str] = set()
        self._events: deque[str] = deque()
        self._version = 0
        self.writes = 0
        """Changes made since the start; a request that changes nothing is none."""

    # --- reading

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Resource | None:
        """See ``Cluster``."""
        entry = self._of(kind).get((namespace, name))
        return copy.deepcopy(entry.body) if entry else None

    async def list(
        self, kind: Kind, *, namespace: str = "", labels: Mapping[str, str] | None = None
    ) -> list[Resource]:
        """See ``Cluster``."""
        wanted = (labels or {}).items()
        return [
            copy.deepcopy(entry.body)
            for (space, _), entry in sorted(self._of(kind).items())
            if namespace in ("", space) and wanted <= kinds.labels_of(entry.body).items()
        ]

    async def watch(self, kind: Kind, *, namespace: str = "") -> AsyncIterator[WatchEvent]:
        """See ``Cluster``."""
        queue: asyncio.Queue[WatchEvent] = asyncio.Queue()
        queue.put_nowait(Listed(tuple(await self.list(kind, namespace=namespace))))
        watcher = (namespace, queue)
        self._watchers[kind].add(watcher)
        try:
            while True:
                yield await queue.get()
        finally:
            self._watchers[kind].discard(watcher)

    def _of(self, kind: Kind) -> dict[tuple[str, str], _Entry]:
        if kind in self._absent:
            raise KindAbsent(f"the cluster does not serve {kind.plural} of {kind.api_version}")
        if kind in self._forbidden:
            raise KindForbidden(f"the cluster forbids us to read {kind.plural}")
        return self._entries[kind]

    # --- writing

    async def apply(self, body: Resource, *, manager: str, force: bool = True) -> Resource:
        """See ``Cluster``."""
        kind, key = self._identify(body)
        entry = self._of(kind).get(key)
        self._check_preconditions(body, entry)
        fresh = entry is None
        if entry is None:
            entry = _Entry(self._new_body(kind, key))
        before = copy.deepcopy(entry.body)
        changed = self._merge(entry, _applied(kind, body), manager, force=force)
        if fresh:
            self._entries[kind][key] = entry
            self._uids.add(uid_of(entry.body))
        if entry.body.get("spec") != before.get("spec") and not fresh:
            entry.body["metadata"]["generation"] += 1
        if fresh or changed:
            self._publish(kind, entry.body, "ADDED" if fresh else "MODIFIED")
        result = copy.deepcopy(entry.body)
        self._collect_if_orphan(kind, entry.body)
        self._finish_delete(kind, key)
        return result

    async def apply_status(self, body: Resource, *, manager: str, force: bool = True) -> Resource:
        """See ``Cluster``."""
        kind, key = self._identify(body)
        entry = self._of(kind).get(key)
        if entry is None:
            raise ObjectMissing(f"{title_of(body)} is gone, so that its status cannot be written")
        self._check_preconditions(body, entry)
        if self._merge(entry, {"status": body.get("status", {})}, f"{manager}/status", force=force):
            self._publish(kind, entry.body, "MODIFIED")
        return copy.deepcopy(entry.body)

    async def delete(self, kind: Kind, name: str, namespace: str = "", *, uid: str = "") -> bool:
        """See ``Cluster``."""
        entry = self._of(kind).get((namespace, name))
        if entry is None or (uid and uid != uid_of(entry.body)):
            return False
        metadata = entry.body["metadata"]
        if "deletionTimestamp" not in metadata:
            metadata["deletionTimestamp"] = timestamp(self._now())
            if metadata.get("finalizers"):
                self._publish(kind, entry.body, "MODIFIED")
        self._finish_delete(kind, (namespace, name))
        return True

    async def set_finalizer(self, body: Resource, finalizer: str, *, present: bool) -> None:
        """See ``Cluster``."""
        kind, key = self._identify(body)
        entry = self._of(kind).get(key)
        if entry is None or uid_of(entry.body) != uid_of(body):
            return
        metadata = entry.body["metadata"]
        finalizers = metadata.get("finalizers", [])
        if (finalizer in finalizers) == present:
            return
        if present and "deletionTimestamp" in metadata:
            raise ObjectRefused(f"{title_of(body)} is being deleted and takes no new finalizer")
        metadata["finalizers"] = [item for item in finalizers if item != finalizer]
        if present:
            metadata["finalizers"].append(finalizer)
        self._publish(kind, entry.body, "MODIFIED")
        self._finish_delete(kind, key)

    async def event(
        self, about: Resource, *, reason: str, message: str, warning: bool = False
    ) -> None:
        """See ``Cluster``. The oldest Events go first when there are many."""
        name = f"{name_of(about)[:_LONGEST_EVENT_NAME]}.{self._version:016x}"
        namespace = namespace_of(about) or "default"
        body: Resource = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "type": "Warning" if warning else "Normal",
            "reason": reason,
            "message": message,
            "involvedObject": {
                "apiVersion": about.get("apiVersion", ""),
                "kind": about.get("kind", ""),
                "name": name_of(about),
                "namespace": namespace_of(about),
                "uid": uid_of(about),
            },
            "lastTimestamp": timestamp(self._now()),
        }
        await self.apply(body, manager="cachectl-events")
        self._events.append(f"{namespace}/{name}")
        if len(self._events) > _KEPT_EVENTS:
            space, _, oldest = self._events.popleft().partition("/")
            await self.delete(kinds.EVENT, oldest, space)

    # --- inside

    def _identify(self, body: Resource) -> tuple[Kind, tuple[str, str]]:
        kind = kind_of(body)
        if kind is None:
            raise ObjectRefused(f"{title_of(body)} is of a kind that this cluster does not serve")
        if not name_of(body) or bool(namespace_of(body)) != kind.namespaced:
            needs = "a name and a namespace" if kind.namespaced else "a name and no namespace"
            raise ObjectRefused(f"{title_of(body)} needs {needs}")
        for part, text, pattern, usable in (
            ("name", name_of(body), DNS_NAME, "letters, digits, hyphens and dots"),
            ("namespace", namespace_of(body) or "none", DNS_LABEL, "letters, digits and hyphens"),
        ):
            if not re.fullmatch(pattern, text):
                raise ObjectRefused(
                    f"metadata.{part} of {title_of(body)} is refused; use lower-case {usable}"
                )
        return kind, (namespace_of(body), name_of(body))

    def _check_preconditions(self, body: Resource, entry: _Entry | None) -> None:
        metadata = body["metadata"]
        for name in ("uid", "resourceVersion"):
            wanted = metadata.get(name)
            found = entry.body["metadata"][name] if entry else "gone"
            if wanted and wanted != found:
                raise ApplyConflict(
                    f"{title_of(body)} has changed: its {name} was {wanted} and is {found}"
                )

    def _new_body(self, kind: Kind, key: tuple[str, str]) -> Resource:
        namespace, name = key
        metadata: dict[str, Any] = {
            "name": name,
            "uid": self._uid_for(kind, namespace, name),
            "creationTimestamp": timestamp(self._now()),
            "generation": 1,
        }
        if namespace:
            metadata["namespace"] = namespace
        return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata}

    def _merge(self, entry: _Entry, applied: Resource, manager: str, *, force: bool) -> bool:
        """Merge what a manager applies into an entry; tell whether anything is different."""
        before = copy.deepcopy(entry.body)
        wanted = dict(fieldsets.leaves(applied)) if applied else {}
        mine = entry.owners.get(manager, set())
        for other in entry.owners.keys() - {manager}:
            paths = entry.owners[other]
            lost = {
                path
                for path in paths
                for new, value in _touching(path, wanted)
                if not fieldsets.is_there(entry.body, new, value)
            }
            if lost and not force:
                names = ", ".join(sorted(map(_said, lost)))
                raise ApplyConflict(f"{title_of(entry.body)}: {other} owns {names}")
            entry.owners[other] = paths - lost
        shared = set[Any]().union(*(p for m, p in entry.owners.items() if m != manager))
        for path in sorted(mine - wanted.keys(), key=len, reverse=True):
            if not any(fieldsets.within(other, path) for other in (*shared, *wanted)):
                fieldsets.remove(entry.body, path)
        for path, value in wanted.items():
            if not fieldsets.is_there(entry.body, path, value):
                fieldsets.write(entry.body, path, value)
        entry.owners[manager] = set(wanted)
        return entry.body != before or mine != set(wanted)

    def _publish(
        self, kind: Kind, body: Resource, change: Literal["ADDED", "MODIFIED", "DELETED"]
    ) -> None:
        self._version += 1
        self.writes += 1
        body["metadata"]["resourceVersion"] = str(self._version)
        for namespace, queue in self._watchers[kind]:
            if namespace in ("", namespace_of(body)):
                queue.put_nowait(Changed(change, copy.deepcopy(body)))

    def _finish_delete(self, kind: Kind, key: tuple[str, str]) -> None:
        entry = self._entries[kind].get(key)
        if entry is None or "deletionTimestamp" not in entry.body["metadata"]:
            return
        if entry.body["metadata"].get("finalizers"):
            return
        del self._entries[kind][key]
        self._publish(kind, entry.body, "DELETED")
        gone = uid_of(entry.body)
        self._uids.discard(gone)
        for child_kind, children in self._entries.items():
            for child in list(children.values()):
                if gone in _owner_uids(child.body):
                    self._collect_if_orphan(child_kind, child.body)

    def _collect_if_orphan(self, kind: Kind, body: Resource) -> None:
        """Delete an object whose owners are all gone, as the garbage collector would."""
        owners = _owner_uids(body)
        if not owners or owners & self._uids:
            return
        body["metadata"].setdefault("deletionTimestamp", timestamp(self._now()))
        self._finish_delete(kind, (namespace_of(body), name_of(body)))


def _applied(kind: Kind, body: Resource) -> Resource:
    """Return the part of a body that an apply may set."""
    metadata = {
        key: value for key, value in body["metadata"].items() if key in _OWNED_METADATA and value
    }
    rest = {
        key: value
        for key, value in body.items()
        if key not in ("apiVersion", "kind", "metadata", "status")
    }
    if kind is kinds.SECRET and "stringData" in rest:
        plain = rest.pop("stringData") or {}
        encoded = {key: base64.b64encode(str(v).encode()).decode() for key, v in plain.items()}
        rest["data"] = {**(rest.get("data") or {}), **encoded}
    if kind is kinds.SECRET:
        _check_secret(body, rest.get("data") or {})
    return {**rest, "metadata": metadata} if metadata else rest


def _check_secret(body: Resource, data: Mapping[str, Any]) -> None:
    for key, value in data.items():
        if not re.fullmatch(_DATA_KEY, str(key)) or key == "." or not isinstance(value, str):
            raise ObjectRefused(
                f"{title_of(body)} is refused, as it has the key {key!r}; use letters, digits, "
                "hyphens, underscores and dots for a key, and text in base64 for what is below data"
            )


def _touching(path: Path, wanted: dict[Path, Any]) -> list[tuple[Path, Any]]:
    if path in wanted:
        return [(path, wanted[path])]
    return [
        (new, value)
        for new, value in wanted.items()
        if fieldsets.within(new, path) or fieldsets.within(path, new)
    ]


def _owner_uids(body: Resource) -> set[str]:
    return {owner["uid"] for owner in body["metadata"].get("ownerReferences", ())}


def _said(path: Path) -> str:
    return ".".join(f"[{step[1]}]" if isinstance(step, tuple) else str(step) for step in path)
