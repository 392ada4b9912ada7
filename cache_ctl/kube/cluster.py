"""The cluster, as the passes see it: seven verbs and a watch.

Two implementations stand behind one conformance suite: the in-memory twin, and a client of a real
API server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from cache_ctl.api.kinds import Resource
from cache_ctl.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from cache_ctl.api.kinds import Kind


class ClusterError(ControlError):
    """The cluster did not do what was asked."""


class ObjectMissing(ClusterError):
    """There is no such object, or another one has taken its name."""


class ApplyConflict(ClusterError):
    """The object changed since it was read, or another manager owns a field."""


class ObjectRefused(ClusterError):
    """The cluster does not accept this object."""


class KindUnavailable(ClusterError):
    """Objects of this kind cannot be had."""


class KindAbsent(KindUnavailable):
    """The cluster does not serve this kind."""


class KindForbidden(KindUnavailable):
    """We have no right to read this kind."""


@dataclass(frozen=True, slots=True)
class Listed:
    """All objects there are: what was known before is to be replaced.

    It opens every watch, and comes again after a gap in it.
    """

    objects: tuple[Resource, ...]


@dataclass(frozen=True, slots=True)
class Changed:
    """One object was added, modified or deleted (then it is its last state)."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    object: Resource


WatchEvent = Listed | Changed


class Cluster(Protocol):
    """The verbs. Objects are plain JSON, copies that the caller may change.

    Raises:
        ClusterError: in one of its kinds, from every verb.
    """

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Resource | None:
        """Return an object, or None where there is none."""
        ...

    async def list(
        self, kind: Kind, *, namespace: str = "", labels: Mapping[str, str] | None = None
    ) -> list[Resource]:
        """Return the objects of a kind, of one namespace or of all, that carry these labels."""
        ...

    async def apply(self, body: Resource, *, manager: str, force: bool = True) -> Resource:
        """Apply on the server's side: the manager owns exactly the fields that it last applied.

        The status is not touched. ``metadata.uid`` and ``metadata.resourceVersion`` are
        preconditions where they are given: with a uid, nothing is ever created.

        Raises:
            ApplyConflict: a precondition fails, or without ``force`` another manager owns a field.
        """
        ...

    async def apply_status(self, body: Resource, *, manager: str, force: bool = True) -> Resource:
        """Apply the status alone; the object must exist.

        Raises:
            ObjectMissing: it does not.
        """
        ...

    async def delete(self, kind: Kind, name: str, namespace: str = "", *, uid: str = "") -> bool:
        """Delete an object (this very one, if ``uid`` is given); False where there is none.

        An object with finalizers stays, marked, until the last finalizer is taken off.
        """
        ...

    async def set_finalizer(self, body: Resource, finalizer: str, *, present: bool) -> None:
        """Put a finalizer on the object, or take it off; nothing happens to a vanished object."""
        ...

    def watch(self, kind: Kind, *, namespace: str = "") -> AsyncIterator[WatchEvent]:
        """Yield everything there is, then every change."""
        ...

    async def event(
        self, about: Resource, *, reason: str, message: str, warning: bool = False
    ) -> None:
        """Post an Event about an object."""
        ...
