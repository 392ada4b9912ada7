"""The rows: all are found, say what they hold themselves to, and stand on agents that run."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from tests.perf.bench import discovery, simulated
from tests.perf.bench.agents import DATASET, Seat, running_agents
from tests.perf.bench.rows.store import PIECE, fill
from tests.support.lab import make_files
from tests.support.lab_origin import LabOrigin

MIB = 1 << 20
BARS = {
    "local-seq": {
        ("first pass", "filecache"): (0.7, 0.8),
        ("second pass", "filecache"): (0.9, 1.0),
        ("verify OnFill", "filecache"): (0.9, 1.0),
        ("verify OnFill", "os.preadv"): (0.8, None),
    },
    "local-rand": {
        ("first touch", "blockcache"): (0.4, 0.6),
        ("steady", "blockcache"): (0.9, 1.2),
    },
    "local-open": {
        ("open, read, close", "filecache"): (4.0, None),
        ("cat of lists of 256", "filecache"): (10.0, None),
        ("cat of lists of 256", "plain files"): (None, 1.0),
    },
    "names": {
        ("info", ""): (100_000, 200_000),
        ("ls of 1,000 entries", ""): (0.005, None),
        ("find of all", ""): (2.0, 1.0),
        ("first byte of a new process", ""): (0.05, None),
    },
    "agent-cost": {
        ("idle memory", ""): (60, None),
        ("idle processor", ""): (0.2, None),
        ("memory, of 4 MiB, in objects of one", ""): (250, 150),
        ("memory, of 4 MiB, in objects of a thousand", ""): (250, 150),
        ("memory, of 10 KiB, in packs", ""): (250, 150),
        ("start to the first byte, of 4 MiB, in objects of one", ""): (5, 2),
        ("start to the first byte, of 4 MiB, in objects of a thousand", ""): (5, 2),
        ("start to the first byte, of 10 KiB, in packs", ""): (5, 2),
    },
    "store": {("fill and sync", "cp and sync"): (0.7, 0.9)},
}
"""What the suite promises to hold itself to: (bar, aim) by row, case and peer."""

ROWS = discovery.rows()


def test_there_are_rows_in_their_order():
    names = [row.name for row in ROWS]
    assert BARS.keys() <= set(names)
    known = [name for name in names if name in discovery.ORDER]
    assert known == sorted(known, key=discovery.ORDER.index)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_is_named_as_its_module_and_says_what_it_does(row):
    assert row.name == row.module.NAME
    assert row.work
    assert not row.work.endswith(".")
    assert callable(row.module.run)


@pytest.mark.parametrize("name", BARS)
def test_the_bars_are_the_promised_ones(name):
    (row,) = discovery.chosen(ROWS, [name])
    assert row.bars == BARS[name]


def test_rows_are_chosen_by_either_spelling():
    assert [row.name for row in discovery.chosen(ROWS, ["local_seq", "names"])] == [
        "local-seq",
        "names",
    ]
    assert all(not row.opt_in for row in discovery.chosen(ROWS, []))
    with pytest.raises(KeyError, match="speed"):
        discovery.chosen(ROWS, ["local-seq", "speed"])


@pytest.fixture
def origin(tmp_path):
    served = tmp_path / "o"
    served.mkdir()
    running = LabOrigin(served)
    yield running
    running.stop()


def test_agents_start_where_they_are_told_and_can_be_warmed(tmp_path, origin):
    files = make_files(origin.folder, large=1, small=4)
    seats = [Seat(prefix=("env", "MARK=seat"), cpus=(0,)), Seat(environment={"MARK": "other"})]
    with running_agents(tmp_path / "a", origin.source, seats=seats, tier=tmp_path / "t") as agents:
        agents.warm()
        assert sum(agent.held() for agent in agents) >= sum(map(len, files.values()))
        marks = [Path(f"/proc/{pid}/environ").read_bytes() for pid in agents.pids]
        assert b"MARK=seat" in marks[0]
        assert b"MARK=other" in marks[1]
        assert {path.name for path in (tmp_path / "t").iterdir()} == {"n0", "n1"}
        system = fsspec.filesystem("cachectl", **agents[1].options)
        for path, data in files.items():
            assert system.cat_file(f"{DATASET}/{path}") == data
        assert agents[0].usage().rss > MIB
        assert "cachectl" in agents[0].metrics()
        before = agents[0].pid, agents[0].held()
        agents.restart(agents[0])
        assert agents[0].pid != before[0]
        assert (before[1] > 0) == (agents[0].held() > 0)
        processes = [agent.node.process for agent in agents]
    assert all(process.poll() is not None for process in processes)


@pytest.mark.parametrize(
    ("count", "size"), [(3, 9 * MIB + 5), (3000, 10 << 10)], ids=["objects", "packs"]
)
def test_a_simulated_store_is_one_that_an_agent_trusts_and_a_client_verifies(tmp_path, count, size):
    def prepare(node, tier):
        catalog = simulated.give_catalog(node, simulated.equal_files(count, size))
        simulated.fill(tier, catalog)

    with running_agents(
        tmp_path / "a",
        "http://127.0.0.1:9/",
        domain=None,
        tier=tmp_path / "t",
        prepare=prepare,
    ) as agents:
        options = agents[0].options | {"verify": "EveryRead"}
        system = fsspec.filesystem("cachectl", **options)
        path = f"{DATASET}/{simulated.path_of(count - 1)}"
        assert system.cat_file(path) == bytes(size)
        assert len(system.find(DATASET)) == count
        report = agents[0].report()
        assert report.datasets[0].owned_bytes + report.datasets[0].spare_bytes > 0
        assert report.counters["healed_cells"] == 0


def test_the_store_row_fills_what_it_says(tmp_path):
    source = tmp_path / "source"
    with source.open("wb") as file:
        file.truncate(PIECE)
    assert fill(tmp_path / "t", source, 1) == PIECE
    (data,) = (tmp_path / "t").rglob("*.data")
    assert data.stat().st_size == PIECE
