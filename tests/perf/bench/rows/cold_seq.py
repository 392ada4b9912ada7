"""First reads of a large object: through a cache that holds nothing, beside direct ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import xxhash

from tests.perf.bench import netlab
from tests.perf.bench.agents import DATASET, Agents, Seat, running_agents
from tests.perf.bench.local import MIB, write_random
from tests.perf.bench.peers import juicefs, minio, nginx, rclone, s3fs, varnish
from tests.perf.bench.peers.install import Unavailable, wheels
from tests.perf.bench.peers.running import HttpPeer, MountPeer
from tests.perf.bench.process import Usage, reset_peak, usage
from tests.perf.bench.reader import ReaderProcess, reader
from tests.perf.bench.row import Case, Context, Gap, Pair, Sample, Turn

NAME = "cold-seq"
WORK = "the first read of a large object through an empty cache, beside direct reads of the origin"
BARS = {"loopback": (0.85, 0.97), "1 Gbit/s, 10 ms": (0.85, 1.0)}
RATE = 1000 * netlab.MBIT
DELAY = 0.010
OBJECT, OTHER = "large.bin", "other.bin"
DIRECT = ("fsspec http", "obstore")
BUCKET = "files"
CACHES = "beside caches"
EMPTY = "origin's file in memory, caches empty, in memory"


@dataclass(frozen=True, slots=True)
class Place:
    """Where first reads happen: an origin, an agent that can be emptied, and a reader."""

    name: str
    folder: Path
    origin: HttpPeer
    agents: Agents
    reader: ReaderProcess
    digest: str

    def read(self, way: str, target: str, pids: tuple[int, ...] = (), **options: object) -> Sample:
        """Read the object once in a way, with its bytes checked when ``digest`` is given."""
        reset_peak(pids)
        before = usage(pids)
        done = self.reader.read(way, target, **options)
        after = usage(pids) if pids else Usage()
        if options.get("digest") and done.digest != self.digest:
            raise RuntimeError(f"{way} read other bytes than the origin has")
        return Sample(
            seconds=done.seconds,
            work=done.bytes,
            client_cpu=done.cpu,
            server_cpu=after.cpu - before.cpu if pids else None,
            rss=after.peak if pids else None,
            bytes=done.bytes,
        )

    def ours(self, **options: object) -> Sample:
        """Read through our agent, started anew with an empty tier.

        It reads another object first, as an agent is seldom asked right after its start.
        """
        agent = self.agents[0]
        self.agents.stop(agent)
        shutil.rmtree(self.folder / "t")
        self.agents.start(agent)
        self.agents.lab.until_ready(agent.node, timeout=60)
        self.reader.read("cachectl", f"{DATASET}/{OTHER}", **agent.options)
        return self.read(
            "cachectl", f"{DATASET}/{OBJECT}", (agent.pid,), **agent.options, **options
        )

    def direct(self, way: str, **options: object) -> Sample:
        """Read the origin without a cache."""
        return self.read(way, f"{self.origin.url}/{OBJECT}", **options)

    def checked(self, turn: Callable[..., Sample]) -> None:
        """Do a turn once for its bytes alone.

        Raises:
            RuntimeError: they are not the origin's.
        """
        turn(digest=True)


@contextmanager
def place(
    context: Context, name: str, size: int, ends: netlab.Line | None = None
) -> Iterator[Place]:
    """Have an origin with one object, an agent and a reader, at the two ends of a line if given."""
    short = f"p{len(list(Path(context.folder).iterdir()))}"  # a socket's path may not be long
    folder = Path(context.memory) / short
    files = folder / "o"
    write_random(files / OBJECT, size)
    write_random(files / OTHER, 8 * MIB)
    near = ends.near.prefix if ends else ()
    where = {"address": ends.far.address, "prefix": ends.far.prefix} if ends else {}
    seat = Seat(ends.near.address, near) if ends else Seat()
    with ExitStack() as stack:
        origin = stack.enter_context(nginx.static(folder / "n", files, **where))
        context.versions[origin.name] = origin.version
        agents = stack.enter_context(
            running_agents(
                Path(context.folder) / short,
                f"{origin.url}/",
                seats=(seat,),
                tier=folder / "t",
                medium="Memory",
                mount={},
            )
        )
        try:
            packages = list(wheels("obstore").root.glob("lib/python*/site-packages"))
        except Unavailable:
            packages = []  # its turn says so
        asked = stack.enter_context(reader(near, packages))
        digest = xxhash.xxh3_64((files / OBJECT).read_bytes()).hexdigest()
        yield Place(name, folder, origin, agents, asked, digest)


def run(context: Context) -> Generator[Case, None, None]:
    with place(context, "loopback", context.sized(1024 * MIB, 256 * MIB)) as here:
        yield from _beside_direct(context, here)
    shutil.rmtree(here.folder)
    why = netlab.why_not()
    if why is None:
        size = context.sized(256 * MIB, 64 * MIB)
        with (
            netlab.line(RATE, DELAY) as ends,
            place(context, "1 Gbit/s, 10 ms", size, ends) as there,
        ):
            yield from _beside_direct(context, there)
        shutil.rmtree(there.folder)
    else:
        yield Gap("1 Gbit/s, 10 ms", "every peer", why)
    if context.quick:
        yield Gap(CACHES, "all caches", "left out of a quick run")
        return
    with place(context, CACHES, 256 * MIB) as here:
        yield from _beside_caches(context, here)


def _beside_direct(context: Context, here: Place) -> Iterator[Case]:
    here.checked(here.ours)
    for way in DIRECT[: 1 if context.quick else None]:
        try:
            if way == "obstore":
                context.versions.update(wheels("obstore").versions)
        except Unavailable as why:
            yield Gap(here.name, way, str(why))
            continue
        direct = _direct(here, way)
        here.checked(direct)
        bar, aim = BARS[here.name]
        yield Pair(here.name, way, "B", here.ours, direct, bar, aim, page_cache=EMPTY)


def _direct(here: Place, way: str) -> Turn:
    return lambda **options: here.direct(way, **options)


def _beside_caches(context: Context, here: Place) -> Iterator[Case]:
    """Show what other caches do with a first read: each is started anew for it."""
    scratch = here.folder / "peer"
    origin = here.origin.url
    yield from _shown(context, here, "nginx slice", lambda: nginx.slices(scratch, origin))
    yield from _shown(context, here, "Varnish", lambda: varnish.varnish(scratch, origin))
    yield Pair(CACHES, "filecache", "B", here.ours, lambda: _filecache(here), page_cache=EMPTY)
    yield from _shown(context, here, "rclone mount", lambda: rclone.mount(scratch, origin))
    with ExitStack() as stack:
        try:
            bucket = stack.enter_context(minio.minio(here.folder / "minio"))
            bucket.fill(BUCKET, here.folder / "o")
        except Unavailable as why:
            yield Gap(CACHES, "s3fs, JuiceFS", f"MinIO: {why}")
            return
        context.versions["MinIO"] = bucket.version
        yield from _shown(context, here, "s3fs", lambda: s3fs.mount(scratch, bucket, BUCKET))
        try:
            volume = stack.enter_context(juicefs.volume(here.folder / "juicefs", bucket))
            with volume.mount(scratch) as peer:
                shutil.copyfile(here.folder / "o" / OBJECT, peer.folder / OBJECT)
            shutil.rmtree(scratch)
        except Unavailable as why:
            yield Gap(CACHES, "JuiceFS", str(why))
            return
        yield from _shown(context, here, "JuiceFS", lambda: volume.mount(scratch))


def _shown(
    context: Context,
    here: Place,
    name: str,
    fresh: Callable[[], AbstractContextManager[HttpPeer | MountPeer]],
) -> Iterator[Case]:
    """Yield the pair with a peer that starts with nothing in every turn, or its gap."""

    def turn(**options: object) -> Sample:
        try:
            with fresh() as peer:
                context.versions[peer.name] = peer.version
                if isinstance(peer, HttpPeer):
                    return here.read("http", f"{peer.url}/{OBJECT}", peer.pids, **options)
                return here.read("file", str(peer.folder / OBJECT), peer.pids, **options)
        finally:
            shutil.rmtree(here.folder / "peer", ignore_errors=True)

    try:
        here.checked(turn)
    except Unavailable as why:
        yield Gap(CACHES, name, str(why))
        return
    yield Pair(CACHES, name, "B", here.ours, turn, page_cache=EMPTY)


def _filecache(here: Place) -> Sample:
    folder = here.folder / "copies"
    try:
        return here.direct("filecache", folder=str(folder))
    finally:
        shutil.rmtree(folder)
