"""A large object over TCP from a node that holds it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlencode

from runtime.contract import protocol
from runtime.contract.token import Keys, peer_token
from runtime.contract.units import object_key
from tests.perf.bench.agents import DATASET, Agents, Seat, running_agents
from tests.perf.bench.http_reader import HttpReader
from tests.perf.bench.local import CHUNK, MIB, write_random
from tests.perf.bench.peers import nginx, present, rclone, varnish
from tests.perf.bench.peers.running import HttpPeer
from tests.perf.bench.process import sample
from tests.perf.bench.row import Case, Context, Gap, Pair, Sample, Single
from tests.support.lab import RUNTIME

NAME = "peer-seq"
WORK = "warm, over TCP: 1 GiB from another node's agent, by one connection"
BARS = {"nginx static": (0.95, None), "Varnish": (None, 1.0)}
CPU_BAR = 1.2
OBJECT = "large.bin"
UNITS = "units of 4 MiB, as a peer asks"
WHOLE, RANGES = "one GET", "ranges of 4 MiB"


class Source:
    """A server, a connection to it, and what is asked of it."""

    def __init__(self, stack: ExitStack, peer: HttpPeer, size: int, token: str = "") -> None:
        self.peer = peer
        reader = stack.enter_context(HttpReader(peer.url, token))
        ranges = [reader.request(OBJECT, at, min(at + CHUNK, size)) for at in range(0, size, CHUNK)]
        self._requests = {WHOLE: [reader.request(OBJECT)], RANGES: ranges, UNITS: ranges}
        self._readers = dict.fromkeys(self._requests, reader)

    def add_units(self, stack: ExitStack, agents: Agents, size: int) -> None:
        """Let the first agent be asked for units as well, in the name of the second one.

        A unit's answer has its bytes and then a checksum a cell, which the receiver verifies.
        """
        held, asker = agents[0], agents[1]
        lab = agents.lab
        fields = {
            protocol.FROM_HEADER: asker.node.uid,
            protocol.EXPECT_NODE_HEADER: held.node.uid,
        }
        token = peer_token(Keys.derive(lab.master, held.node.domain), RUNTIME)
        reader = stack.enter_context(
            HttpReader(held.url, token, fields=fields, source=asker.address)
        )
        snapshot = held.report().datasets[0].snapshot
        login = f"Bearer {held.token}"
        _, told, _ = lab.ask(held.node, "HEAD", f"/{DATASET}/{OBJECT}", Authorization=login)
        key = object_key(DATASET, OBJECT, size, told["etag"].strip('"'), CHUNK)
        asked = {
            "dataset": DATASET,
            "snapshot": snapshot,
            "key": key,
            "path": OBJECT,
            "as": "holder",
        }
        self._readers[UNITS] = reader
        self._requests[UNITS] = [
            reader.question(f"{protocol.UNIT}?{urlencode({**asked, 'index': index})}")
            for index in range(size // CHUNK)
        ]

    def check(self, file: Path) -> None:
        """Compare every byte of every case with the file; what caches is warm afterwards."""
        data = file.read_bytes()
        self._readers[WHOLE].get(self._requests[WHOLE][0], data)
        for case in (RANGES, UNITS):
            for number, request in enumerate(self._requests[case]):
                piece = data[number * CHUNK : (number + 1) * CHUNK]
                self._readers[case].get(request, piece, sums_follow=case == UNITS)

    def turn(self, case: str) -> Sample:
        """Read the object until a second is over."""
        return sample(
            lambda: self._readers[case].get_all(self._requests[case]),
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
                seats=(Seat(), Seat()),
                tier=memory / "t",
                medium="Memory",
                mount={},
            )
        )
        agents.warm(copies=2)
        agent = agents[0]
        own = HttpPeer("our agent", agent.url, (agent.pid,), "")
        ours = Source(stack, own, size, agent.token)
        ours.add_units(stack, agents, size)
        ours.check(files / OBJECT)
        for name, opened in (
            ("nginx static", lambda: nginx.static(memory / "n", files)),
            ("Varnish", lambda: varnish.varnish(memory / "v", origin.url)),
            ("nginx slice", lambda: nginx.slices(memory / "s", origin.url)),
            ("rclone serve", lambda: rclone.serve(memory / "r", files)),
        ):
            if context.quick and name != "nginx static":
                yield Gap("every case", name, "left out of a quick run")
                continue
            with ExitStack() as one:
                peer = present.start(one, context, name, opened())
                if isinstance(peer, Gap):
                    yield peer
                    continue
                theirs = Source(one, peer, size)
                theirs.check(files / OBJECT)
                yield from _cases(
                    ours, theirs, (UNITS, WHOLE) if context.quick else (UNITS, WHOLE, RANGES)
                )


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
