"""Object stores behind a whole local cluster: real agents, signed requests, endpoints by class."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import random
from pathlib import Path

import pytest

from cache_ctl.api.conditions import find
from cache_ctl.api.kinds import CACHE_PREWARM, DATASET, KINDS, SECRET
from cache_ctl.local.world import LocalWorld
from runtime.client.filesystem import CacheFileSystem
from tests.support.objects import SPACE, cloud_node, dataset, edge_node, pool, prewarm, runtime
from tests.support.oss_server import REGION, Key, running_oss
from tests.support.s3_server import running_s3

REF = f"{SPACE}/images"
SECONDS = 60
PLANTED = {"key": "planted-key", "secret": "planted-hush", "token": "planted-token"}
GOOD = {"planted-key": Key("planted-hush", "planted-token")}


def on_loopback(bodies):
    """Give nodes addresses of their own, so that several runs can share one machine."""
    network = f"127.{random.randrange(130, 250)}.{random.randrange(1, 250)}"
    for number, body in enumerate(bodies):
        if body["kind"] == "Node":
            body["status"]["addresses"][0]["address"] = f"{network}.{number + 1}"
    return bodies


def secret(values):
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "store", "namespace": SPACE},
        "data": data,
    }


def nodes(tmp_path):
    tier = {"medium": "SSD", "path": str(tmp_path / "tier"), "quota": "64Mi"}
    return [
        cloud_node(1),
        cloud_node(2),
        pool("plant", "private"),
        edge_node("plant", 1),
        edge_node("plant", 2),
        pool("stores", "basic"),
        edge_node("stores", 1),
        runtime(tiers=[tier]),
    ]


def files(bucket):
    """Fill a bucket, and return what lies below ``train/``."""
    made = {
        "large.bin": random.Random(1).randbytes((9 << 20) + 17),
        "few/ü 1.txt": b"one",
        **{f"many/{n}.jpg": random.Random(n).randbytes(3000 + n) for n in range(40)},
    }
    for path, data in {f"train/{k}": v for k, v in made.items()}.items():
        (bucket / path).parent.mkdir(parents=True, exist_ok=True)
        (bucket / path).write_bytes(data)
    (bucket / "elsewhere.bin").write_bytes(b"not asked for")
    return made


@pytest.fixture
def oss(tmp_path):
    (tmp_path / "store" / "bucket").mkdir(parents=True)
    with running_oss(tmp_path / "store", GOOD) as oss:
        yield oss


def images(oss, **mount):
    internal, public = oss.endpoints
    endpoints = {"cloud": internal, "dedicated": internal, "basic": public}
    source = {"name": "train", "source": "oss://bucket/train", "endpoints": endpoints}
    return dataset(mounts=[{**source, "secretRef": {"name": "store"}, **mount}])


async def until_warm(world):
    await world.until(
        lambda w: (
            w.is_true(CACHE_PREWARM, "warm", SPACE, condition="Complete")
            and w.is_true(DATASET, "images", SPACE, condition="Warm")
        ),
        seconds=SECONDS,
        what="the prewarm to complete",
    )


async def all_read(world, expected):
    """Read every file on every node, and hold it against what the store has."""

    def read(node):
        filesystem = CacheFileSystem(
            socket=str(world.socket(node)),
            token_file=str(world.token_file(REF)),
            skip_instance_cache=True,
        )
        for path, data in expected.items():
            assert filesystem.cat_file(f"{REF}/train/{path}") == data

    for node in world.nodes():
        await asyncio.to_thread(read, node)


async def test_each_class_reads_from_its_own_endpoint_and_all_bytes_are_right(tmp_path, oss):
    expected = files(oss.root / "bucket")
    whole = sum(map(len, expected.values()))
    objects = [*nodes(tmp_path), secret(PLANTED), images(oss), prewarm(includeLocalOnly=True)]
    internal, public = oss.endpoints
    async with LocalWorld(tmp_path / "s") as world:
        await world.apply(on_loopback(objects))
        await until_warm(world)
        counts = oss.counts()
        await all_read(world, expected)
        afterwards = oss.counts()

    assert counts[internal]["bytes"] == 2 * whole  # once for each of the two domains
    assert counts[public]["bytes"] == whole
    assert set(counts[internal]) == set(counts[public]) == {"reads", "others", "bytes"}
    assert not any(count.get("reads") for count in afterwards.values())


async def test_requests_are_signed_by_version_4_where_the_region_is_told(tmp_path, oss):
    expected = files(oss.root / "bucket")
    mount = {"options": {"region": REGION}}
    objects = [cloud_node(1), nodes(tmp_path)[-1], secret(PLANTED), images(oss, **mount)]
    async with LocalWorld(tmp_path / "s") as world:
        await world.apply(on_loopback(objects))
        await ready(world)
        await all_read(world, expected)


async def ready(world):
    def everywhere(world):
        told = [
            dataset.snapshot for report in world.reports.values() for dataset in report.datasets
        ]
        return len(told) == len(world.nodes()) and all(told)

    await world.until(
        lambda w: w.is_true(DATASET, "images", SPACE, condition="Ready") and everywhere(w),
        seconds=SECONDS,
        what="the Dataset to be ready on every node",
    )


def sentence(world, kind="SnapshotTaken"):
    """Return the message of a condition that is not True, else an empty one."""
    body = world.objects.get(DATASET, "images", SPACE)
    found = find(body, kind) if body is not None else None
    return found.message if found is not None and found.status != "True" else ""


async def test_a_wrong_key_is_told_without_it_and_heals_with_the_secret(tmp_path, oss):
    expected = files(oss.root / "bucket")
    wrong = PLANTED | {"secret": "planted-wrong"}
    objects = [*nodes(tmp_path), secret(wrong), images(oss)]
    async with LocalWorld(tmp_path / "s", log_level="DEBUG") as world:
        await world.apply(on_loopback(objects))
        await world.until(
            lambda w: "SignatureDoesNotMatch" in sentence(w), seconds=SECONDS, what="the sentence"
        )
        told = sentence(world)
        await world.apply([secret(PLANTED)])
        await ready(world)
        await all_read(world, expected)
        assert planted_in(world, tmp_path / "s") == []
    assert planted_in_files(tmp_path / "s") == []

    assert "the mount 'train' (oss://bucket/train)" in told
    assert "the origin answers 403 SignatureDoesNotMatch" in told
    assert "do not belong together; correct them" in told


def planted_in(world, state):
    """Return where a planted value shows: in objects, command lines, environments and files."""
    shown = [
        f"{kind.name} {body['metadata']['name']}"
        for kind in KINDS
        if kind != SECRET
        for body in world.objects.list(kind)
        if "planted-" in json.dumps(body)
    ]
    processes = [
        f"{name} of {report.pid}"
        for report in world.reports.values()
        for name in ("cmdline", "environ")
        if b"planted-" in Path(f"/proc/{report.pid}/{name}").read_bytes()
    ]
    return shown + processes + planted_in_files(state)


def planted_in_files(state):
    """Return the files in which a planted value shows, but those that hand the secret over."""
    found = []
    for path in state.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # replaced while we look
            handed = "secrets" in path.relative_to(state).parts
            if path.is_file() and not handed and b"planted-" in path.read_bytes():
                found.append(str(path))
    return found


async def test_s3_lists_reads_and_refuses_as_oss_does(tmp_path):
    with running_s3("bucket") as s3:
        store = tmp_path / "store"
        store.mkdir()
        expected = files(store)
        s3.put_tree(store)
        login = {"key": s3.key, "secret": s3.secret}
        mount = {
            "name": "train",
            "source": "s3://bucket/train",
            "endpoints": {"cloud": s3.url, "dedicated": s3.url, "basic": s3.other_url},
            "secretRef": {"name": "store"},
        }
        objects = [
            *nodes(tmp_path),
            secret(login | {"secret": "planted-wrong"}),
            dataset(mounts=[mount]),
            prewarm(includeLocalOnly=True),
        ]
        async with LocalWorld(tmp_path / "s") as world:
            await world.apply(on_loopback(objects))
            await world.until(
                lambda w: "403 SignatureDoesNotMatch" in sentence(w),
                seconds=SECONDS,
                what="the sentence",
            )
            await world.apply([secret(login)])
            await until_warm(world)
            reads = s3.reads()
            await all_read(world, expected)
            assert planted_in(world, tmp_path / "s") == []
            assert s3.reads() == {}
    assert set(reads) == {s3.url, s3.other_url}


async def test_a_source_that_cannot_be_listed_is_told_in_one_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "a.txt").write_bytes(b"x")
    mounts = {
        "missing": {"source": f"file://{tmp_path}/nowhere"},
        "empty": {"source": f"file://{tmp_path}/empty"},
        "unmatched": {"source": f"file://{tmp_path}/some", "include": ["**/*.jpg"]},
        "one-file": {"source": f"file://{tmp_path}/some/a.txt"},
        "nobody": {"source": "http://127.0.0.1:1/data"},
        "memory": {"source": "memory://bucket"},
        "no-package": {"source": "gs://bucket/train"},
        "no-secret": {"source": "http://127.0.0.1:1/", "secretRef": {"name": "nothing"}},
        "no-endpoint": {"source": "oss://bucket/train"},
        "half": {
            "source": "oss://b/t",
            "secretRef": {"name": "store"},
            "options": {"endpoint": "h"},
        },
    }
    expected = {
        "missing": "nowhere) does not exist; check the mount's source",
        "empty": "no object matches at",
        "unmatched": "check source, include and exclude",
        "one-file": "is one file; name its folder, and the file in include",
        "nobody": "the origin cannot be reached: 127.0.0.1:1: Connection refused; check",
        "memory": "lies in the memory of one process",
        "no-package": "Please install gcsfs",
        "no-secret": "has not reached this node; create it",
        "no-endpoint": "names no endpoint for Cloud nodes; set endpoints.cloud",
        "half": "has only one of key and secret; set both",
    }
    objects = [
        cloud_node(1),
        nodes(tmp_path)[-1],
        secret({"key": "planted-key"}),
        *(dataset(name, mounts=[{"name": "train", **mount}]) for name, mount in mounts.items()),
    ]
    async with LocalWorld(tmp_path / "s") as world:
        await world.apply(on_loopback(objects))

        def told(name):
            found = find(world.objects.get(DATASET, name, SPACE) or {}, "SnapshotTaken")
            return found.message if found is not None and found.status == "False" else ""

        for name, words in expected.items():
            await world.until(lambda w: words in told(name), seconds=SECONDS, what=name)  # noqa: B023
        assert not any("Traceback" in told(name) or "\n" in told(name) for name in expected)
        assert planted_in(world, tmp_path / "s") == []
