"""Every command of the documentation runs, in the order of its page, and prints what is shown."""

from __future__ import annotations

import gc
import importlib
import json
import re

import numpy as np
import pandas as pd
import pytest

from cache_ctl.api.load import load_files
from tests.support.page_places import place, tutorial_cluster, write_tutorial
from tests.support.pages import LANGUAGES, blocks, pages
from tests.support.reading_files import SAMPLES, SHARDS, table

pytestmark = pytest.mark.timeout(300)  # a cluster each, also where the machine is busy
NOT_RUN = {
    "README.md": ["it is what runs this test"],
    "tutorial.md": ["it asks a package index", "it needs a bucket"],
}
"""Why a block does not run, by page; a new one belongs here only if it cannot."""
NOT_COMPARED = {
    "cli.md": ["who owns a chunk differs from run to run"],
    "tutorial.md": ["who owns a chunk differs from run to run"],
}


def every_block():
    return [block for name in pages() for block in blocks(name)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The tutorial's cluster, for the pages that only look at one."""
    with tutorial_cluster(tmp_path_factory.mktemp("c")) as running:
        yield running


@pytest.fixture
def reader(cluster, tmp_path):
    """The cluster's shell in a folder of this test's own, as a reader of ``vision/faces``."""
    cluster.run(f"cd {tmp_path}; export CACHECTL_SOCKET={cluster.socket('cloud-1')}")
    cluster.run(f"export CACHECTL_TOKEN_FILE={cluster.token('vision/faces')}")
    cluster.run("until cachectl ls vision/faces/train; do :; done")
    return cluster


def test_every_fence_of_the_pages_is_a_block():
    for name, path in pages().items():
        fences = re.findall(r"(?m)^ *(```|~~~)", path.read_text("utf-8"))
        assert len(fences) == 2 * len(blocks(name)), name
    for block in every_block():
        assert block.language in LANGUAGES, f"{block.place} does not name its language"


def test_nothing_is_left_out_without_a_reason():
    for marker, known in (("not run", NOT_RUN), ("not compared", NOT_COMPARED)):
        found: dict[str, list[str]] = {}
        for block in every_block():
            if block.marker == marker:
                found.setdefault(block.page, []).append(block.reason)
        assert found == known
    markers = [text for path in pages().values() for text in re.findall("<!--", path.read_text())]
    assert len(markers) == sum(map(len, [*NOT_RUN.values(), *NOT_COMPARED.values()]))


def test_the_objects_are_valid(tmp_path):
    found = [block for block in every_block() if block.language == "yaml"]
    assert found
    for block in found:
        file = tmp_path / "objects.yaml"
        file.write_text(block.text)
        assert load_files([file]).required(), block.place


def test_the_tutorial(tmp_path, monkeypatch):
    with place(tmp_path) as opened:
        page = opened.page("tutorial.md")
        page.run(monkeypatch)
        photos = tmp_path / "tutorial/photos"
        assert page.names["picture"] == (photos / "cats/cat-1.jpg").read_bytes()
        assert (tmp_path / "tutorial/head").read_bytes() == (
            (photos / "film.mp4").read_bytes()[:1000]
        )
        assert not [path for path in tmp_path.rglob("*") if path.is_socket()]


def test_the_readme(tmp_path, monkeypatch):
    with place(tmp_path) as opened:
        write_tutorial(opened)
        page = opened.page("README.md")
        page.run(monkeypatch)
        assert page.names["data"] == (tmp_path / "tutorial/photos/cats/cat-1.jpg").read_bytes()


def test_the_command_line(reader, monkeypatch):
    reader.page("cli.md").run(monkeypatch)


def test_reading_from_python(reader, monkeypatch, tmp_path):
    page = reader.page("fsspec.md")
    page.run(monkeypatch)
    files, names = reader.folder / "faces", page.names
    large = (files / "train/large.bin").read_bytes()
    assert names["image"] == (files / "train/a/0001.jpg").read_bytes()
    assert names["part"] == large[1_000_000:1_000_100]
    assert names["last"] == large[-100:]
    assert names["trailer"] == large[-64:]
    assert [len(sample) for sample in names["samples"]] == [10_240, 65_535, 1]
    assert names["data"] == (files / "train/b/exactly.bin").read_bytes()
    assert names["array"].tobytes() == (files / "train/shards/000000.tar").read_bytes()
    assert (reader.folder / "faces-a/0001.jpg").exists()
    assert (tmp_path / "copy/readme.md").exists()


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # numpy's map of a copy
def test_other_libraries(reader, monkeypatch):
    gopen = importlib.import_module("webdataset.gopen")
    monkeypatch.setattr(gopen, "gopen_schemes", dict(gopen.gopen_schemes))
    page = reader.page("libraries.md")
    page.run(monkeypatch)
    files, names, rows = reader.folder / "faces/train", page.names, table()
    frame = rows.slice(0, 1000).select(["id", "value"]).to_pandas()
    pd.testing.assert_frame_equal(names["table"], frame)
    pd.testing.assert_frame_equal(names["rows"], pd.read_csv(files / "rows.csv"))
    assert names["group"].column("value").equals(rows.column("value").slice(0, len(names["group"])))
    assert names["day"].num_rows == rows.num_rows // 3
    assert len(set(names["keys"])) == SHARDS * SAMPLES
    assert np.array_equal(names["array"], np.load(files / "array.npy"))
    assert names["header"] == b"id,value,name,day\n"
    assert names["names"] == [f"{number:03}.jpg" for number in range(30)]
    for name in names["names"]:
        copy = reader.folder / "faces-img" / name
        assert copy.read_bytes() == (files / "img" / name).read_bytes()
    names.clear()
    gc.collect()


def test_curl(reader, monkeypatch, tmp_path):
    rows = json.loads(reader.run("cachectl status -o json"))["nodes"]
    [agent] = [f"{row['address']}:{row['port']}" for row in rows if row["name"] == "cloud-2"]
    (tmp_path / "token").write_text(reader.token("vision/faces").read_text())
    page = reader.page("http.md", {"10.0.3.17:19600": agent})
    page.run(monkeypatch)
    files = reader.folder / "faces/train"
    first = (files / "shards/000000.tar").read_bytes()
    second = (files / "shards/000001.tar").read_bytes()
    expected = {
        "001.jpg": (files / "img/001.jpg").read_bytes(),
        "015.jpg": (files / "img/015.jpg").read_bytes(),
        "000000.tar": first,
        "part": first[1000:2000],
        "last": first[-512:],
        "000001.tar": second,
        "again.tar": first,
        "rest": second[400_000:],
    }
    assert (tmp_path / "auth").stat().st_mode & 0o77 == 0
    for name, data in expected.items():
        assert (tmp_path / name).read_bytes() == data, name
    assert not (tmp_path / "unchanged.tar").exists()
    printed = "".join(page.outputs)
    assert "has no object 'train/nothing.jpg'" in printed
    assert f"Content-Length: {len(first)}" in printed


PLAYED = {"tutorial.md", "README.md", "cli.md", "fsspec.md", "libraries.md", "http.md"}
"""The pages that a test above runs."""


def test_every_page_that_has_commands_is_run():
    runnable = {
        block.page
        for block in every_block()
        if block.runs and block.language in {"sh", "console", "python"}
    }
    assert runnable == PLAYED
