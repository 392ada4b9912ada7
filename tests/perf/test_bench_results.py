"""What a run leaves behind: its file, the comparison of two, the page, the command."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.errors import ConfigError
from tests.perf.bench import words
from tests.perf.bench.machine import Machine, describe
from tests.perf.bench.page import write
from tests.perf.bench.results import (
    Change,
    GapResult,
    PairResult,
    Results,
    RowResult,
    Side,
    SingleResult,
    Spread,
    compare,
)
from tests.support.origin import REPOSITORY

MIB = 1 << 20
GIB = 1 << 30
MACHINE = Machine("CPU", 2, 16 * GIB, "Linux 6", "CPython 3", "ext4", "tmpfs", 0.5)
SLOW = PairResult(
    "first touch",
    "blockcache",
    "reads",
    Spread(0.3, 0.25, 0.35),
    Side(6000, 0.4),
    Side(20000, 0.2),
    5,
    bar=0.4,
    aim=0.6,
)
QUICK = PairResult(
    "one pass",
    "nginx",
    "B",
    Spread(1.1, 1.0, 1.2),
    Side(2.2 * GIB, 0.1, 0.2, 50 * MIB),
    Side(2 * GIB, 0.1, 0.3, 12 * MIB),
    5,
    "dropped",
    0.95,
    1.0,
)
START = SingleResult("start", "s", Spread(1.5, 1.4, 1.6), "low", 5.0, 2.0, "a process | waits")
RESULTS = Results(
    "2026-01-02 03:04 UTC",
    MACHINE,
    seconds=600,
    versions={"nginx": "1.22", "fsspec": "2026.1"},
    rows=(
        RowResult("local-rand", "random reads", 10, pairs=(SLOW,)),
        RowResult("peer-seq", "large bodies", 12, (QUICK,), (START,), (GapResult("a", "b", "c"),)),
        RowResult("store", "fill", 1, failure="OSError: no room"),
    ),
)


def bench(*arguments):
    """Run the suite's command and return the finished process."""
    return subprocess.run(
        [sys.executable, "-m", "tests.perf.bench", *arguments],
        cwd=REPOSITORY,
        env=os.environ | {"NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_results_come_back_from_their_file(tmp_path):
    path = tmp_path / "new" / "bench.json"
    RESULTS.save(path)
    assert Results.load(path) == RESULTS
    assert [entry.name for entry in path.parent.iterdir()] == ["bench.json"]


def test_another_file_is_refused_with_the_field(tmp_path):
    path = tmp_path / "other.json"
    path.write_text('{"started": 3}')
    with pytest.raises(ConfigError, match=r"started is 3"):
        Results.load(path)


def test_what_is_under_its_bar_is_known_by_row():
    assert [row.under for row in RESULTS.rows] == [True, False, True]
    assert RESULTS.under
    assert not replace(RESULTS, rows=RESULTS.rows[1:2]).under


def test_two_runs_are_compared_case_by_case():
    faster = replace(SLOW, ratio=Spread(0.6, 0.5, 0.7))
    slower = replace(START, value=Spread(3.0, 1.5, 3.1))
    new = replace(
        RESULTS,
        rows=(
            RowResult("local-rand", "", 1, pairs=(faster, replace(SLOW, peer="filecache"))),
            RowResult("peer-seq", "", 1, singles=(slower,)),
        ),
    )
    found = list(compare(RESULTS, new))
    assert found == [
        Change(
            "local-rand",
            "first touch",
            "blockcache",
            "x",
            SLOW.ratio,
            faster.ratio,
            2.0,
            clear=True,
        ),
        Change("peer-seq", "start", "", "s", START.value, slower.value, 0.5, clear=False),
    ]


def test_the_machine_is_described(tmp_path):
    found = describe(tmp_path, Path("/proc"))
    assert found.cores >= 1
    assert found.memory > 64 * MIB
    assert found.ram == "proc"
    assert found.disk not in ("", "unknown")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "B", "0 B"),
        (1.5 * GIB, "B", "1.5 GiB"),
        (130 * MIB, "B", "130 MiB"),
        (0.0023, "s", "2.3 ms"),
        (90, "s", "90 s"),
        (117_000, "paths/s", "117 k paths/s"),
        (4944, "files", "4944 files"),
        (0.12, "% of a core", "0.12 % of a core"),
    ],
)
def test_amounts_are_scaled(value, unit, text):
    assert words.amount(value, unit) == text


def test_the_page_shows_everything_and_marks_what_is_under_its_bar(tmp_path):
    page = tmp_path / "performance.md"
    folder = tmp_path / "performance"
    folder.mkdir()
    (folder / "how.md").write_text("It was slow, and then it was not.\n")
    write(RESULTS, page)
    text = page.read_text()
    lines = {line.split(" | ")[0].strip("| "): line for line in text.splitlines()}
    assert "2 of 3 bars are met, and 2 of 3 aims." in text
    assert "[local-rand](#local-rand), [store](#store)." in text
    assert "0.30 (0.25 to 0.35) | ≥ 0.4, aim 0.6 | **under its bar**" in lines["first touch"]
    assert "aim met | 2.2 GiB/s / 2 GiB/s | 0.10 / 0.10 | 0.20 / 0.30" in lines["one pass"]
    assert lines["one pass"].endswith("| dropped |")
    assert "≤ 5 s, aim 2 s | aim met | a process \\| waits |" in lines["start"]
    assert "**It failed**: OSError: no room" in text
    assert "| peer-seq | a | b | c |" in text
    assert "fsspec 2026.1, nginx 1.22" in lines["installed"]
    assert text.endswith("## How it gets there\n\nIt was slow, and then it was not.\n")
    for name in ("ratios", "throughput", "processor"):
        assert f"(performance/{name}.svg)" in text
        assert ET.parse(folder / f"{name}.svg").getroot().tag.endswith("svg")


def test_the_same_results_make_the_same_page_and_stale_plots_go(tmp_path):
    page, plot = tmp_path / "p.md", tmp_path / "p" / "throughput.svg"
    write(RESULTS, page)
    before = page.read_bytes(), plot.read_bytes()
    write(RESULTS, page)
    assert (page.read_bytes(), plot.read_bytes()) == before
    write(replace(RESULTS, rows=RESULTS.rows[:1]), page)
    assert not plot.exists()
    assert "throughput.svg" not in page.read_text()


def test_the_command_judges_compares_and_draws_from_a_file(tmp_path):
    path = tmp_path / "bench.json"
    RESULTS.save(path)
    page = tmp_path / "performance.md"
    told = ("--from", str(path), "--compare", str(path), "--page", str(page))
    done = bench(*told)
    assert done.returncode == 0, done.stderr
    assert "under its bar: local-rand: first touch 0.30 of blockcache, bar 0.4" in done.stdout
    assert "under its bar: store: failed: OSError: no room" in done.stdout
    assert page.exists()
    assert bench(*told, "--strict").returncode == 1


def test_a_row_that_is_not_there_is_named():
    done = bench("--only", "speed")
    assert done.returncode == 1
    assert "--only is 'speed'; the rows are" in done.stderr
    assert "Traceback" not in done.stderr
