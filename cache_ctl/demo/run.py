"""The demo from beginning to end: apply, prewarm, read on every node at once, and compare."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cache_ctl.api.kinds import CACHE_PREWARM, NODE, kind_of, name_of
from cache_ctl.api.load import load_files
from cache_ctl.demo import data
from cache_ctl.demo.bundle import NAMES, DemoFiles, write_files
from cache_ctl.demo.figures import (
    Fetched,
    NodeFigures,
    Outcome,
    PoolFigures,
    Promise,
    forbidden_connections,
    pools_of,
    problems_of,
)
from cache_ctl.demo.processes import Origin, Reader, running_origin
from cache_ctl.demo.reader import Job
from cache_ctl.demo.screen import Screen
from cache_ctl.demo.stage import (
    AGENT_PORT,
    ORIGIN_ADDRESS,
    ORIGIN_PORT,
    DemoCannotRun,
    free_port,
    node_addresses,
    prepare_folder,
    remove_bulk,
)
from cache_ctl.demo.watch import Rates, fetched_by, frame, node_figures, placings
from cache_ctl.local.world import LocalWorld
from runtime.contract import codec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

EPOCHS = 3
NAMESPACE = "training"
PREWARM = "images"
DATASET = "training/images"
SOURCE = f"{DATASET}/train"
START_SECONDS = 60.0
PREWARM_SECONDS = 90.0
READING_SECONDS = 180.0
"""Limits far beyond what a slow machine needs: past them something is broken."""
SETTLE_SECONDS = 5.0
FRAME_SECONDS = 0.25
_DIGESTS = "digests.json"


@dataclass(slots=True)
class _Demo:
    """The parts of one run, and what is remembered between its steps."""

    world: LocalWorld
    origin: Origin
    screen: Screen
    samples: tuple[data.Sample, ...]
    readers: list[Reader] = field(default_factory=list)
    before: dict[str, Fetched] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of the dataset."""
        return sum(sample.size for sample in self.samples)

    @property
    def promise(self) -> Promise:
        """What every node is to read."""
        return Promise(len(self.samples), self.size, EPOCHS)

    def nodes(self, sent: dict[str, int] | None = None) -> tuple[NodeFigures, ...]:
        """Return every node's figures as they are now."""
        world = self.world
        return node_figures(placings(world), world.reports, self.readers, self.before, sent)


async def run(folder: Path, screen: Screen) -> Outcome:
    """Run the demo in ``folder`` and return what came of it; no process is left afterwards.

    Raises:
        ControlError: the demo could not run to its end; the sentence says why.
    """
    began = time.monotonic()
    prepare_folder(folder)
    try:
        samples = data.generate(folder / "origin")
        data.save(samples, folder / _DIGESTS)
        origin_port = free_port([ORIGIN_ADDRESS], ORIGIN_PORT)
        files = _files(folder, origin_port)
        screen.show_files(files)
        async with (
            running_origin(folder / "origin", origin_port, folder=folder) as origin,
            LocalWorld(folder) as world,
        ):
            return await _act(_Demo(world, origin, screen, samples), files, folder, began)
    finally:
        remove_bulk(folder)


def _files(folder: Path, origin_port: int) -> DemoFiles:
    write = functools.partial(write_files, folder / "files", state=folder, origin_port=origin_port)
    addresses = node_addresses(write(agent_port=AGENT_PORT).texts["nodes.yaml"])
    return write(agent_port=free_port(addresses, AGENT_PORT))


async def _act(demo: _Demo, files: DemoFiles, folder: Path, began: float) -> Outcome:
    world, say = demo.world, demo.screen.say
    nodes = await _apply(world, files)
    started = time.monotonic()
    say(f"{len(nodes)} agents have started after {started - began:.1f} s.")
    async with contextlib.AsyncExitStack() as stack:
        for seed, node in enumerate(nodes):
            job = _job(world, node, digests=folder / _DIGESTS, seed=seed)
            reader = Reader.running(node, job, folder=folder / "readers")
            demo.readers.append(await stack.enter_async_context(reader))
        async with _live(demo, "Prewarm", _prewarm_progress(demo)):
            await world.until(_prewarmed, seconds=PREWARM_SECONDS, what="the prewarm to complete")
        warm = time.monotonic()
        say(f"The prewarm is complete after {warm - began:.1f} s.")
        seconds = await _read(demo)
        figures = await _settled(demo)
    _keep_reports(world, folder / "reports")
    return Outcome(
        files=len(demo.samples),
        bytes=demo.size,
        epochs=EPOCHS,
        wrong_bytes=sum(tally.wrong_bytes for node in figures for tally in node.tallies),
        forbidden_connections=forbidden_connections(figures),
        domains=pools_of(figures),
        problems=tuple(problems_of(figures, nodes, demo.promise)),
        prewarm_seconds=warm - started,
        reading_seconds=seconds,
        wall_seconds=time.monotonic() - began,
    )


def _job(world: LocalWorld, node: str, *, digests: Path, seed: int) -> Job:
    return Job(
        socket=str(world.socket(node)),
        token_file=str(world.token_file(DATASET)),
        source=SOURCE,
        digests=str(digests),
        epochs=EPOCHS,
        seed=seed,
    )


def _keep_reports(world: LocalWorld, folder: Path) -> None:
    """Keep what every agent said at the end, for whoever wants to know more."""
    folder.mkdir()
    for node, report in world.reports.items():
        (folder / f"{node}.json").write_text(json.dumps(codec.to_json(report), indent=2))


async def _apply(world: LocalWorld, files: DemoFiles) -> list[str]:
    """Apply the files, wait for an agent on every node, and return the nodes' names."""
    objects = load_files(files.folder / name for name in NAMES).objects
    nodes = [name_of(body) for body in objects if kind_of(body) == NODE]
    await world.apply(objects)
    await world.until(
        lambda world: (
            all(node in world.reports for node in nodes) and world.token_file(DATASET).exists()
        ),
        seconds=START_SECONDS,
        what=f"an agent on each of {len(nodes)} nodes",
    )
    return nodes


async def _read(demo: _Demo) -> float:
    """Let all readers read at once; return how many seconds it took."""
    await asyncio.gather(*(reader.ready() for reader in demo.readers))
    title = f"{EPOCHS} shuffled epochs on {len(demo.readers)} nodes at once"
    demo.screen.say(f"Now {title}.")
    demo.screen.say(f"Readers show the token in {demo.world.token_file(DATASET)}.")
    demo.before = {node: fetched_by(report) for node, report in demo.world.reports.items()}
    began = time.monotonic()
    try:
        async with _live(demo, title, _reading_progress(demo)), asyncio.timeout(READING_SECONDS):
            await asyncio.gather(*(reader.read() for reader in demo.readers))
    except TimeoutError:
        raise DemoCannotRun(f"the readers have not finished in {READING_SECONDS:g} s") from None
    return time.monotonic() - began


def _prewarmed(world: LocalWorld) -> bool:
    if world.is_true(CACHE_PREWARM, PREWARM, NAMESPACE, condition="Failed"):
        raise DemoCannotRun(f"the prewarm failed; see the agents' logs in {world.state_dir}/nodes")
    complete = world.is_true(CACHE_PREWARM, PREWARM, NAMESPACE, condition="Complete")
    return complete and all(
        any(dataset.snapshot for dataset in report.datasets) for report in world.reports.values()
    )


def _prewarm_progress(demo: _Demo) -> Callable[[PoolFigures], tuple[int, int]]:
    def progress(pool: PoolFigures) -> tuple[int, int]:
        reports = demo.world.reports
        known = [reports[node] for node in pool.nodes if node in reports]
        shares = [share for report in known for share in report.prewarms]
        return sum(it.bytes_done for it in shares), sum(it.bytes_total for it in shares)

    return progress


def _reading_progress(demo: _Demo) -> Callable[[PoolFigures], tuple[int, int]]:
    def progress(pool: PoolFigures) -> tuple[int, int]:
        return pool.read_bytes, EPOCHS * demo.size * len(pool.nodes)

    return progress


@contextlib.asynccontextmanager
async def _live(
    demo: _Demo, title: str, progress: Callable[[PoolFigures], tuple[int, int]]
) -> AsyncIterator[None]:
    """Keep the live table moving for the time of the block."""

    async def show() -> None:
        rates = Rates()
        while True:
            demo.screen.update(title, frame(demo.nodes(), progress, rates))
            await asyncio.sleep(FRAME_SECONDS)

    with demo.screen.live():
        task = asyncio.create_task(show())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _settled(demo: _Demo) -> tuple[NodeFigures, ...]:
    """Return the figures once agents and origin agree on them, or as they are after a while.

    The last group of a pack may still be on its way when its readers have got what they asked for.
    """
    give_up = time.monotonic() + SETTLE_SECONDS
    while True:
        nodes = demo.nodes(await demo.origin.sent())
        agreed = all(node.sent == node.fetched.origin for node in nodes)
        if agreed or time.monotonic() > give_up:
            return nodes
        await asyncio.sleep(FRAME_SECONDS)
