"""A local cluster of real agents that is changed and broken while readers read."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache_ctl.api.kinds import CACHE_PREWARM, CACHE_RUNTIME, DATASET
from cache_ctl.local.world import LocalWorld
from runtime.client.filesystem import CacheFileSystem
from tests.support.objects import SPACE, cloud_node, dataset, edge_node, pool, prewarm, runtime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from cache_ctl.api.kinds import Kind
    from cache_ctl.reconcile.clock import Clock
    from runtime.contract.report import NodeReport

REF = f"{SPACE}/images"
SECONDS = 60


class JumpingClock:
    """The system's clocks, which a test can put forward."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._jumped = asyncio.Event()

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead

    def wall(self) -> datetime:
        return datetime.now(UTC)

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Return early at a jump, too: who waits looks at the time again."""
        tasks = [asyncio.ensure_future(item.wait()) for item in (event, self._jumped)]
        timeout = None if seconds == float("inf") else seconds
        try:
            await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    def jump(self, seconds: float) -> None:
        self._ahead += seconds
        self._jumped.set()
        self._jumped = asyncio.Event()


def on_loopback(bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give nodes addresses of their own, so that several runs can share one machine."""
    network = f"127.{random.randrange(130, 250)}.{random.randrange(1, 250)}"
    for number, body in enumerate(bodies):
        if body["kind"] == "Node":
            body["status"]["addresses"][0]["address"] = f"{network}.{number + 1}"
    return bodies


class Live:
    """A world with one runtime and one Dataset, and what tests do to it.

    ``nodes`` are Node bodies by name; ``spec`` and ``data`` are the specs of the CacheRuntime and
    of the Dataset. Edit one and ``apply`` it.
    """

    def __init__(
        self, world: LocalWorld, objects: list[dict[str, Any]], tiers: list[dict[str, Any]]
    ) -> None:
        self.world = world
        self.objects = on_loopback(objects)
        self.nodes = {item["metadata"]["name"]: item for item in objects if item["kind"] == "Node"}
        self.runtime = runtime(tiers=tiers)
        self.dataset = dataset(mounts=[])

    @property
    def spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = self.runtime["spec"]
        return spec

    @property
    def data(self) -> dict[str, Any]:
        spec: dict[str, Any] = self.dataset["spec"]
        return spec

    async def apply(self, *others: dict[str, Any]) -> None:
        """Apply everything as it stands now."""
        await self.world.apply([*self.objects, self.runtime, self.dataset, *others])

    def report(self, node: str) -> NodeReport:
        return self.world.reports[node]

    def conditions(self, kind: Kind = DATASET) -> Mapping[str, Mapping[str, Any]]:
        name = {DATASET: "images", CACHE_RUNTIME: "edge", CACHE_PREWARM: "warm"}[kind]
        body = self.world.objects.get(kind, name, SPACE) or {}
        found = (body.get("status") or {}).get("conditions") or ()
        generation = (body.get("metadata") or {}).get("generation", 0)
        return {
            item["type"]: item for item in found if item.get("observedGeneration", 0) >= generation
        }

    async def until(self, check: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
        """Wait until a check is true; one that fails for want of a report or a row is not yet."""

        def holds(_: LocalWorld) -> bool:
            try:
                return bool(check())
            except (KeyError, IndexError):
                return False

        await self.world.until(holds, seconds=seconds, what=what)

    async def until_said(self, kind: Kind, condition: str, status: str, reason: str) -> str:
        """Wait until a condition says this, and return its sentence."""

        def said() -> bool:
            found = self.conditions(kind)[condition]
            return (found["status"], found["reason"]) == (status, reason)

        try:
            await self.until(said, f"{condition} to be {status} for {reason}")
        except Exception as error:
            error.add_note(str(dict(self.conditions(kind))))
            raise
        return str(self.conditions(kind)[condition]["message"])

    async def until_ready(self, *nodes: str) -> None:
        """Wait until agents are ready, follow the newest plan and have a snapshot."""
        wanted = nodes or tuple(self.nodes)
        await self.until(
            lambda: (
                all(
                    self.report(node).ready and self.report(node).datasets[0].snapshot
                    for node in wanted
                )
                and self.conditions()["Placed"]["status"] == "True"
                and self.conditions()["Ready"]["status"] == "True"
            ),
            f"{', '.join(wanted)} to be ready",
        )

    async def warm(self, name: str = "warm") -> None:
        """Prewarm all nodes, and wait for the end."""
        await self.world.apply([prewarm(name, includeLocalOnly=True)])
        await self.world.until(
            lambda w: w.is_true(CACHE_PREWARM, name, SPACE, condition="Complete"),
            seconds=SECONDS,
            what=f"the prewarm {name} to complete",
        )
        await self.world.delete(CACHE_PREWARM, name, SPACE)

    def filesystem(self, node: str) -> CacheFileSystem:
        return CacheFileSystem(
            socket=str(self.world.socket(node)),
            token_file=str(self.world.token_file(REF)),
            skip_instance_cache=True,
            verify="EveryRead",
        )

    async def read(self, node: str, path: str) -> bytes:
        """Read a file on a node as a new reader."""

        def read() -> bytes:
            data: bytes = self.filesystem(node).cat_file(f"{REF}/{path}")
            return data

        return await asyncio.to_thread(read)

    @contextlib.asynccontextmanager
    async def reading(self, expected: Mapping[str, bytes], *nodes: str) -> AsyncIterator[None]:
        """Have readers on these nodes read these files all the while, without one failure."""
        readers = [_Reader(self.filesystem(node), node, expected) for node in nodes]
        try:
            await asyncio.gather(*(asyncio.to_thread(reader.round) for reader in readers))
            yield
            await asyncio.gather(*(asyncio.to_thread(reader.round) for reader in readers))
        finally:
            await asyncio.gather(*(asyncio.to_thread(reader.stop) for reader in readers))
        assert [reader.failure for reader in readers if reader.failure is not None] == []


class _Reader:
    """Reads files again and again in a thread, each compared with what it is to be."""

    def __init__(
        self, filesystem: CacheFileSystem, node: str, expected: Mapping[str, bytes]
    ) -> None:
        self._filesystem = filesystem
        self._node = node
        self._expected = expected
        self._ended = threading.Event()
        self._turned = threading.Condition()
        self._rounds = 0
        self.failure: str | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for path in itertools.cycle(sorted(self._expected)):
            if self._ended.wait(0.01):
                return
            try:
                found = self._filesystem.cat_file(f"{REF}/{path}")
                assert found == self._expected[path], f"{path} has other bytes"
            except Exception as error:  # noqa: BLE001  told by the test
                self.failure = f"{self._node} {path}: {type(error).__name__}: {error}"
                self._ended.set()
            with self._turned:
                self._rounds += 1
                self._turned.notify_all()

    def round(self) -> None:
        """Wait until every file has been read once more."""
        with self._turned:
            until = self._rounds + len(self._expected) + 1
            self._turned.wait_for(
                lambda: self._rounds >= until or self._ended.is_set(), timeout=SECONDS
            )

    def stop(self) -> None:
        self._ended.set()
        self._thread.join(SECONDS)


def fleet() -> list[dict[str, Any]]:
    """Return nodes of every class: two of the cloud, two of a dedicated pool, a basic one."""
    return [
        cloud_node(1),
        cloud_node(2),
        pool("plant", "private"),
        edge_node("plant", 1),
        edge_node("plant", 2),
        pool("shop", "basic"),
        edge_node("shop", 1),
    ]


def make_files(folder: Path, count: int = 4, size: int = 300_000) -> dict[str, bytes]:
    """Write files of random bytes; return them by name."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {f"{number}.bin": random.randbytes(size + number) for number in range(count)}
    for name, data in found.items():
        (folder / name).write_bytes(data)
    return found


def below(mount: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return files by their path in the Dataset."""
    return {f"{mount}/{name}": data for name, data in files.items()}


@contextlib.asynccontextmanager
async def live(
    folder: Path,
    objects: list[dict[str, Any]],
    *,
    mounts: list[dict[str, Any]],
    quota: str = "64Mi",
    clock: Clock | None = None,
    **spec: Any,
) -> AsyncIterator[Live]:
    """Run a world over ``folder``; its Dataset has these mounts."""
    tiers = [{"medium": "SSD", "path": str(folder / "tier"), "quota": quota}]
    async with LocalWorld(folder / "s", clock=clock) as world:
        made = Live(world, objects, tiers)
        made.spec.update(spec)
        made.data["mounts"] = mounts
        await made.apply()
        yield made
