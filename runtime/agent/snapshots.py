"""Which snapshot this agent follows: taken once in the domain, moved to everyone else.

The owner of a Dataset's snapshot name lists the origin; a standby does while everyone ranked above
it is down. All ask the owner and the standbys for their heads, the owner too, and download the
greatest one's catalog: so a pinned snapshot outlives the agent that took it, an owner that was away
learns what its standby did, and a domain that was split agrees again. A new head's sequence is
above every one heard, and ``Head.order`` settles the rest.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote

import aiofiles

from runtime.agent import troubles
from runtime.agent.mounts import bound_version, source_mark
from runtime.catalog.build import build
from runtime.catalog.records import Entry
from runtime.catalog.shelf import Head, file_checksum
from runtime.contract import protocol
from runtime.contract.troubles import SECRET_MISSING
from runtime.contract.units import snapshot_name
from runtime.errors import (
    AccessDenied,
    CacheError,
    ConfigError,
    NotCached,
    NothingMatches,
    PeerError,
    PeerLied,
    PeerUnavailable,
)
from runtime.origin.base import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from runtime.agent.dataset import Dataset
    from runtime.agent.health import Health
    from runtime.agent.planview import PlanView
    from runtime.catalog.read import Catalog
    from runtime.contract.plan import DatasetPlan, Member, MountPlan
    from runtime.peers.pool import Peers

log = logging.getLogger(__name__)

T = TypeVar("T")

FOLLOW_SECONDS: Final = 3.0
"""How often a follower asks whether there is a newer snapshot."""
FIRST_SECONDS: Final = 0.1
"""How soon it asks again while it has none; doubled up to ``FOLLOW_SECONDS``."""
TAKE_OVER_SECONDS: Final = 10.0
"""How long everyone ranked above a standby must be down until it takes a snapshot itself."""
ASK_SECONDS: Final = 5.0
STALL_SECONDS: Final = 10.0


class Snapshots:
    """Keeps one Dataset's head current. ``changed`` is called after each new one."""

    def __init__(
        self,
        dataset: Dataset,
        *,
        peers: Peers,
        health: Health,
        view: Callable[[], PlanView],
        changed: Callable[[Dataset], None],
    ) -> None:
        self._dataset = dataset
        self._peers = peers
        self._health = health
        self._view = view
        self._changed = changed
        self._wake = asyncio.Event()
        self._told = dataset.head
        """The head that ``changed`` was last called for."""
        self._heard = 0
        """The greatest sequence that any member has told of."""
        self._hindered: dict[str, troubles.PassedOn] = {}
        """What keeps members from a snapshot that they should take, as they told of late."""
        self._alone_since: float | None = None
        self._listed_at: float | None = None

    def wake(self) -> None:
        """Look again now: the plan has changed."""
        self._wake.set()

    async def run(self) -> None:
        """Follow until cancelled. What fails is told in ``dataset.listing`` and tried again."""
        pause = FIRST_SECONDS
        while True:
            self._wake.clear()
            try:
                await self._reread_secrets()
                await self._step()
                self._tell()
                self._dataset.listing = None
            except Exception as error:  # noqa: BLE001 - a Dataset that nobody follows is lost
                self._note(error)
            settled = self._dataset.head is not None and self._dataset.listing is None
            pause = FOLLOW_SECONDS if settled else min(pause * 2, FOLLOW_SECONDS)
            jitter = random.uniform(0.8, 1.2)  # noqa: S311 - spreads askings, guards nothing
            try:
                await asyncio.wait_for(self._wake.wait(), pause * jitter)
            except TimeoutError:
                continue
            pause = FIRST_SECONDS

    async def _reread_secrets(self) -> None:
        """Have origins opened anew whose secret was edited. A lost one is told of by reads."""
        dataset = self._dataset
        try:
            unused = dataset.mounts.reread_secrets()
        except CacheError as error:
            dataset.fetching.failed(error)
            return
        dataset.fetching.mended(SECRET_MISSING)
        for origin in unused:
            await origin.close()

    def _tell(self) -> None:
        head = self._dataset.head
        if head is not None and head != self._told:
            self._changed(self._dataset)
            self._told = head

    def _note(self, error: Exception) -> None:
        """Put a failure into the report, and into the log when it is another than before."""
        dataset = self._dataset
        trouble = troubles.of_listing(error, dataset.shelf.folder)
        if trouble != dataset.listing:
            foreseen = isinstance(error, (CacheError, OSError, sqlite3.Error))
            log.warning(
                "dataset %s: %s", dataset.ref, trouble.message, exc_info=None if foreseen else error
            )
        dataset.listing = trouble

    async def _step(self) -> None:
        view = self._view()
        ranking = view.ranking(snapshot_name(self._dataset.ref))
        is_ranked = view.me in ranking
        above = ranking[: ranking.index(view.me)] if is_ranked else ranking
        told = await self._ask_all([uid for uid in ranking if uid != view.me])
        takes = is_ranked and self._stands_in_for(above)
        try:
            await self._adopt(told)
        except CacheError as error:
            if not takes or self._dataset.head is None:
                raise
            log.info("dataset %s: %s", self._dataset.ref, error)
        self._tell()  # also when the origin then fails
        if takes:
            if self._due():
                await self._take()
        elif self._dataset.head is None:
            self._wait_for(above, told)

    def _wait_for(self, above: Sequence[str], told: Mapping[str, Head | None]) -> None:
        """Say why the members that take the snapshots have none, where that is known."""
        if told.keys().isdisjoint(above):
            raise NotCached("the members that take its snapshots do not answer yet")
        for uid in above:
            if uid in self._hindered:
                raise self._hindered[uid]

    def _stands_in_for(self, above: Sequence[str]) -> bool:
        """Tell whether everyone ranked above has been down for long enough.

        Probes decide who is down: who is only slow to answer for its head goes on taking.
        """
        if not above:
            return True
        if not self._health.down().issuperset(above):
            self._alone_since = None
            return False
        now = time.monotonic()
        if self._alone_since is None:
            self._alone_since = now
        return now - self._alone_since >= TAKE_OVER_SECONDS

    def _due(self) -> bool:
        """Tell whether a new listing is wanted now."""
        plan, head = self._dataset.plan, self._dataset.head
        if head is None or head.request != plan.snapshot_request:
            return True
        if not plan.refresh_seconds:
            return False
        age = time.monotonic() - self._listed_at if self._listed_at is not None else None
        return age is None or age >= plan.refresh_seconds

    async def _ask_all(self, uids: Sequence[str]) -> dict[str, Head | None]:
        """Ask members for their heads, all at once; return what those said that answered."""
        view = self._view()
        down = self._health.down()
        self._hindered.clear()
        members = [view.members[uid] for uid in uids if uid in view.members and uid not in down]

        async def ask(member: Member) -> tuple[str, Head | None] | None:
            try:
                return member.uid, await self._ask(member)
            except (PeerError, AccessDenied) as error:
                self._health.failed(member.uid)
                log.info("dataset %s: %s: %s", self._dataset.ref, member.name, error)
                return None

        told = dict(filter(None, await asyncio.gather(*map(ask, members))))
        self._heard = max([self._heard, *(head.sequence for head in told.values() if head)])
        return told

    async def _adopt(self, told: dict[str, Head | None]) -> None:
        """Follow the greatest head whose catalog can be had, if it is above the present one.

        Raises:
            CacheError: there are greater ones, and the catalog of none can be had.
        """
        heads = [(head, uid) for uid, head in told.items() if head is not None]
        failure: CacheError | None = None
        for head, uid in sorted(heads, key=lambda item: item[0].order, reverse=True):
            mine = self._dataset.head
            if mine is not None and head.order <= mine.order:
                break
            try:
                await self._follow(head, uid)
            except CacheError as error:
                if isinstance(error, PeerUnavailable):
                    self._health.failed(uid)
                failure = failure or error
            else:
                return
        if failure is not None:
            raise failure

    async def _follow(self, head: Head, uid: str) -> None:
        mine = self._dataset.head
        if (
            mine is not None
            and head.checksum
            and (head.snapshot, head.checksum) == (mine.snapshot, mine.checksum)
        ):
            await _to_the_end(self._dataset.publish, head)
            return
        member = self._view().members.get(uid)
        if member is None:
            raise PeerUnavailable(f"{uid} has left the plan")
        await self._download(head, member)

    async def _ask(self, member: Member) -> Head | None:
        target = f"{protocol.HEAD}?dataset={quote(self._dataset.ref, safe='')}"
        status, _, body = await self._peers.get(member, target, timeout=ASK_SECONDS)
        if status == 404:
            trouble = troubles.of_answer(body)
            if trouble is not None:
                self._hindered[member.uid] = troubles.PassedOn(member.name, trouble)
            return None
        try:
            return Head.decode(body)
        except ConfigError as error:
            raise PeerLied(f"{member.name} answered {status} and no head") from error

    async def _download(self, head: Head, member: Member) -> None:
        target = (
            f"{protocol.CATALOG}?dataset={quote(self._dataset.ref, safe='')}"
            f"&snapshot={head.snapshot}"
        )
        path = self._dataset.scratch()
        try:
            async with aiofiles.open(path, "wb") as file:
                await self._peers.download(member, target, file.fileno(), stall=STALL_SECONDS)
            await _to_the_end(self._dataset.install, path, head)
        except ConfigError as error:
            raise PeerLied(f"the catalog from {member.name} is not usable: {error}") from error
        finally:
            path.unlink(missing_ok=True)
        log.info("dataset %s follows snapshot %s", self._dataset.ref, head.snapshot)

    async def _take(self) -> None:
        """List every mount and make the next snapshot, if anything changed."""
        dataset = self._dataset
        plan = dataset.plan
        entries: list[Entry] = []
        # All are opened before the first wait, since the plan may change during each.
        origins = [dataset.origin(index) for index in range(len(plan.mounts))]
        for index, (mount, origin) in enumerate(zip(plan.mounts, origins, strict=True)):
            mark = source_mark(mount)
            prefix = f"{mount.name}/" if mount.name else ""
            listed = await origin.list()
            entries += [
                Entry(
                    prefix + found.path,
                    found.size,
                    bound_version(found, mark),
                    index,
                    found.digest,
                )
                for found in listed
            ]
        if not entries:
            sources = ", ".join(_selection(mount) for mount in plan.mounts)
            raise NothingMatches(
                f"no object matches at {sources}; check source, include and exclude"
            )
        path = dataset.scratch()
        previous = self._previous()
        try:
            meta = await asyncio.to_thread(
                build,
                path,
                dataset=dataset.ref,
                entries=entries,
                chunk_size=plan.chunk_size,
                pack_below=plan.pack_below,
                previous=previous,
            )
            await _to_the_end(self._publish, path, meta.snapshot, plan)
        finally:
            path.unlink(missing_ok=True)
        self._listed_at = time.monotonic()

    def _publish(self, path: Path, snapshot: str, plan: DatasetPlan) -> None:
        """Follow a new listing, or note that it answers the request that it was made for."""
        dataset = self._dataset
        old = dataset.head
        head = Head(
            sequence=max(self._heard, old.sequence if old is not None else 0) + 1,
            snapshot=snapshot,
            request=plan.snapshot_request,
            taken=datetime.now(UTC).isoformat(timespec="seconds"),
            checksum=file_checksum(path),
        )
        if old is None or old.snapshot != snapshot:
            dataset.install(path, head)
            log.info("dataset %s: took snapshot %s", dataset.ref, snapshot)
        elif old.request != head.request:
            dataset.publish(replace(head, checksum=old.checksum))

    def _previous(self) -> Catalog | None:
        try:
            return self._dataset.catalog()
        except (NotCached, ConfigError):
            return None


def _selection(mount: MountPlan) -> str:
    """Return what a mount selects, as its Dataset says it."""
    patterns = {"include": mount.include, "exclude": mount.exclude}
    said = [f"{field} {', '.join(items)}" for field, items in patterns.items() if items]
    return f"{shown(mount.source)}" + (f" with {' and '.join(said)}" if said else "")


async def _to_the_end(work: Callable[..., T], *arguments: object) -> T:
    """Run what changes the shelf in a thread, and wait for its end even when cancelled.

    The shelf may be closed, and its folder be another's, as soon as the follower has ended.
    """
    running = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.gather(running, return_exceptions=True)
        raise
