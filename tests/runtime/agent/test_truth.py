"""Never wrong bytes: versions that change, disks that rot, origins that lie."""

from __future__ import annotations

import contextlib
import errno
import http.client
import random
from dataclasses import replace

import fsspec
import pytest

from runtime.contract.units import MIB
from runtime.errors import StaleVersion
from tests.support.lab import Lab
from tests.support.lab_origin import LabOrigin

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


def test_bytes_that_rotted_with_a_peer_are_not_taken_from_it(lab, origin, data):
    """The receiver owns nothing, so that all it reads comes from the sender first."""
    sender, receiver = lab.add("n0"), lab.add("n1")
    owner, reader = lab.members("cloud")
    members = (owner, replace(reader, role="client", weight=0.0))
    lab.plan("cloud", datasets=(lab.dataset(origin.source),), members=members)
    lab.start()
    lab.until_ready()
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
    with pytest.raises(StaleVersion, match=r"shard\.bin") as failure:
        handle.read(MIB)
    assert isinstance(failure.value, OSError)
    assert failure.value.errno == errno.ESTALE
    assert fs.cat_file(f"team/images/{PATH}", 0, MIB) == data[:MIB]


def test_a_pinned_dataset_takes_a_new_snapshot_when_asked_and_old_handles_keep_their_version(
    lab, origin, pair, data
):
    node = pair[0]
    fs = client(node)
    old = fs.open(f"team/images/{PATH}")
    assert old.read() == data
    old.seek(0)
    before = {lab.report(each).datasets[0].snapshot for each in pair}
    version = fs.ukey(f"team/images/{PATH}")
    lab.until(lambda: lab.settled(node))
    old_files = shards(lab, node, len(data))
    assert len(before) == len(old_files) == 1
    changed = change(origin, data)

    dataset = replace(lab.dataset(origin.source), snapshot_request="again")
    lab.plan("cloud", datasets=(dataset,))
    lab.until(lambda: fs.ukey(f"team/images/{PATH}") != version, what="the new snapshot")
    lab.until(
        lambda: len(followed(lab, pair)) == 1 and not followed(lab, pair) & before,
        what="one new snapshot on both nodes",
    )

    assert fs.cat_file(f"team/images/{PATH}") == changed
    assert old.read() == data
    assert old_files < shards(lab, node, len(data))

    old.close()
    del old
    for each in pair:
        lab.until(
            lambda n=each: not shards(lab, n, len(data)) & old_files, what="the old version going"
        )
    assert shards(lab, node, len(data))


def followed(lab: Lab, nodes) -> set[str]:
    """Return the snapshots that nodes follow."""
    return {lab.report(node).datasets[0].snapshot for node in nodes}


def shards(lab: Lab, node, size: int) -> set[str]:
    """Return the names of the files that a node's tier has for objects of this size."""
    files = (lab.folder / "tiers" / node.name).rglob("*.data")
    return {file.name for file in files if file.stat().st_size == size}


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
    ("mode", "options"),
    [
        ("announced-short", {}),
        ("chunked-short", {}),
        ("chunked-long", {}),
        ("shifted", {}),
        ("total", {}),
        ("no-range", {}),
        ("etag", {}),
        ("cut", {}),
        ("whole", {}),
        ("encoded", {}),
        ("status", {"status": 503}),
        ("refuse", {}),
    ],
)
def test_a_lying_origin_s_answer_never_reaches_a_reader_or_the_store(
    lab, origin, data, mode, options
):
    node = lab.add("n0", domain=None)
    lab.plan(None, datasets=(lab.dataset(origin.source),))
    lab.start()
    lab.until_ready()
    origin.fault(mode, **options)

    answer = lab.attempt(node, PATH, timeout=60)
    assert answer is None or answer == data

    origin.heal()
    lab.until(lambda: lab.attempt(node, PATH, timeout=60) == data, timeout=40)


def test_an_origin_that_fails_midway_gives_an_error_or_right_bytes(lab, origin, data):
    node = lab.add("n0", domain=None)
    lab.plan(None, datasets=(lab.dataset(origin.source),))
    lab.start()
    lab.until_ready()
    origin.reset()
    origin.fault("cut")
    reading = lab.start_read(node, PATH)
    lab.until(lambda: origin.requests("shard.bin") >= 1, what="the first, cut answers")
    origin.fault("status", status=503)

    with contextlib.suppress(http.client.HTTPException, ConnectionError):
        status, body = reading()
        assert status in (200, 502, 504)
        assert status != 200 or body == data
    assert lab.count("origin_failures", node) > 0

    origin.heal()
    lab.until(lambda: lab.attempt(node, PATH, timeout=60) == data, timeout=40)


def test_an_origin_that_drips_or_says_nothing_once_is_asked_again_within_the_read(
    lab, origin, data
):
    """Two nodes at two origins, at the same time, as each takes its patience."""
    other = LabOrigin(origin.folder)
    try:
        dripping, silent = (lab.add(name, domain=None) for name in ("dripping", "silent"))
        plan = lab.plan(None, datasets=(lab.dataset(origin.source),))
        lab.give(silent, replace(plan, datasets=(lab.dataset(other.source),)))
        lab.start()
        lab.until_ready()
        origin.fault("drip", times=1, seconds=0.01)
        other.fault("stall", times=1, seconds=13)
        reading = lab.start_read(silent, PATH)

        assert lab.attempt(dripping, PATH, timeout=60) == data
        assert reading() == (200, data)
    finally:
        other.stop()


def test_a_token_is_asked_for_and_a_forged_one_refused(lab, origin, data):
    node = lab.add("n0", domain=None)
    lab.plan(None, datasets=(lab.dataset(origin.source),))
    lab.start(trust=False)
    good = lab.token()
    lab.until(lambda: lab.answers(node, "/readyz") == 200)

    other = lab.token("team/other")
    for token in (None, "nonsense", good[:-1] + "x", other):
        headers = {"authorization": f"Bearer {token}"} if token else {}
        for method, target in (
            ("GET", f"/team/images/{PATH}"),
            ("GET", "/v1/open/catalog?dataset=team/images"),
            ("POST", f"/v1/want?dataset=team/images&path={PATH}&cells=0"),
        ):
            status, _, body = lab.ask(node, method, target, **headers)
            assert status == (403 if token == other else 401), (token, target, body)
            assert data[:100] not in body
    status, _, body = lab.ask(node, "GET", f"/team/images/{PATH}", authorization=f"Bearer {good}")
    assert (status, body) == (200, data)
    assert good.rpartition(".")[2] not in node.log()
