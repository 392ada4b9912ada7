"""A large object over TCP from a node that holds it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.perf.bench.agents import running_agents
from tests.perf.bench.http_reader import HttpReader
from tests.perf.bench.local import CHUNK, MIB, write_random
from tests.perf.bench.peers import nginx, present, rclone, varnish
from tests.perf.bench.peers.running import HttpPeer
from tests.perf.bench.process import sample
from tests.perf.bench.row import Case, Context, Gap, Pair, Sample, Single

NAME = "peer-seq"
WORK = "warm, over TCP: 1 GiB from another node's agent, by one connection"
BARS = {"nginx static": (0.95, None), "Varnish": (None, 1.0)}
CPU_BAR = 1.2
OBJECT = "large.bin"
WHOLE, RANGES = "one GET", "ranges of 4 MiB"


class Source:
    """A server, a connection to it, and what is asked of it."""

    def __init__(self, stack: ExitStack, peer: HttpPeer, size: int, token: str = "") -> None:
        self.peer = peer
        self._reader = stack.enter_context(HttpReader(peer.url, token))
        starts = range(0, size, CHUNK)
        self._requests = {
            WHOLE: [self._reader.request(OBJECT)],
            RANGES: [self._reader.request(OBJECT, at, min(at + CHUNK, size)) for at in starts],
        }

    def check(self, file: Path) -> None:
        """Compare every byte of both cases with the file; what caches is warm afterwards."""
        data = file.read_bytes()
        self._reader.get(self._requests[WHOLE][0], data)
        for number, request in enumerate(self._requests[RANGES]):
            self._reader.get(request, data[number * CHUNK : (number + 1) * CHUNK])

    def turn(self, case: str) -> Sample:
        """Read the object until a second is over."""
        return sample(
            lambda: self._reader.get_all(self._requests[case]),
            servers=self.peer.pids,
            bytes_per_work=1,
        )


def run(context: Context) -> Generator[Case, None, None]:
    size = context.sized(1024 * MIB, 256 * MIB)
    memory = Path(context.memory)
    files = memory / "o"
    write_random(files / OBJECT, size)
    with ExitStack() as stack:
        origin = stack.enter_context(nginx.static(memory / "origin", files))
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
        own = HttpPeer("our agent", agent.url, (agent.pid,), "")
        ours = Source(stack, own, size, agent.token)
        ours.check(files / OBJECT)
        for name, opened in (
            ("nginx static", lambda: nginx.static(memory / "n", files)),
            ("Varnish", lambda: varnish.varnish(memory / "v", origin.url)),
            ("nginx slice", lambda: nginx.slices(memory / "s", origin.url)),
            ("rclone serve", lambda: rclone.serve(memory / "r", files)),
        ):
            if context.quick and name not in BARS:
                yield Gap("every case", name, "left out of a quick run")
                continue
            with ExitStack() as one:
                peer = present.start(one, context, name, opened())
                if isinstance(peer, Gap):
                    yield peer
                    continue
                theirs = Source(one, peer, size)
                theirs.check(files / OBJECT)
                yield from _cases(ours, theirs, (WHOLE,) if context.quick else (WHOLE, RANGES))


def _cases(ours: Source, theirs: Source, cases: Sequence[str]) -> Generator[Case, None, None]:
    name = theirs.peer.name
    bar, aim = BARS.get(name, (None, None))
    for case in cases:
        yield Pair(
            case,
            name,
            "B",
            lambda case=case: ours.turn(case),
            lambda case=case: theirs.turn(case),
            bar,
            aim,
            page_cache="in memory on both sides",
        )
    if name == "nginx static":
        for case in cases:
            yield Single(
                f"server's processor time, {case}",
                "of nginx static",
                lambda case=case: _cost(ours, case) / _cost(theirs, case),
                bar=CPU_BAR,
                times=3,
                about="processor seconds a GiB of the serving process, ours ÷ nginx static's",
            )


def _cost(source: Source, case: str) -> float:
    found = source.turn(case)
    assert found.server_cpu is not None
    return found.server_cpu / found.bytes
