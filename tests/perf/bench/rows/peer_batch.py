"""Many small objects over TCP in one answer."""

from __future__ import annotations

import json
import random
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

from runtime.contract.protocol import BATCH_ITEM
from tests.perf.bench.agents import DATASET, running_agents
from tests.perf.bench.http_reader import HttpReader
from tests.perf.bench.local import write_random
from tests.perf.bench.peers import nginx
from tests.perf.bench.process import sample
from tests.perf.bench.row import Case, Context, Pair, Sample

NAME = "peer-batch"
WORK = "warm, over TCP: samples of 10 KiB in shuffled order, by POST /batch in lists of 256"
BARS = {"our own single GETs": (5.0, 10.0), "nginx static, single GETs": (1.5, None)}
SIZE = 10 << 10
COUNT = 4096
LIST = 256


def run(context: Context) -> Generator[Case, None, None]:
    memory = Path(context.memory)
    files = memory / "o"
    paths = [f"{number:04}.bin" for number in range(COUNT)]
    for seed, path in enumerate(paths):
        write_random(files / path, SIZE, seed=seed)
    random.Random(1).shuffle(paths)
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
        pids = (agent.pid,)
        ours = stack.enter_context(HttpReader(agent.url, agent.token))
        theirs = stack.enter_context(HttpReader(origin.url))
        for reader in (ours, theirs):
            for path in paths:
                reader.get(reader.request(path), (files / path).read_bytes())
        _check(ours, files, paths)
        for peer, turn in (
            ("our own single GETs", lambda: _singles(ours, paths, pids)),
            ("nginx static, single GETs", lambda: _singles(theirs, paths, origin.pids)),
        ):
            yield Pair(
                "lists of 256 samples",
                peer,
                "samples",
                lambda: _batches(ours, paths, pids),
                turn,
                *BARS[peer],
                page_cache="in memory on both sides",
            )


def _singles(reader: HttpReader, paths: list[str], pids: tuple[int, ...]) -> Sample:
    requests = [reader.request(path) for path in paths]

    def once() -> int:
        return reader.get_all(requests) // SIZE

    return sample(once, servers=pids, bytes_per_work=SIZE)


def _batches(reader: HttpReader, paths: list[str], pids: tuple[int, ...]) -> Sample:
    bodies = _bodies(paths)

    def once() -> int:
        return sum(len(_take_apart(reader.post("/batch", body))) for body in bodies)

    return sample(once, servers=pids, bytes_per_work=SIZE)


def _bodies(paths: list[str]) -> list[bytes]:
    """Return the lists to ask for; asking as a loader does, which knows its names."""
    lists = [paths[at : at + LIST] for at in range(0, len(paths), LIST)]
    return [json.dumps({"dataset": DATASET, "paths": named}).encode() for named in lists]


def _take_apart(answer: memoryview) -> list[bytes]:
    """Return the samples of an answer, copied out of the buffer that the next one fills.

    Raises:
        RuntimeError: one of them is not a success.
    """
    found, at = [], 0
    while at < len(answer):
        status, length = BATCH_ITEM.unpack_from(answer, at)
        if status != 200:
            raise RuntimeError(f"a sample of a batch has status {status}")
        at += BATCH_ITEM.size
        found.append(bytes(answer[at : at + length]))
        at += length
    return found


def _check(reader: HttpReader, files: Path, paths: list[str]) -> None:
    """Compare every sample of every list with its file.

    Raises:
        RuntimeError: one of them has other bytes.
    """
    found = [data for body in _bodies(paths) for data in _take_apart(reader.post("/batch", body))]
    for path, data in zip(paths, found, strict=True):
        if data != (files / path).read_bytes():
            raise RuntimeError(f"other bytes than the origin's in a batch: {path}")
