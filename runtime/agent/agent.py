"""The agent: everything that one node's cache is made of, put together and kept to the plan."""

from __future__ import annotations

import asyncio
import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiofiles

from runtime.agent.content import Content
from runtime.agent.counters import Counters
from runtime.agent.dataset import Dataset
from runtime.agent.fetch import Fetcher
from runtime.agent.health import Health
from runtime.agent.holdings import Holdings
from runtime.agent.line import Line, share_of
from runtime.agent.neighbours import Neighbours
from runtime.agent.planview import PlanView
from runtime.agent.prewarm import Prewarm
from runtime.agent.recovery import AT_ONCE, recover
from runtime.agent.scrub import scrub
from runtime.agent.snapshots import Snapshots
from runtime.agent.sources import PROBE_SECONDS, OriginSource, PeerSource
from runtime.agent.unitservice import UnitService
from runtime.catalog.shelf import Shelf
from runtime.contract.plan import Plan, TierPlan
from runtime.contract.units import Unit
from runtime.errors import ConfigError, NoSuchPath, NotCached, PeerUnavailable, SecretMissing
from runtime.origin.base import load_driver
from runtime.peers.dial import Dialler
from runtime.peers.pool import Peers
from runtime.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from typing import Self

    from runtime.contract.token import Keys
    from runtime.settings import AgentSettings

log = logging.getLogger(__name__)

REOPEN_SECONDS: Final = 2.0
"""Between two tries of a tier that cannot be opened."""
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Agent:
    """One node's cache. Made by ``start`` from a first plan; ``follow`` takes each next one."""

    def __init__(self, settings: AgentSettings, keys: Keys, plan: Plan, store: Store) -> None:
        self.settings = settings
        self.keys = keys
        self.store = store
        self.counters = Counters()
        self.view = PlanView(plan, settings.uid)
        self.datasets: dict[str, Dataset] = {}
        self.accepted: dict[str, int] = {}
        self.dialled: dict[str, int] = {}
        self.health = Health(self._probe)
        self._dialler = Dialler(
            me=settings.uid,
            source_address=settings.address,
            keys=keys,
            runtime=plan.runtime,
            on_dial=self._note_dial,
        )
        self.peers = Peers(self._dialler)
        self.line = Line()
        self.neighbours = Neighbours(self.peers, self.health, self.counters, lambda: self.view)
        self.holdings = Holdings(store)
        self.fetcher = Fetcher(
            store,
            peers=PeerSource(self.peers, self.health, self.counters, lambda: self.view),
            origin=OriginSource(self.line, self.counters),
            health=self.health,
            counters=self.counters,
            view=lambda: self.view,
            serves=lambda dataset: self.datasets.get(dataset.ref) is dataset,
            holders=self.neighbours.holders,
        )
        self.units = UnitService(self.fetcher, self.counters, lambda: self.view)
        self._followers: dict[str, Snapshots] = {}
        self._prewarms: dict[str, tuple[object, Prewarm]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._heavy = asyncio.Lock()
        self._recovered = asyncio.Event()
        self._jobs = 0
        self._tier_problem = ""
        self.port_problem = ""
        """Why the port that the plan asks for is not open, told by who serves; or empty."""

    @classmethod
    async def start(cls, settings: AgentSettings, keys: Keys, plan: Plan) -> Self:
        """Open the store and follow the first plan.

        Raises:
            ConfigError: a tier cannot be used.
        """
        async with aiofiles.open(BOOT_ID) as file:
            boot_id = (await file.read()).strip()
        agent: list[Self] = []

        def owned(dataset: str, key: str, unit: int) -> bool:
            return not agent or agent[0].owns(dataset, str(Unit(key, unit)))

        store = await asyncio.to_thread(
            Store.open, _tiers(settings, plan), boot_id=boot_id, owned=owned, at_once=AT_ONCE
        )
        agent.append(cls(settings, keys, plan, store))
        me = agent[0]
        me.spawn("holdings", me.holdings.run())
        me.spawn("neighbours", me.neighbours.run())
        me.spawn("scrub", scrub(store))
        me.spawn("tiers", me.reopen_tiers())
        me.recover_tiers()
        await me.follow(plan)
        return me

    def owns(self, ref: str, unit: str) -> bool:
        """Tell whether this agent keeps one of the copies of a unit that its domain is to have."""
        dataset = self.datasets.get(ref)
        return self.view.owns(unit, dataset.plan.copies if dataset is not None else 1)

    @property
    def ready(self) -> bool:
        """Tell whether readers would be served: each Dataset has a snapshot, or says why not."""
        return all(dataset.head is not None or dataset.error for dataset in self.datasets.values())

    def dataset(self, ref: str) -> Dataset:
        """Return a Dataset of the plan.

        Raises:
            NoSuchPath: the plan has no such Dataset.
        """
        found = self.datasets.get(ref)
        if found is None:
            raise NoSuchPath(f"this node serves no Dataset {ref}")
        return found

    def look_for(self, ref: str, sequence: int) -> bool:
        """Look for a snapshot that a peer follows; tell whether it is newer than this agent's."""
        dataset = self.datasets.get(ref)
        known = dataset.head.sequence if dataset is not None and dataset.head is not None else 0
        if dataset is None or sequence <= known:
            return False
        self._followers[ref].wake()
        return True

    def content(self, ref: str, snapshot: str, *, key: str = "", path: str = "") -> Content:
        """Return the blob that a question names: by path, or by key for packs.

        With a key, a snapshot that is not here is no hindrance: an object that did not change
        has the same blob in the current one.

        Raises:
            NotCached: the snapshot is not here.
            NoSuchPath: the snapshot has no such path, no such pack, or another version.
        """
        dataset = self.dataset(ref)
        try:
            catalog = dataset.catalog(snapshot)
        except NotCached:
            if not key:
                raise
            catalog = dataset.catalog()
        if not path:
            return Content.of_pack(dataset, catalog, key)
        content = Content.of_path(dataset, catalog, path)
        if key and content.layout.key != key:
            raise NoSuchPath(f"{ref} has another version of {path!r} here")
        return content

    async def follow(self, plan: Plan) -> None:
        """Take a plan in force. What it no longer allows is ended before anything new begins."""
        old = self.view
        self.view = old.followed_by(plan)
        self._dialler.follow(plan)
        self.peers.follow(plan)
        self.health.keep_only(set(self.view.members))
        self.line.set_rate(share_of(self.view))
        if plan.tiers != old.plan.tiers:
            await self._retier()
        self._in_thread(self._reassess)
        await self._follow_datasets(plan)
        for snapshots in self._followers.values():
            snapshots.wake()
        self._follow_prewarms()
        log.info(
            "follows generation %d: %s in %s, %d members, %d datasets",
            plan.generation,
            plan.mode,
            plan.domain or "no domain",
            len(plan.members),
            len(plan.datasets),
        )

    async def _follow_datasets(self, plan: Plan) -> None:
        wanted = {dataset.ref: dataset for dataset in plan.datasets}
        for ref in [ref for ref in self.datasets if ref not in wanted]:
            await self._remove(ref)
        for ref in [ref for ref in self.store.datasets() if ref not in wanted]:
            await asyncio.to_thread(self.store.drop_dataset, ref)
        for ref, spec in wanted.items():
            dataset = self.datasets.get(ref)
            if dataset is None:
                shelf = Shelf(Path(self.settings.state_dir), ref)
                dataset = self.datasets[ref] = Dataset(
                    spec,
                    shelf,
                    secret=self._secret,
                    source_address=self.settings.address or None,
                )
                self._followers[ref] = Snapshots(
                    dataset,
                    peers=self.peers,
                    health=self.health,
                    view=lambda: self.view,
                    changed=self._new_snapshot,
                )
                self.spawn(f"snapshots {ref}", self._followers[ref].run())
            for mount in spec.mounts:
                self._in_thread(load_driver, mount.source)
            for origin in dataset.follow(spec, plan.network_class, plan.mode):
                await origin.close()
            await self._forget_former_mounts(dataset)

    async def _remove(self, ref: str) -> None:
        await self._end(f"snapshots {ref}")
        del self._followers[ref]
        dataset = self.datasets.pop(ref)
        for origin in dataset.forget_origins():
            await origin.close()
        dataset.remove()
        freed = await asyncio.to_thread(self.store.drop_dataset, ref)
        log.info("dataset %s has left the plan: %d bytes freed", ref, freed)

    async def _forget_former_mounts(self, dataset: Dataset) -> None:
        for origin in dataset.forget_former_mounts():
            await origin.close()

    async def _retier(self) -> None:
        """Follow the plan's tiers; those of before stay where they cannot be followed."""
        try:
            await asyncio.to_thread(self.store.retier, _tiers(self.settings, self.view.plan))
        except ConfigError as error:
            self._tier_problem = str(error)
            log.warning("the tiers stay as they were: %s", error)
        else:
            self._tier_problem = ""
        self.recover_tiers()

    async def reopen_tiers(self) -> None:
        """Try tiers again that could not be opened or followed, until cancelled."""
        while True:
            await asyncio.sleep(REOPEN_SECONDS)
            if self._tier_problem:
                await self._retier()
            if self.store.closed_tiers:
                await asyncio.to_thread(self.store.reopen)
                self.recover_tiers()

    def recover_tiers(self) -> None:
        """Go on finding what tiers held before, if that is not done; then ask who owns it."""

        async def run() -> None:
            await recover(self.store)
            self._recovered.set()
            self._in_thread(self._reassess)

        if not self.store.recovering:
            self._recovered.set()
        elif "recovery" not in self._tasks:
            self._recovered.clear()
            self.spawn("recovery", run())

    @property
    def problem(self) -> str:
        """Return what part of its plan this agent cannot follow, or an empty string."""
        return "; ".join(filter(None, (self.port_problem, self._tier_problem)))

    def _new_snapshot(self, dataset: Dataset) -> None:
        self.forget_old(dataset)
        self._follow_prewarms()

    def forget_old(self, dataset: Dataset) -> None:
        """Free what only snapshots hold that nobody reads any more."""

        def forget() -> None:
            keys: set[str] = set()
            for snapshot in dataset.live_snapshots():
                keys |= dataset.catalog(snapshot).blob_keys()
            self.store.retain(dataset.ref, keys)

        dataset.drop_old_catalogs()
        self._in_thread(forget)
        self._jobs += 1
        self.spawn(f"mounts {self._jobs}", self._forget_former_mounts(dataset))

    def _in_thread(self, work: Callable[..., object], *arguments: object) -> None:
        """Run what is heavy off the event loop, in the order asked."""

        async def run() -> None:
            async with self._heavy:
                await asyncio.to_thread(work, *arguments)

        self._jobs += 1
        self.spawn(f"job {self._jobs}", run())

    def _follow_prewarms(self) -> None:
        """Start each prewarm's share, anew when the snapshot or the ownership has changed."""
        wanted = {spec.uid: spec for spec in self.view.plan.prewarms}
        for uid in [uid for uid in self._prewarms if uid not in wanted]:
            self._cancel(f"prewarm {uid}")
            del self._prewarms[uid]
        for uid, spec in wanted.items():
            dataset = self.datasets.get(spec.dataset)
            head = dataset.head if dataset is not None else None
            weights = tuple((member.uid, member.weight) for member in self.view.plan.members)
            mark = (spec, head.snapshot if head is not None else "", weights)
            known = self._prewarms.get(uid)
            if known is not None and known[0] == mark:
                continue
            prewarm = Prewarm(
                spec,
                dataset=functools.partial(self.datasets.get, spec.dataset),
                fetcher=self.fetcher,
                view=lambda: self.view,
                ready=self._recovered.wait,
            )
            self._prewarms[uid] = (mark, prewarm)
            self._cancel(f"prewarm {uid}")
            self.spawn(f"prewarm {uid}", prewarm.run())

    @property
    def prewarms(self) -> list[Prewarm]:
        """Return this agent's shares of the plan's prewarms."""
        return [prewarm for _, prewarm in self._prewarms.values()]

    def _reassess(self) -> None:
        """Ask anew, unit by unit, which of the copies here are this agent's to keep."""
        for _ in range(0, self.store.start_reassessment(), 500):
            self.store.reassess(500)

    def rekey(self, keys: Keys) -> None:
        """Use other keys from now on: the node has changed its domain, or they were replaced."""
        if keys != self.keys:
            self.keys = keys
            self._dialler.rekey(keys)

    def _secret(self, name: str) -> Mapping[str, str]:
        folder = Path(self.settings.secrets_dir) / name
        if not self.settings.secrets_dir or not folder.is_dir():
            raise SecretMissing(
                f"secret {name!r} has not reached this node; create it, with its keys"
            )
        return {file.name: file.read_text().strip() for file in folder.iterdir() if file.is_file()}

    async def _probe(self, uid: str) -> None:
        member = self.view.members.get(uid)
        if member is None:
            raise PeerUnavailable(f"{uid} is no member of the plan")
        await self.peers.probe(member, seconds=PROBE_SECONDS)

    def _note_dial(self, address: str, allowed: bool) -> None:  # noqa: FBT001 - a callback
        if allowed:
            self.dialled[address] = self.dialled.get(address, 0) + 1
        else:
            self.counters.refused_dials += 1

    def note_accept(self, address: str) -> None:
        """Count a connection from another node."""
        self.accepted[address] = self.accepted.get(address, 0) + 1

    def spawn(self, name: str, work: Coroutine[None, None, None]) -> None:
        """Run work of this agent's as a task that ends with it; a failure is logged."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks[name] = task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._tasks.get(task.get_name()) is task:
            del self._tasks[task.get_name()]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s ended: %s", task.get_name(), error, exc_info=error)

    def _cancel(self, name: str) -> None:
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()

    async def _end(self, name: str) -> None:
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def close(self) -> None:
        """End everything and leave the store in order."""
        for name in list(self._tasks):
            await self._end(name)
        await self.fetcher.close()
        await self.health.close()
        await self.peers.close()
        for dataset in self.datasets.values():
            for origin in dataset.forget_origins():
                await origin.close()
            dataset.close()
        await asyncio.to_thread(self.store.close)


def _tiers(settings: AgentSettings, plan: Plan) -> tuple[TierPlan, ...]:
    """Return the plan's tiers with this node's sub-folder."""
    return tuple(
        TierPlan(
            tier.medium,
            str(Path(tier.path) / settings.tier_subfolder),
            tier.quota,
            tier.high,
            tier.low,
        )
        for tier in plan.tiers
    )
