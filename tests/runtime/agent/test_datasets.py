"""What a plan may ask for a Dataset: copies, prewarms of a part, several at once, a selection."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import pytest

from runtime.contract.units import MIB
from tests.support.lab import Lab, make_files, prewarm
from tests.support.lab_origin import LabOrigin


@pytest.fixture(name="files")
def _files(origin):
    return make_files(origin.folder, large=3, small=20)


def start(lab: Lab, count: int, **changes) -> None:
    """Start a domain of ``count``."""
    for number in range(count):
        lab.add(f"n{number}")
    lab.plan("cloud", **changes)
    lab.start()
    lab.until_ready()


def warm(lab: Lab) -> bool:
    return all(map(lab.is_warm, lab.nodes.values()))


def held(lab: Lab) -> tuple[int, int]:
    """Return the bytes that the domain's nodes keep as owners, and as spares."""
    reports = [lab.report(node).datasets[0] for node in lab.nodes.values()]
    return sum(r.owned_bytes for r in reports), sum(r.spare_bytes for r in reports)


def test_two_copies_lie_on_two_members_cross_once_and_stay_owned(lab, origin, files):
    total = sum(map(len, files.values()))
    dataset = lab.dataset(origin.source, copies=2)
    start(lab, 3, datasets=(dataset,))
    lab.plan("cloud", datasets=(dataset,), prewarms=(prewarm(copies=2),))
    lab.until(lambda: warm(lab), what="the prewarm")

    assert origin.body_bytes() == lab.count("origin_bytes") == total
    assert sum(lab.report(n).prewarms[0].bytes_done for n in lab.nodes.values()) == 2 * total
    owned, spare = held(lab)
    assert 2 * total <= owned < 2.1 * total
    assert spare == 0

    plan = lab.plan("cloud", datasets=(dataset,))
    for node in lab.nodes.values():
        lab.until(lambda n=node: lab.report(n).plan_generation == plan.generation)
        lab.until(lambda n=node: lab.settled(n))
    assert held(lab) == (owned, 0)

    lab.nodes["n0"].kill()
    for node in ("n1", "n2"):
        for path, data in files.items():
            assert lab.read(lab.nodes[node], f"train/{path}") == data
    assert origin.body_bytes() == total, "one member may die without a second crossing"


def test_a_prewarm_of_paths_loads_these_and_no_other(lab, origin, files):
    (origin.folder / "shards-too").mkdir()
    (origin.folder / "shards-too" / "x.tar").write_bytes(bytes(2 * MIB))
    job = prewarm(paths=("/train/shards/", "train/nothing"))
    start(lab, 2, datasets=(lab.dataset(origin.source),), prewarms=(job,))
    lab.until(lambda: warm(lab), what="the prewarm")

    wanted = {path for path in files if path.startswith("shards/")}
    size = sum(len(files[path]) for path in wanted)
    shares = [lab.report(node).prewarms[0] for node in lab.nodes.values()]
    assert {path for path in files if origin.requests(path)} == wanted
    assert origin.requests("shards-too/x.tar") == 0
    assert origin.body_bytes() == size
    assert sum(share.bytes_total for share in shares) == size
    assert sum(share.bytes_done for share in shares) == size
    assert sum(share.files_done for share in shares) == len(wanted)


def test_a_prewarm_keeps_to_its_own_rate(lab, origin):
    rate = 4 * MIB
    files = {f"{n:02}": random.Random(n).randbytes(MIB) for n in range(12)}
    for path, data in files.items():
        (origin.folder / path).write_bytes(data)
    job = prewarm(bytes_per_second=rate)
    start(lab, 2, datasets=(lab.dataset(origin.source),), prewarms=(job,))
    started, before = time.monotonic(), origin.body_bytes()
    assert before <= 4 * MIB
    while not warm(lab):
        elapsed = time.monotonic() - started
        assert elapsed < 15, "the prewarm is stuck"
        assert origin.body_bytes() - before <= rate * elapsed + 3 * MIB
        time.sleep(0.1)

    assert time.monotonic() - started > (12 * MIB - before) / rate - 1
    assert origin.body_bytes() == sum(map(len, files.values()))


def test_datasets_live_side_by_side_and_leave_alone(lab, origin, files, tmp_path):
    folder = tmp_path / "second"
    folder.mkdir()
    texts = make_files(folder, large=1, small=5, seed=9)
    second = LabOrigin(folder)
    try:
        images = lab.dataset(origin.source)
        words = replace(lab.dataset(second.source), name="words", uid="ds-2")
        start(lab, 2, datasets=(images, words))
        node = lab.nodes["n0"]
        for path, data in texts.items():
            status, _, body = lab.ask(node, "GET", f"/team/words/train/{path}")
            assert (status, body) == (200, data)
        for path, data in files.items():
            assert lab.read(node, f"train/{path}") == data
        reports = {report.dataset: report for report in lab.report(node).datasets}
        assert reports.keys() == {"team/images", "team/words"}
        assert reports["team/words"].files == len(texts)
        assert reports["team/images"].bytes == sum(map(len, files.values()))
        used = lab.report(node).tiers[0].used

        lab.plan("cloud", datasets=(images,))
        lab.until(lambda: [d.dataset for d in lab.report(node).datasets] == ["team/images"])
        lab.until(lambda: lab.report(node).tiers[0].used < used, what="the words' bytes going")

        origin.reset()
        for path, data in files.items():
            assert lab.read(node, f"train/{path}") == data
        assert origin.body_bytes() == 0
        assert lab.ask(node, "GET", f"/team/words/train/{next(iter(texts))}")[0] == 404
    finally:
        second.stop()


def test_a_mount_shows_what_it_includes_and_nothing_else(lab, origin, files):
    dataset = lab.dataset(origin.source)
    mount = replace(dataset.mounts[0], include=("images/**/*.jpg",), exclude=("images/2/*",))
    start(lab, 2, datasets=(replace(dataset, mounts=(mount,)),))
    shown = {p for p in files if p.startswith("images/") and not p.startswith("images/2/")}

    for node in lab.nodes.values():
        report = lab.report(node).datasets[0]
        assert (report.files, report.bytes) == (len(shown), sum(len(files[p]) for p in shown))
        for path, data in files.items():
            status, _, body = lab.ask(node, "GET", f"/team/images/train/{path}")
            assert (status, body == data) == ((200, True) if path in shown else (404, False)), path
    assert {path for path in files if origin.requests(path)} == shown
