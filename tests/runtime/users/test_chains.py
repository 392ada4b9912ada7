"""fsspec's own ways to wrap a file system: caches, archives, folders, references, globs."""

import pickle
import tarfile

import fsspec
import numpy as np
import pytest

from runtime.errors import AccessDenied
from tests.support.reading_files import SAMPLES
from tests.support.reading_world import ROOT, url

PATHS = ["table.parquet", "img/003.jpg", "lines.txt"]
"""Large and small ones."""


def chain(outer, path, options, **more):
    return fsspec.open(f"{outer}::{url(path)}", cachectl=options, **more)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", ["simplecache", "filecache"])
def test_a_cache_in_front_gives_the_same_bytes(world, options, tmp_path, kind, path):
    for _ in range(2):  # through it, then out of it
        with chain(kind, path, options, **{kind: {"cache_storage": str(tmp_path)}}) as file:
            assert file.read(5) == world.data(path)[:5]
            file.seek(-7, 2)
            assert file.read() == world.data(path)[-7:]
            file.seek(0)
            assert file.read() == world.data(path)


def test_filecache_notices_versions(world, options, tmp_path):
    settings = {"cache_storage": str(tmp_path), "check_files": True}
    for _ in range(2):
        with chain("filecache", "img/003.jpg", options, filecache=settings) as file:
            assert file.read() == world.data("img/003.jpg")


def test_open_local_gives_paths_for_what_needs_them(world, options, tmp_path):
    storage = {"cache_storage": str(tmp_path)}
    path = fsspec.open_local(
        f"simplecache::{url('array.npy')}", cachectl=options, simplecache=storage
    )

    found = np.load(path, mmap_mode="r")

    assert isinstance(found, np.memmap)
    assert np.array_equal(found, np.load(world.files / "array.npy"))


def test_a_file_inside_an_archive(world, options):
    with chain("zip://inner/rows.csv", "archive.zip", options) as file:
        assert file.read() == world.data("rows.csv")


def test_files_inside_a_tar(world, options, fs):
    shard = "shards/000001.tar"
    with tarfile.open(world.files / shard) as tar:
        expected = {member.name: tar.extractfile(member).read() for member in tar}
    with chain("tar://1-0003.jpg", shard, options) as file:
        assert file.read() == expected["1-0003.jpg"]
    with fs.open(f"{ROOT}/{shard}") as file:
        inside = fsspec.filesystem("tar", fo=file)
        assert inside.cat(inside.find("")) == expected
    assert len(expected) == 2 * SAMPLES


def test_a_folder_as_a_file_system_of_its_own(world, fs, tmp_path):
    folder = fsspec.filesystem("dir", path=f"{ROOT}/img", fs=fs)
    names = [f"{number:03}.jpg" for number in range(30)]
    images = {name: world.data(f"img/{name}") for name in names}

    assert folder.find("") == folder.glob("*.jpg") == names
    assert folder.cat(names) == images
    assert folder.du("") == sum(map(len, images.values()))
    assert list(folder.walk("")) == [("", [], names)]
    assert folder.cat_ranges(["001.jpg"] * 2, [0, 5], [3, None]) == [
        images["001.jpg"][:3],
        images["001.jpg"][5:],
    ]
    folder.get("", str(tmp_path / "copy"), recursive=True)
    assert {file.name: file.read_bytes() for file in (tmp_path / "copy").iterdir()} == images


def test_a_folder_by_url(world, options):
    with fsspec.open(f"dir://003.jpg::{url('img')}", cachectl=options) as file:
        assert file.read() == world.data("img/003.jpg")


def test_many_files_by_pattern(world, options):
    names = [f"img/01{number}.jpg" for number in range(10)]
    found = fsspec.open_files(url("img/01*.jpg"), **options)
    assert [file.path for file in found] == [f"{ROOT}/{name}" for name in names]
    with pickle.loads(pickle.dumps(found)) as files:
        assert [file.read() for file in files] == [world.data(name) for name in names]


def test_text_of_a_pickled_open_file(world, options):
    opened = fsspec.open(url("rows.csv.gz"), "rt", compression="infer", newline="", **options)
    with pickle.loads(pickle.dumps(opened)) as file:
        assert file.read() == world.data("rows.csv").decode()


def test_a_folder_as_a_mapping(world, options):
    mapping = fsspec.get_mapper(url("img"), **options)

    assert len(mapping) == 30
    assert mapping["007.jpg"] == world.data("img/007.jpg")
    assert mapping.getitems(["001.jpg", "none"], on_error="omit") == {
        "001.jpg": world.data("img/001.jpg")
    }
    with pytest.raises(KeyError):
        mapping["none"]


def test_references_to_ranges(world, options):
    references = {
        "head": [url("table.parquet"), 0, 1000],
        "next": [url("table.parquet"), 1000, 500],
        "whole": [url("img/009.jpg")],
    }
    view = fsspec.filesystem(
        "reference", fo=references, remote_protocol="cachectl", remote_options=options
    )

    table = world.data("table.parquet")
    assert view.cat(["head", "next", "whole"]) == {
        "head": table[:1000],
        "next": table[1000:1500],
        "whole": world.data("img/009.jpg"),
    }


def test_options_of_other_file_systems_do_no_harm(world, options):
    more = {"anon": True, "use_listings_cache": True, "listings_expiry_time": 5}
    fs = fsspec.filesystem("cachectl", asynchronous=True, **more, **options)

    assert fs.cat_file(f"{ROOT}/img/003.jpg") == world.data("img/003.jpg")


def test_a_chain_says_when_the_token_is_wrong(options):
    with (
        pytest.raises(AccessDenied, match="token"),
        chain("simplecache", "img/003.jpg", {**options, "token": "x"}),
    ):
        pass
