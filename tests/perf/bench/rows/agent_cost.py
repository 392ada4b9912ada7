"""What an agent costs when nobody reads, and with a million things to keep."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Generator
from pathlib import Path

import fsspec

from tests.perf.bench import origins, simulated
from tests.perf.bench.agents import DATASET, Agents, RunningAgent, running_agents
from tests.perf.bench.local import MIB
from tests.perf.bench.row import Case, Context, Single

NAME = "agent-cost"
WORK = "memory, processor and start of one agent: idle, and with a million chunks or objects"
LARGE, SMALL = "of 4 MiB, in objects of one", "of 10 KiB, in packs"
LONG = "of 4 MiB, in objects of a thousand"
BARS = {
    ("idle memory", ""): (60.0, None),
    ("idle processor", ""): (0.2, None),
} | {
    case: limits
    for kind in (LARGE, LONG, SMALL)
    for case, limits in (
        ((f"memory, {kind}", ""), (250.0, 150.0)),
        ((f"start to the first byte, {kind}", ""), (5.0, 2.0)),
    )
}
NOWHERE = "http://127.0.0.1:9/"
"""An origin that is never asked."""


def run(context: Context) -> Generator[Case, None, None]:
    yield from _idle(context)
    count = context.sized(1_000_000, 20_000)
    quick = "" if count == 1_000_000 else f"; only {count:,} of them"
    yield from _full(context, LARGE, count, 4 * MIB, f"{count:,} objects of a chunk{quick}")
    thousands = max(count // 1000, 1)
    yield from _full(
        context, LONG, thousands, 4000 * MIB, f"{thousands:,} objects of a thousand chunks{quick}"
    )
    yield from _full(context, SMALL, count, 10 << 10, f"{count:,} objects in packs{quick}")


def _single(case: str, unit: str, measure: Callable[[], float], about: str) -> Single:
    bar, aim = BARS[case, ""]
    return Single(case, unit, measure, bar, aim, about=about)


def _megabytes(agent: RunningAgent) -> float:
    return agent.usage().rss / 1e6


def _peak_of_recovery(agents: Agents) -> float:
    agent = agents[0]
    agents.lab.until(
        lambda: all(tier.state != "Recovering" for tier in agent.report().tiers),
        300,
        "the end of the recovery",
    )
    return agent.usage().peak / 1e6


def _idle(context: Context) -> Generator[Case, None, None]:
    (origins.origin_folder(context) / "one.bin").write_bytes(bytes(MIB))
    seconds = context.sized(20.0, 4.0)
    folder = Path(context.folder)
    with (
        origins.running(context) as url,
        running_agents(folder / "i", f"{url}/") as agents,
    ):
        agent = agents[0]

        def processor() -> float:
            before, start = agent.usage().cpu, time.monotonic()
            time.sleep(seconds)
            return 100 * (agent.usage().cpu - before) / (time.monotonic() - start)

        about = f"over {seconds:.0f} s, in a domain of one, over an HTTP origin"
        yield _single("idle processor", "% of a core", processor, about)
        yield _single("idle memory", "MB", lambda: _megabytes(agent), "resident, just after")


def _full(
    context: Context, kind: str, count: int, size: int, about: str
) -> Generator[Case, None, None]:
    # In memory: making and removing millions of files on disk takes minutes, and says nothing.
    folder = Path(context.memory) / "full"
    with running_agents(
        folder / "a",
        NOWHERE,
        domain=None,
        tier=folder / "t",
        quota=1 << 44,
        timeout=300,
        prepare=lambda node, tier: simulated.fill(
            tier, simulated.give_catalog(node, simulated.equal_files(count, size))
        ),
    ) as agents:
        yield _single(
            f"start to the first byte, {kind}",
            "s",
            lambda: start_to_first_byte(agents, simulated.path_of(count - 1)),
            f"a process is started, and a reader waits for it; {about}",
        )
        yield _single(
            f"memory, {kind}",
            "MB",
            lambda: _peak_of_recovery(agents),
            "most resident until all that rests in the tier is known",
        )
    shutil.rmtree(folder)


def start_to_first_byte(agents: Agents, path: str) -> float:
    """Restart the agent; return the seconds from its start to a byte that a reader has."""
    agent = agents[0]
    agents.stop(agent)
    options = agent.options | {"timeout": 300.0}
    system = fsspec.filesystem("cachectl", skip_instance_cache=True, **options)
    start = time.monotonic()
    agents.start(agent)
    while True:
        try:
            data = system.cat_file(f"{DATASET}/{path}", 0, 1)
            break
        except OSError:  # it does not listen yet
            if time.monotonic() - start > 300:
                raise
            time.sleep(0.01)
    seconds = time.monotonic() - start
    if data != b"\0":
        raise RuntimeError(f"{path} read {data!r} instead of a zero")
    return seconds
