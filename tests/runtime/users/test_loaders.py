"""Worker processes that read a Dataset as a DataLoader's do."""

import hashlib

import pytest

from runtime.client.filesystem import CacheFileSystem
from tests.support.batch_loader import Images, Shards, load
from tests.support.reading_world import ROOT, ReadingWorld


@pytest.fixture
def digests(world):
    return {
        f"{ROOT}/{path}": hashlib.sha256(world.data(path)).hexdigest() for path in world.paths()
    }


@pytest.fixture(autouse=True)
def _own_instances():
    yield
    CacheFileSystem.clear_instance_cache()


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize(("kind", "batch"), [(Images, 8), (Shards, 1)])
def test_epochs_give_every_sample_once_and_right(world, options, digests, method, kind, batch):
    dataset = kind(options)
    for epoch in range(2):
        samples = list(load(dataset, method=method, workers=3, batch=batch, seed=epoch))

        assert sorted(name for name, _ in samples) == sorted(dataset.names)
        assert all(digests[name] == digest for name, digest in samples)


def test_workers_of_two_nodes_cross_the_line_once(tmp_path, files, digests):
    world = ReadingWorld(tmp_path, files)
    try:
        world.start()
        before = world.origin.body_bytes()
        for node in world.nodes:
            dataset = Shards({"socket": node.socket, "token": world.token})
            samples = list(load(dataset, method="fork", workers=2, batch=1, seed=1))
            assert all(digests[name] == digest for name, digest in samples)
        read = sum(len(world.data(name.removeprefix(f"{ROOT}/"))) for name in dataset.names)
        assert read <= world.origin.body_bytes() - before < 2 * read
    finally:
        world.stop()
