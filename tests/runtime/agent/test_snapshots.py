"""Which snapshot is followed: heads that meet, owners that return, errors that pass."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import mmap
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.agent import snapshots as snapshots_module
from runtime.agent.dataset import Dataset
from runtime.agent.health import Health
from runtime.agent.planview import PlanView
from runtime.agent.snapshots import Snapshots
from runtime.catalog.build import Entry, build
from runtime.catalog.read import Catalog
from runtime.catalog.shelf import Head, Shelf, file_checksum
from runtime.contract import protocol
from runtime.contract.plan import DatasetPlan, MountPlan
from runtime.contract.units import snapshot_name
from runtime.errors import StaleVersion
from runtime.serve.message import Answer, FileSpan
from tests.support.peering import ME, Asker, honest, member, plan
from tests.support.wire import serving

REF = "team/images"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(snapshots_module, "FOLLOW_SECONDS", 0.05)
    monkeypatch.setattr(snapshots_module, "TAKE_OVER_SECONDS", 0.0)


def uid_ranked(*, above: bool) -> str:
    """Return a uid that ranks above or below this agent's own for the Dataset's snapshots."""
    for number in itertools.count():
        uid = f"uid-{number}"
        first = PlanView(plan(member(1, uid)), ME.uid).ranking(snapshot_name(REF))[0]
        if (first == uid) is above:
            return uid
    raise AssertionError


class Other:
    """The other member of the domain: what it says of its head, and the catalogs it has."""

    def __init__(self, folder: Path, *, above: bool) -> None:
        self.uid = uid_ranked(above=above)
        self.folder = folder
        self.head: Head | None = None
        self.busy = False
        self.catalogs: dict[str, Path] = {}
        self.downloads = 0
        self.asked = asyncio.Semaphore(0)

    def answer(self, request) -> Answer:
        if request.path == protocol.HEAD:
            self.asked.release()
            if self.busy:
                return Answer(503)
            return Answer(200, (), (self.head.encode().encode(),)) if self.head else Answer(404)
        self.downloads += 1
        fd = os.open(self.catalogs[request.query["snapshot"]], os.O_RDONLY)
        return Answer(200, (), (FileSpan(fd, 0, os.fstat(fd).st_size, lambda: os.close(fd)),))

    def follow(self, sequence: int, version: str, request: str = "") -> Head:
        path = self.folder / f"{version}.sqlite"
        snapshot = made(path, version)
        self.catalogs[snapshot] = path
        self.head = Head(sequence, snapshot, request, "then", file_checksum(path))
        return self.head


def made(path: Path, version: str) -> str:
    entries = [Entry("train/a", 5, version)]
    return build(path, dataset=REF, entries=entries, chunk_size=4096, pack_below=1024).snapshot


class Agent:
    """This agent: a Dataset over real files, and its follower."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "source"
        self.source.mkdir()
        (self.source / "a").write_bytes(b"first")
        mount = MountPlan("train", f"file://{self.source}")
        spec = DatasetPlan("team", "images", "ds-1", (mount,), pack_below=1024, chunk_size=4096)
        self.shelf = Shelf(folder / "state", REF)
        self.dataset = Dataset(spec, self.shelf, secret=lambda _: {}, source_address=None)
        self.changes: asyncio.Queue[Head] = asyncio.Queue()
        self.failing: Exception | None = None

    def changed(self, dataset: Dataset) -> None:
        if self.failing is not None:
            raise self.failing
        self.changes.put_nowait(dataset.head)

    def install(self, head: Head, path: Path) -> None:
        self.dataset.install(Path(shutil.copy(path, self.dataset.scratch())), head)

    async def next_head(self) -> Head:
        return await asyncio.wait_for(self.changes.get(), 10)

    async def until(self, condition) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - what the follower notes has no event
                await asyncio.sleep(0.01)

    @contextlib.asynccontextmanager
    async def following(self, *others):
        asker = Asker(*others)
        view = PlanView(plan(*others), ME.uid)

        async def probe(uid: str) -> None:
            await asker.peers.probe(view.members[uid], seconds=2)

        health = Health(probe)
        follower = Snapshots(
            self.dataset,
            peers=asker.peers,
            health=health,
            view=lambda: view,
            changed=self.changed,
        )
        task = asyncio.create_task(follower.run())
        try:
            yield health
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await health.close()
            await asker.peers.close()
            for origin in self.dataset.forget_origins():
                await origin.close()


@pytest.fixture(name="agent")
def _agent(tmp_path):
    agent = Agent(tmp_path)
    yield agent
    agent.dataset.close()


@contextlib.asynccontextmanager
async def beside(agent: Agent, other: Other):
    """Let the agent follow in a domain with another member."""
    async with serving(honest(other.answer, uid=other.uid)) as (server, port):
        there = member(port, other.uid, "127.0.0.1")
        async with agent.following(there):
            yield server


async def test_heads_of_one_sequence_merge_on_the_greater_snapshot(agent, tmp_path):
    """Both members took a snapshot while they were apart; the owner's is the lesser one."""
    other = Other(tmp_path, above=False)
    versions = sorted(("v1", "v2"), key=lambda version: made(tmp_path / f"{version}.x", version))
    mine = other.follow(1, versions[0])
    agent.install(mine, other.catalogs[mine.snapshot])
    greater = other.follow(1, versions[1])

    async with beside(agent, other):
        assert await agent.next_head() == greater
        for _ in range(3):
            await other.asked.acquire()

    assert agent.shelf.current() == greater
    assert other.downloads == 1
    assert agent.dataset.error == ""


async def test_the_lesser_of_two_heads_of_one_sequence_is_left_alone(agent, tmp_path):
    other = Other(tmp_path, above=True)
    versions = sorted(("v1", "v2"), key=lambda version: made(tmp_path / f"{version}.x", version))
    mine = other.follow(1, versions[1])
    agent.install(mine, other.catalogs[mine.snapshot])
    other.follow(1, versions[0])

    async with beside(agent, other):
        for _ in range(4):
            await other.asked.acquire()

    assert agent.shelf.current() == mine
    assert other.downloads == 0
    assert agent.dataset.error == ""


async def test_a_returning_owner_learns_its_standby_s_head_before_it_takes_another(agent, tmp_path):
    standby = Other(tmp_path, above=False)
    old = standby.follow(1, "v1")
    agent.install(old, standby.catalogs[old.snapshot])
    agent.dataset.plan = replace(agent.dataset.plan, snapshot_request="later")
    newer = standby.follow(7, "v2", "now")

    async with beside(agent, standby):
        assert await agent.next_head() == newer
        taken = await agent.next_head()

    assert taken.request == "later"
    assert taken.snapshot not in (old.snapshot, newer.snapshot)
    assert taken.sequence > newer.sequence
    assert standby.downloads == 1


async def test_a_standby_s_head_that_answers_the_request_is_adopted_and_no_other_taken(
    agent, tmp_path
):
    standby = Other(tmp_path, above=False)
    old = standby.follow(1, "v1")
    agent.install(old, standby.catalogs[old.snapshot])
    agent.dataset.plan = replace(agent.dataset.plan, snapshot_request="again")
    newer = standby.follow(2, "v2", "again")

    async with beside(agent, standby):
        assert await agent.next_head() == newer
        for _ in range(3):
            await standby.asked.acquire()

    assert agent.shelf.current() == newer


async def test_a_standby_s_catalog_that_cannot_be_had_does_not_stop_the_owner(agent, tmp_path):
    standby = Other(tmp_path, above=False)
    old = standby.follow(1, "v1")
    agent.install(old, standby.catalogs[old.snapshot])
    agent.dataset.plan = replace(agent.dataset.plan, snapshot_request="again")
    broken = standby.follow(5, "v2", "elsewhere")
    standby.catalogs[broken.snapshot].write_bytes(b"rotten")

    async with beside(agent, standby):
        taken = await agent.next_head()

    assert taken.request == "again"
    assert taken.sequence > broken.sequence


async def test_an_adopted_head_is_told_of_although_the_origin_fails(agent, tmp_path):
    standby = Other(tmp_path, above=False)
    agent.dataset.plan = replace(agent.dataset.plan, snapshot_request="again")
    newer = standby.follow(2, "v1", "before")
    (agent.source / "a").unlink()

    async with beside(agent, standby):
        assert await agent.next_head() == newer
        await agent.until(lambda: "no object matches" in agent.dataset.error)


async def test_a_later_head_over_the_same_catalog_costs_no_download(agent, tmp_path):
    owner = Other(tmp_path, above=True)
    old = owner.follow(1, "v1")
    agent.install(old, owner.catalogs[old.snapshot])
    later = owner.head = replace(old, sequence=2, request="again")

    async with beside(agent, owner):
        assert await agent.next_head() == later

    assert owner.downloads == 0


async def test_an_owner_that_is_only_busy_is_not_replaced(agent, tmp_path):
    owner = Other(tmp_path, above=True)
    owner.busy = True

    async with beside(agent, owner):
        for _ in range(6):
            await owner.asked.acquire()
        assert agent.dataset.head is None
        assert "do not answer yet" in agent.dataset.error


async def test_a_standby_takes_over_when_probes_find_its_owner_down(agent, tmp_path):
    owner = Other(tmp_path, above=True)
    owner.busy = True

    async with beside(agent, owner) as server:
        await owner.asked.acquire()
        assert agent.changes.empty()
        await server.close(grace=0)
        head = await agent.next_head()

    with Catalog(agent.shelf.path(head.snapshot)) as catalog:
        assert catalog.find("train/a").size == 5


async def test_a_follower_goes_on_after_an_error_of_the_disk(agent, caplog):
    agent.dataset.plan = replace(agent.dataset.plan, refresh_seconds=0.01)
    async with agent.following():
        first = await agent.next_head()
        away = agent.shelf.folder.with_name("away")
        agent.shelf.folder.rename(away)
        (agent.source / "b").write_bytes(b"second")
        await agent.until(lambda: "cannot be read or written" in agent.dataset.error)
        logged = len(caplog.records)
        await asyncio.sleep(0.3)
        assert len(caplog.records) == logged
        away.rename(agent.shelf.folder)
        second = await agent.next_head()
        await agent.until(lambda: not agent.dataset.error)

    assert second.snapshot != first.snapshot


async def test_a_follower_goes_on_after_an_error_of_whoever_is_told(agent):
    agent.failing = RuntimeError("out of order")
    async with agent.following():
        await agent.until(lambda: "RuntimeError" in agent.dataset.error)
        agent.failing = None
        assert await agent.next_head() == agent.dataset.head
        await agent.until(lambda: not agent.dataset.error)


async def test_a_secret_that_is_no_text_is_told_without_its_bytes(agent, caplog):
    def secret(_name):
        return {"key": b"sesame\xff".decode()}

    mount = replace(agent.dataset.plan.mounts[0], secret="keys")
    dataset = Dataset(
        replace(agent.dataset.plan, mounts=(mount,)),
        agent.shelf,
        secret=secret,
        source_address=None,
    )
    agent.dataset = dataset
    async with agent.following():
        await agent.until(lambda: dataset.error)
    assert "secret 'keys' has a key that is not UTF-8 text" in dataset.error
    for text in (dataset.error, caplog.text):
        assert "sesame" not in text
        assert "0xff" not in text


async def test_a_follower_that_is_ended_leaves_no_thread_at_work_on_the_shelf(agent, monkeypatch):
    entered, installed = asyncio.Event(), []
    loop = asyncio.get_running_loop()
    install = agent.dataset.install

    def slow(path, head):
        future = asyncio.run_coroutine_threadsafe(asyncio.sleep(0.2), loop)
        loop.call_soon_threadsafe(entered.set)
        future.result(5)
        install(path, head)
        installed.append(head)

    monkeypatch.setattr(agent.dataset, "install", slow)
    async with agent.following():
        await entered.wait()
    assert installed == [agent.shelf.current()]


def record(folder: Path, path: str):
    build(
        folder / "c",
        dataset=REF,
        entries=[Entry(path, 5, f"{0:032}", digest=f"md5:{0:032}")],
        chunk_size=4096,
        pack_below=1024,
    )
    with Catalog(folder / "c") as catalog:
        return catalog.find(path)


def mounts(folder: Path, *names: str) -> tuple[MountPlan, ...]:
    for name in names:
        (folder / f"at-{name}").mkdir(exist_ok=True)
        (folder / f"at-{name}" / "a").write_bytes(name.encode())
    return tuple(MountPlan(name, f"file://{folder}/at-{name}") for name in names)


async def bytes_of(dataset: Dataset, found) -> bytes:
    ((origin, path),) = dataset.sources_of(found)
    (listed,) = [one for one in await origin.list() if one.path == path]
    blocks = origin.read(path, size=listed.size, version=listed.version, start=0, stop=listed.size)
    async with contextlib.aclosing(blocks):
        return b"".join([block async for block in blocks])


@pytest.mark.parametrize(
    ("path", "expected"), [("x/a", b"x"), ("y/a", b"y"), ("a", b""), ("xy/a", None)]
)
async def test_a_record_is_read_from_the_mount_that_its_path_names(agent, tmp_path, path, expected):
    found = record(tmp_path, path)
    for names in itertools.permutations(["x", "y", ""]):
        agent.dataset.plan = replace(agent.dataset.plan, mounts=mounts(tmp_path, *names))
        if expected is None:
            assert [at for _, at in agent.dataset.sources_of(found)] == [path]
        else:
            assert await bytes_of(agent.dataset, found) == expected
        for origin in agent.dataset.forget_origins():
            await origin.close()


def test_a_record_whose_mount_has_gone_is_stale(agent, tmp_path):
    found = record(tmp_path, "x/a")
    agent.dataset.plan = replace(agent.dataset.plan, mounts=mounts(tmp_path, "y", "z"))
    with pytest.raises(StaleVersion, match=r"mount of x/a has left Dataset team/images"):
        agent.dataset.sources_of(found)


def test_clients_that_map_the_head_of_a_removed_dataset_look_again(tmp_path):
    agent = Agent(tmp_path)
    with mmap.mmap(agent.shelf.head_fd(), 0, access=mmap.ACCESS_READ) as mapped:
        before = protocol.DATASET_HEAD.unpack_from(mapped)[0]
        agent.dataset.remove()
        assert protocol.DATASET_HEAD.unpack_from(mapped)[0] == before + 1
    assert not agent.shelf.folder.exists()
