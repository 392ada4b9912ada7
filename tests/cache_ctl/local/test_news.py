"""The lines that ``cachectl up`` prints while objects change."""

from __future__ import annotations

import pytest

from cache_ctl.api.kinds import CACHE_PREWARM, CACHE_WORKER, DATASET, EVENT
from cache_ctl.kube.cache import ObjectCache
from cache_ctl.local.news import News
from tests.support.objects import SPACE, dataset, prewarm


class World:
    """What the news look at."""

    def __init__(self):
        self.objects = ObjectCache()
        self.processes = {}


@pytest.fixture
def world():
    return World()


@pytest.fixture
def lines(world):
    found = []
    News(world, found.append)
    return found


def worker(*, ready, mode="Distributed", message=""):
    spec = {"node": "n1", "networkClass": "Cloud", "domain": "r", "mode": mode, "reason": "Why"}
    return {
        "kind": "CacheWorker",
        "metadata": {"name": "edge.n1", "namespace": SPACE},
        "spec": spec,
        "status": {"ready": ready, "message": message},
    }


def condition(kind, status):
    return {
        "type": kind,
        "status": status,
        "reason": "Because",
        "message": "so",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "observedGeneration": 1,
    }


def test_agents_come_move_and_fall_silent(world, lines):
    for body in (
        worker(ready=False),
        worker(ready=True),
        worker(ready=True),
        worker(ready=True, mode="LocalOnly"),
        worker(ready=False, mode="LocalOnly", message="no room"),
    ):
        world.objects.observe(CACHE_WORKER, body)
    world.objects.forget(CACHE_WORKER, worker(ready=False))

    assert lines == [
        "n1: agent is ready as Cloud, Distributed in r (Why)",
        "n1: is now Cloud, LocalOnly (Why)",
        "n1: agent is not ready: no room",
        "n1: no agent is wanted here any more",
    ]


def test_a_dataset_is_told_with_its_numbers(world, lines):
    body = dataset()
    body["metadata"]["generation"] = 1
    ready = {"conditions": [condition("Ready", "True")]}
    for snapshot in ("one", "one", "two"):
        status = {**ready, "snapshot": {"id": snapshot, "files": 3, "bytes": 2048}}
        world.objects.observe(DATASET, {**body, "status": status})

    assert lines == [
        f"Dataset {SPACE}/images: is ready, 3 files, 2.0Ki",
        f"Dataset {SPACE}/images: follows a new snapshot, 3 files, 2.0Ki",
    ]


def test_a_prewarm_is_told_by_quarters_and_at_its_end(world, lines):
    body = prewarm()
    body["metadata"] |= {"generation": 1, "uid": "u"}
    for done in (0, 10, 26, 30, 80):
        world.objects.observe(
            CACHE_PREWARM, {**body, "status": {"bytesDone": done, "bytesTotal": 100}}
        )
    end = {"bytesDone": 100, "bytesTotal": 100, "filesDone": 4}
    end["conditions"] = [condition("Complete", "True")]
    world.objects.observe(CACHE_PREWARM, {**body, "status": end})

    assert lines == [
        f"CachePrewarm {SPACE}/warm: 26%, 26 of 100",
        f"CachePrewarm {SPACE}/warm: 80%, 80 of 100",
        f"CachePrewarm {SPACE}/warm: is complete, 4 files, 100",
    ]


def test_events_are_told_with_their_object(world, lines):
    about = {"kind": "Dataset", "name": "images", "namespace": SPACE}
    event = {
        "metadata": {"name": "e", "namespace": SPACE},
        "type": "Warning",
        "reason": "SnapshotFailed",
        "message": "no route",
        "involvedObject": about,
    }
    world.objects.observe(EVENT, event)

    assert lines == [f"warning: Dataset {SPACE}/images: no route"]
