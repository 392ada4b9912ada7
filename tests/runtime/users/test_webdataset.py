"""webdataset over tar shards: by a registered scheme, and through a pipe."""

import gc
import importlib
import sys
import tarfile

import fsspec
import pytest
import webdataset as wds

from runtime.errors import NoSuchPath
from tests.support.reading_files import SAMPLES, SHARDS
from tests.support.reading_world import ROOT, url

gopen = importlib.import_module("webdataset.gopen")
SHARD_URLS = url("shards/{000000..000002}.tar")


@pytest.fixture
def scheme(monkeypatch):
    """webdataset's own table of schemes has ours."""

    def open_shard(shard, mode="rb", _bufsize=0, **_):
        return fsspec.open(shard, mode).open()

    monkeypatch.setitem(gopen.gopen_schemes, "cachectl", open_shard)


@pytest.fixture
def expected(world):
    """Every sample's parts, as tarfile reads them from the origin."""
    samples = {}
    for path in sorted((world.files / "shards").iterdir()):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, kind = member.name.partition(".")
                samples.setdefault(key, {})[kind] = tar.extractfile(member).read()
    assert len(samples) == SHARDS * SAMPLES
    return samples


def parts(samples):
    return {
        sample["__key__"]: {kind: sample[kind] for kind in ("jpg", "cls")} for sample in samples
    }


def test_shards_by_url(scheme, environment, expected):
    assert parts(wds.WebDataset(SHARD_URLS, shardshuffle=False)) == expected


def test_shards_in_any_order(scheme, environment, expected):
    assert parts(wds.WebDataset(SHARD_URLS, shardshuffle=SHARDS, seed=7).shuffle(25)) == expected


def test_shards_through_a_pipe(environment, expected):
    command = f"pipe:{sys.executable} -m cache_ctl cat {ROOT}/shards/{{000000..000002}}.tar"

    assert parts(wds.WebDataset(command, shardshuffle=False)) == expected


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # webdataset's own
def test_shards_kept_by_webdataset_too(scheme, environment, expected, tmp_path):
    kept = wds.WebDataset(SHARD_URLS, shardshuffle=False, cache_dir=str(tmp_path))

    for _ in range(2):
        assert parts(kept) == expected
    del kept
    gc.collect()


def test_a_missing_shard_is_an_error(scheme, environment):
    with pytest.raises(NoSuchPath, match=r"000009\.tar is not in the Dataset"):
        list(wds.WebDataset(url("shards/000009.tar"), shardshuffle=False))
