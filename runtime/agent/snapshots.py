"""Which snapshot this agent follows: taken once in the domain, moved to everyone else.

The owner of a Dataset's snapshot name lists the origin; the others ask it for its head and
download the catalog. An owner that lost its disk, or is new, asks its standbys first, so that a
pinned snapshot outlives the agent that took it. A standby takes over when the owner stays away.
Heads are ordered by (sequence, snapshot): whoever sees a greater one adopts it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import aiofiles

from runtime.catalog.build import build
from runtime.catalog.records import Entry
from runtime.catalog.shelf import Head, file_checksum
from runtime.contract import protocol
from runtime.contract.units import snapshot_name
from runtime.errors import (
    AccessDenied,
    CacheError,
    ConfigError,
    NotCached,
    OriginError,
    PeerError,
    PeerLied,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runtime.agent.dataset import Dataset
    from runtime.agent.health import Health
    from runtime.agent.planview import PlanView
    from runtime.catalog.read import Catalog
    from runtime.contract.plan import Member
    from runtime.peers.pool import Peers

log = logging.getLogger(__name__)

FOLLOW_SECONDS: Final = 3.0
"""How often a follower asks whether there is a newer snapshot."""
FIRST_SECONDS: Final = 0.1
"""How soon it asks again while it has none; doubled up to ``FOLLOW_SECONDS``."""
TAKE_OVER_SECONDS: Final = 10.0
"""How long everyone ranked before a standby must stay away until it takes a snapshot itself."""
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
        self._alone_since: float | None = None
        self._listed_at: float | None = None

    def wake(self) -> None:
        """Look again now: the plan has changed."""
        self._wake.set()

    async def run(self) -> None:
        """Follow until cancelled."""
        pause = FIRST_SECONDS
        while True:
            self._wake.clear()
            before = self._dataset.head
            try:
                await self._step()
                self._dataset.error = ""
            except CacheError as error:
                if str(error) != self._dataset.error:
                    log.warning("dataset %s: %s", self._dataset.ref, error)
                self._dataset.error = str(error)
            head = self._dataset.head
            if head is not None and head != before:
                self._changed(self._dataset)
            settled = head is not None and not self._dataset.error
            pause = FOLLOW_SECONDS if settled else min(pause * 2, FOLLOW_SECONDS)
            jitter = random.uniform(0.8, 1.2)  # noqa: S311 - spreads askings, guards nothing
            try:
                await asyncio.wait_for(self._wake.wait(), pause * jitter)
            except TimeoutError:
                continue
            pause = FIRST_SECONDS

    async def _step(self) -> None:
        view = self._view()
        ranking = view.ranking(snapshot_name(self._dataset.ref))
        above = ranking[: ranking.index(view.me)] if view.me in ranking else ranking
        heard = await self._adopt_from([uid for uid in above if uid != view.me])
        if heard or not ranking:
            self._alone_since = None
            return
        if above:
            now = time.monotonic()
            self._alone_since = self._alone_since or now
            if view.me not in ranking or now - self._alone_since < TAKE_OVER_SECONDS:
                if self._dataset.head is None:
                    raise NotCached("the members that take its snapshots do not answer yet")
                return
        if self._due():
            if self._dataset.head is None:
                await self._adopt_from([uid for uid in ranking if uid != view.me])
            if self._due():
                await self._take()

    def _due(self) -> bool:
        """Tell whether a new listing is wanted now."""
        plan, head = self._dataset.plan, self._dataset.head
        if head is None or head.request != plan.snapshot_request:
            return True
        if not plan.refresh_seconds:
            return False
        age = time.monotonic() - self._listed_at if self._listed_at is not None else None
        return age is None or age >= plan.refresh_seconds

    async def _adopt_from(self, uids: list[str]) -> bool:
        """Ask members for their heads and adopt the greatest; tell whether anyone answered."""
        view = self._view()
        heard = False
        best: tuple[Head, Member] | None = None
        for uid in uids:
            member = view.members.get(uid)
            if member is None or uid in self._health.down():
                continue
            try:
                found = await self._ask(member)
            except (PeerError, AccessDenied) as error:
                self._health.failed(uid)
                log.info("dataset %s: %s: %s", self._dataset.ref, member.name, error)
                continue
            heard = True
            if found is not None and (best is None or _order(found) > _order(best[0])):
                best = (found, member)
        if best is not None and _order(best[0]) > _order(self._dataset.head):
            await self._download(*best)
        return heard

    async def _ask(self, member: Member) -> Head | None:
        target = f"{protocol.HEAD}?dataset={quote(self._dataset.ref, safe='')}"
        status, _, body = await self._peers.get(member, target, timeout=ASK_SECONDS)
        if status == 404:
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
            await asyncio.to_thread(self._dataset.install, path, head)
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
        for index, mount in enumerate(plan.mounts):
            prefix = f"{mount.name}/" if mount.name else ""
            listed = await dataset.origin(index).list()
            entries += [
                Entry(prefix + found.path, found.size, found.version, index, found.digest)
                for found in listed
            ]
        if not entries:
            sources = ", ".join(mount.source for mount in plan.mounts)
            raise OriginError(f"no object matches at {sources}; check source, include and exclude")
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
            await asyncio.to_thread(self._publish, path, meta.snapshot)
        finally:
            path.unlink(missing_ok=True)
        self._listed_at = time.monotonic()

    def _publish(self, path: Path, snapshot: str) -> None:
        dataset = self._dataset
        old = dataset.head
        head = Head(
            sequence=dataset.shelf.sequence + 1,
            snapshot=snapshot,
            request=dataset.plan.snapshot_request,
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


def _order(head: Head | None) -> tuple[int, str]:
    return (head.sequence, head.snapshot) if head is not None else (0, "")
