"""Never wrong bytes: versions that change, disks that rot, origins that lie."""

from __future__ import annotations

import random
from dataclasses import replace

import fsspec
import pytest

from runtime.contract.units import MIB
from tests.support.lab import Lab

PATH = "train/shard.bin"


@pytest.fixture(name="data")
def _data(origin):
    data = random.Random(21).randbytes(9 * MIB)
    (origin.folder / "shard.bin").write_bytes(data)
    (origin.folder / "small").mkdir()
    for number in range(30):
        (origin.folder / "small" / f"{number:02}").write_bytes(
            random.Random(number).randbytes(9000)
        )
    return data


@pytest.fixture(name="pair")
def _pair(lab: Lab, origin, data):
    nodes = [lab.add("n0"), lab.add("n1")]
    lab.plan("cloud", datasets=(lab.dataset(origin.source),))
    lab.start()
    lab.until_ready()
    return nodes


def client(node, **options):
    return fsspec.filesystem("cachectl", socket=node.socket, skip_instance_cache=True, **options)


def flip_everywhere(lab: Lab, node, name: str = "*.data") -> int:
    """Flip one byte in every 64 KiB of what a node's tier holds, behind the agent's back."""
    flipped = 0
    for file in (lab.folder / "tiers" / node.name).rglob(name):
        with file.open("r+b") as handle:
            for offset in range(777, file.stat().st_size, 64 * 1024):
                handle.seek(offset)
                byte = handle.read(1)
                handle.seek(offset)
                handle.write(bytes([byte[0] ^ 0xFF]))
                flipped += 1
    return flipped


@pytest.mark.parametrize("way", ["descriptor", "socket", "batch"])
def test_bytes_that_rotted_on_disk_are_healed_and_counted(lab, origin, pair, data, way):
    node = pair[0]
    lab.read(node, PATH)
    small = {f"train/small/{n:02}": random.Random(n).randbytes(9000) for n in range(30)}
    for path in small:
        lab.read(node, path)
    lab.until(lambda: lab.settled(node))
    assert flip_everywhere(lab, node) > 100

    if way == "descriptor":
        fs = client(node)
        assert fs.cat_file(f"team/images/{PATH}") == data
        found = fs.cat([f"team/images/{path}" for path in small])
        assert found == {f"team/images/{path}": body for path, body in small.items()}
    elif way == "socket":
        assert lab.read(node, PATH) == data
        assert all(lab.read(node, path) == body for path, body in small.items())
    else:
        assert lab.batch(node, list(small)) == [(200, body) for body in small.values()]
        assert lab.read(node, PATH) == data

    assert lab.count("healed_cells", node) > 0


def test_bytes_that_rotted_with_a_peer_are_not_taken_from_it(lab, origin, pair, data):
    sender, receiver = pair
    lab.read(sender, PATH)
    lab.until(lambda: lab.settled(sender))
    flip_everywhere(lab, sender)

    assert lab.read(receiver, PATH) == data

    lies = lab.count("peer_lies", receiver)
    assert lies > 0


def change(origin, data: bytes) -> bytes:
    changed = bytes(byte ^ 0x55 for byte in data[:1000]) + data[1000:]
    origin.replace("shard.bin", changed)
    return changed


def test_an_object_that_changed_is_stale_and_never_a_mixture(lab, origin, pair, data):
    """The first chunk is cached at the old version, the others are gone with it."""
    node = pair[0]
    fs = client(node)
    handle = fs.open(f"team/images/{PATH}", block_size=MIB)
    first = handle.read(MIB)
    lab.until(lambda: lab.settled(node))
    change(origin, data)

    assert first == data[:MIB]
    handle.seek(8 * MIB)
    with pytest.raises(OSError, match=r"(?i)changed|stale|version") as failure:
        handle.read(MIB)
    assert failure.value.errno is not None


def test_a_pinned_dataset_takes_a_new_snapshot_when_asked_and_old_handles_keep_their_version(
    lab, origin, pair, data
):
    node = pair[0]
    fs = client(node)
    old = fs.open(f"team/images/{PATH}")
    assert old.read() == data
    old.seek(0)
    before = fs.ukey(f"team/images/{PATH}")
    changed = change(origin, data)

    dataset = replace(lab.dataset(origin.source), snapshot_request="again")
    plan = lab.plan("cloud", datasets=(dataset,))
    for each in pair:
        lab.until(lambda n=each: lab.report(n).plan_generation == plan.generation)
    first = {lab.report(each).datasets[0].snapshot for each in pair}
    lab.until(lambda: fs.ukey(f"team/images/{PATH}") != before, what="the new snapshot")

    assert fs.cat_file(f"team/images/{PATH}") == changed
    assert old.read() == data
    old.close()
    del old
    lab.until(
        lambda: (
            (
                len({lab.report(each).datasets[0].snapshot for each in pair}) == 1
                and {lab.report(each).datasets[0].snapshot for each in pair} != first
            )
            or len(first) == 1
        )
    )


def test_an_interval_dataset_finds_changes_by_itself_and_drops_old_versions(lab, origin, data):
    node = lab.add("n0", domain=None)
    dataset = replace(lab.dataset(origin.source), refresh_seconds=1)
    lab.plan(None, datasets=(dataset,))
    lab.start()
    lab.until_ready()
    assert lab.read(node, PATH) == data
    unchanged = lab.read(node, "train/small/07")
    lab.until(lambda: lab.settled(node))
    files = {f.name for f in (lab.folder / "tiers").rglob("*.data")}
    changed = change(origin, data)

    lab.until(lambda: lab.read(node, PATH) == changed, what="the change to be seen")

    lab.until(lambda: len(files - {f.name for f in (lab.folder / "tiers").rglob("*.data")}) == 1)
    origin.reset()
    assert lab.read(node, "train/small/07") == unchanged
    assert origin.requests("small/07") == 0


@pytest.mark.parametrize(
    "mode",
    [
        "announced-short",
        "chunked-short",
        "chunked-long",
        "shifted",
        "total",
        "no-range",
        "etag",
        "cut",
        "whole",
        "encoded",
    ],
)
def test_a_lying_origin_s_answer_never_reaches_a_reader_or_the_store(lab, origin, data, mode):
    node = lab.add("n0", domain=None)
    lab.plan(None, datasets=(lab.dataset(origin.source),))
    lab.start()
    lab.until_ready()
    origin.fault(mode)

    answer = lab.attempt(node, PATH, timeout=60)
    assert answer is None or answer == data

    origin.heal()
    lab.until(lambda: lab.attempt(node, PATH, timeout=60) == data, timeout=40)


def test_a_token_is_asked_for_and_a_forged_one_refused(lab, origin, data):
    node = lab.add("n0", domain=None)
    lab.plan(None, datasets=(lab.dataset(origin.source),))
    lab.start(trust=False)
    good = lab.token()
    lab.until(lambda: lab.answers(node, "/readyz") == 200)

    for token in (None, "nonsense", good[:-1] + "x", lab.token("team/other")):
        headers = {"authorization": f"Bearer {token}"} if token else {}
        for method, target in (
            ("GET", f"/team/images/{PATH}"),
            ("GET", "/v1/open/catalog?dataset=team/images"),
            ("POST", f"/v1/want?dataset=team/images&path={PATH}&cells=0"),
        ):
            status, _, body = lab.ask(node, method, target, **headers)
            assert status == 403, (token, target, body)
            assert data[:100] not in body
    status, _, body = lab.ask(node, "GET", f"/team/images/{PATH}", authorization=f"Bearer {good}")
    assert (status, body) == (200, data)
    assert good.rpartition(".")[2] not in node.log()
