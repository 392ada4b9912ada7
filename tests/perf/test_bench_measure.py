"""The bench suite's own arithmetic, and what a row that breaks does to the others."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from dataclasses import dataclass, field

import pytest
from rich.console import Console

from tests.perf.bench.__main__ import run
from tests.perf.bench.measure import Measurement, measure_pair, measure_single, side, turns
from tests.perf.bench.process import family, loops_of, sample, usage
from tests.perf.bench.results import Spread, judge
from tests.perf.bench.row import Context, Gap, Pair, Sample, Single
from tests.perf.bench.screen import Screen

GIB = 1 << 30


@dataclass
class FakeRow:
    """A row whose cases are given; ``log`` tells what was started and stopped."""

    name: str
    cases: list
    work: str = "something"
    log: list[str] = field(default_factory=list)

    def run(self, context):
        self.log.append("started")
        try:
            for case in self.cases:
                if isinstance(case, BaseException):
                    raise case
                yield case
        finally:
            self.log.append("stopped")


def context():
    return Context("/nowhere", "/nowhere")


def fixed(seconds, work=1.0):
    return lambda: Sample(seconds, work)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([3], (3, 3, 3)),
        ([4, 1, 3], (3, 1, 4)),
        ([1, 2, 3, 4, 100], (3, 2, 4)),
    ],
    ids=["one", "few: least and greatest", "five: quartiles"],
)
def test_a_spread_is_the_median_and_its_neighbourhood(values, wanted):
    found = Spread.of(values)
    assert (found.median, found.low, found.high) == wanted


def test_sides_take_turns_and_change_who_goes_first():
    order = "".join("o" if ours else "t" for ours, _ in turns(5))
    assert order == "ottoottoot"


def test_a_drift_of_the_machine_leaves_the_ratio_alone():
    """The machine becomes ten times slower from pair to pair; ours takes half the time."""
    slowness = [1, 10, 100, 1000, 10000]
    ours, theirs = iter(slowness), iter(slowness)
    pair = Pair(
        "c", "p", "B", lambda: Sample(next(ours), 8), lambda: Sample(2 * next(theirs), 8), bar=1.5
    )
    found = measure_pair(pair, 5)
    assert found.ratio == Spread(2, 2, 2)
    assert found.pairs == 5
    assert found.ours.rate == pytest.approx(8 / 100)
    assert found.verdict == "bar"


def test_a_side_gives_processor_seconds_a_gib():
    found = side(
        [
            Sample(1, 1, client_cpu=0.5, server_cpu=2, rss=10, bytes=2 * GIB),
            Sample(1, 1, client_cpu=0.7, server_cpu=4, rss=30, bytes=2 * GIB),
        ]
    )
    assert (found.client_cpu, found.server_cpu, found.rss) == (0.3, 1.5, 30)
    quiet = side([Sample(1, 1, client_cpu=1)])
    assert (quiet.client_cpu, quiet.server_cpu, quiet.rss) == (None, None, None)


def test_a_figure_is_taken_as_often_as_it_asks():
    values = iter([5.0, 1.0, 3.0])
    found = measure_single(Single("c", "s", lambda: next(values), bar=2, times=3))
    assert found.value == Spread(3, 1, 5)
    assert found.verdict == "under"


@pytest.mark.parametrize(
    ("value", "bar", "aim", "best", "wanted"),
    [
        (0.69, 0.7, 0.8, "high", "under"),
        (0.7, 0.7, 0.8, "high", "bar"),
        (0.8, 0.7, 0.8, "high", "aim"),
        (5.1, 5, 2, "low", "under"),
        (2, 5, 2, "low", "aim"),
        (9, None, None, "low", "shown"),
        (0.9, None, 1.0, "high", "shown"),
        (1.1, None, 1.0, "high", "aim"),
    ],
)
def test_a_value_is_held_against_its_limits(value, bar, aim, best, wanted):
    assert judge(value, bar, aim, best) == wanted


def test_a_row_that_breaks_keeps_what_it_found_and_is_stopped():
    row = FakeRow(
        "r", [Pair("a", "p", "B", fixed(1), fixed(2)), Gap("b", "q", "why"), OSError("it broke\nx")]
    )
    found = Measurement().row(row, context())
    assert [pair.case for pair in found.pairs] == ["a"]
    assert [gap.why for gap in found.gaps] == ["why"]
    assert found.failure == "OSError: it broke"
    assert found.under
    assert row.log == ["started", "stopped"]


def test_a_turn_that_breaks_ends_its_row_too():
    def broken():
        raise RuntimeError

    row = FakeRow("r", [Pair("a", "p", "B", broken, fixed(1)), Gap("b", "q", "why")])
    found = Measurement().row(row, context())
    assert (found.failure, found.gaps, row.log) == ("RuntimeError", (), ["started", "stopped"])


def test_the_other_rows_go_on_and_an_interrupt_keeps_what_there_is(tmp_path):
    rows = [
        FakeRow("broken", [ValueError("no")]),
        FakeRow("good", [Pair("a", "p", "B", fixed(1), fixed(1))]),
        FakeRow("interrupted", [KeyboardInterrupt()]),
        FakeRow("never", []),
    ]
    screen = Screen(Console(file=io.StringIO()))
    results, interrupted = run(rows, screen, quick=True, scratch=tmp_path)
    assert interrupted
    assert [(row.name, row.failure) for row in results.rows] == [
        ("broken", "ValueError: no"),
        ("good", ""),
    ]
    assert results.rows[1].pairs[0].pairs == 3
    assert [row.log for row in rows] == [["started", "stopped"]] * 3 + [[]]
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_sample_repeats_its_work_for_long_enough_and_counts_the_server():
    code = "import sys\nfor _ in sys.stdin:\n  sum(range(10 ** 7))\n  print(flush=True)"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as server:

        def work():
            server.stdin.write(b"\n")
            server.stdin.flush()
            server.stdout.readline()
            return 2

        found = sample(work, seconds=0.3, servers=[server.pid], bytes_per_work=3)
        assert found.seconds >= 0.3
        assert found.work % 2 == 0
        assert found.bytes == 3 * found.work
        assert found.server_cpu > 0
        assert found.rss > 1 << 20
        once = sample(work, seconds=0, servers=[server.pid])
        assert once.work == 2
        server.stdin.close()
    assert usage([server.pid]).cpu == 0


def test_loops_are_as_long_as_the_run_says():
    with loops_of(0.0):
        assert sample(lambda: 1).work == 1


def test_usage_counts_descendants():
    code = "import subprocess,sys; subprocess.run([sys.executable,'-c',sys.argv[1]])"
    child = "print('up', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, child], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"up\n"
        assert len(family([process.pid])) == 2
        assert usage([process.pid]).rss > usage(family([process.pid]) - {process.pid}).rss
        process.stdin.close()
