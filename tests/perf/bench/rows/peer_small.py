"""Small objects over TCP, one request each."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

from tests.perf.bench.agents import running_agents
from tests.perf.bench.http_reader import HttpReader
from tests.perf.bench.local import write_random
from tests.perf.bench.peers import nginx, present, varnish
from tests.perf.bench.peers.install import Unavailable
from tests.perf.bench.peers.running import HttpPeer
from tests.perf.bench.row import Case, Context, Gap, Pair
from tests.perf.bench.wrk import load

NAME = "peer-small"
WORK = "warm, over TCP: GETs of 4 KiB and of 64 KiB, over 1 and 32 connections, by wrk"
BARS = {"nginx static": (0.8, None), "Varnish": (None, 1.0)}
KIB = 1 << 10
SIZES = {4 * KIB: 1000, 64 * KIB: 500}
CONNECTIONS = (1, 32)


def run(context: Context) -> Generator[Case, None, None]:
    memory = Path(context.memory)
    files = memory / "o"
    paths = {
        size: [f"{size // KIB}k/{number:04}.bin" for number in range(count)]
        for size, count in SIZES.items()
    }
    for size, named in paths.items():
        for seed, path in enumerate(named):
            write_random(files / path, size, seed=seed)
    with ExitStack() as stack:
        origin = stack.enter_context(nginx.static(memory / "n", files))
        context.versions[origin.name] = origin.version
        agents = stack.enter_context(
            running_agents(
                Path(context.folder) / "a",
                f"{origin.url}/",
                tier=memory / "t",
                medium="Memory",
                mount={},
            )
        )
        agents.warm()
        agent = agents[0]
        try:
            ours = {
                size: load(memory / f"ours{size}", agent.url, named, (agent.pid,), agent.token)
                for size, named in paths.items()
            }
        except Unavailable as why:
            yield Gap("every case", "wrk", str(why))
            return
        context.versions["wrk"] = ours[4 * KIB].program.versions["wrk"]
        _check(agent.url, files, paths, agent.token)
        cache: HttpPeer | Gap = Gap("every case", "Varnish", "left out of a quick run")
        if not context.quick:
            opened = varnish.varnish(memory / "v", origin.url)
            cache = present.start(stack, context, "Varnish", opened)
        for peer in (origin, cache):
            if isinstance(peer, Gap):
                yield peer
                continue
            _check(peer.url, files, paths)
            bar, aim = BARS[peer.name]
            for size, named in paths.items():
                place = memory / f"{peer.name.replace(' ', '-')}{size}"
                theirs = load(place, peer.url, named, peer.pids)
                for count in CONNECTIONS[-1:] if context.quick else CONNECTIONS:
                    yield Pair(
                        f"{size // KIB} KiB, {count} connection{'s'[: count > 1]}",
                        peer.name,
                        "requests",
                        lambda mine=ours[size], count=count: mine.turn(count),
                        lambda theirs=theirs, count=count: theirs.turn(count),
                        bar,
                        aim,
                        page_cache="in memory on both sides",
                    )


def _check(url: str, files: Path, paths: dict[int, list[str]], token: str = "") -> None:
    """Compare every object's bytes with the file's; what caches is warm afterwards."""
    with HttpReader(url, token) as reader:
        for named in paths.values():
            for path in named:
                reader.get(reader.request(path), (files / path).read_bytes())
