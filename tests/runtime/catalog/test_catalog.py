"""A catalog answers as its listing says, from a path or a descriptor, in threads and children."""

import gc
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.catalog.build import build
from runtime.catalog.read import Catalog, Entry
from runtime.contract.layout import ObjectLayout
from runtime.contract.units import chunk_size_for, object_key
from runtime.errors import ConfigError, NoSuchPath, NotCached

REPOSITORY = Path(__file__).parents[3]


def catalog_of(folder, entries, *, name="c.sqlite", previous=None, **options):
    """Build and open a catalog with small chunks and packs."""
    options = {"dataset": "ns/d", "chunk_size": 4096, "pack_below": 1024, **options}
    build(folder / name, entries=entries, previous=previous, **options)
    return Catalog(folder / name)


def some_entries(count, seed=1):
    rng = random.Random(seed)
    return [
        Entry(f"train/n{i % 7}/{i:05d}.jpg", rng.randrange(2000), f"{i:032x}", i % 3)
        for i in range(count)
    ]


names = st.sampled_from(["a", "b", "a-b", "a.b", "é", "x y", "zz", "0"])
paths = st.lists(names, min_size=1, max_size=4).map("/".join)
versions = st.sampled_from(["v1", "", "ab" * 16, "AB" * 16, "ab" * 16 + "-2", 'W/"x"'])
digests = st.sampled_from(["", "md5:" + "ab" * 16, "md5:" + "cd" * 16, "sha256:" + "0f" * 32])
sizes = st.one_of(st.integers(0, 3000), st.sampled_from([0, 1, 1023, 1024, 10**13]))


@st.composite
def listings(draw):
    found = {}
    for path in draw(st.lists(paths, max_size=25, unique=True)):
        above = {path[:cut] for cut, mark in enumerate(path) if mark == "/"}
        if not above & found.keys() and not any(p.startswith(f"{path}/") for p in found):
            found[path] = Entry(
                path, draw(sizes), draw(versions), draw(st.integers(0, 3)), draw(digests)
            )
    return list(found.values())


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(entries=listings(), prefix=paths)
def test_a_catalog_is_its_listing(tmp_path, entries, prefix):
    by_path = {entry.path: entry for entry in entries}
    with catalog_of(tmp_path, entries) as catalog:
        walked = list(catalog.walk())
        assert [record.path for record in walked] == sorted(by_path)
        for record in walked:
            assert Entry(*record[:5]) == by_path[record.path]
            assert catalog.find(record.path) == record
        below = [p for p in sorted(by_path) if p == prefix or p.startswith(f"{prefix}/")]
        assert [record.path for record in catalog.walk(prefix)] == below
        assert catalog.find_many([prefix, *by_path]) == list(map(catalog.find, [prefix, *by_path]))
        folders = {"", *(p[:i] for p in by_path for i, mark in enumerate(p) if mark == "/")}
        for path in {*folders, *by_path, prefix}:
            assert catalog.is_dir(path) == (path in folders)
        for folder in folders:
            start = f"{folder}/" if folder else ""
            rests = {p[len(start) :] for p in by_path if p.startswith(start)}
            listed = catalog.list_dir(folder)
            assert [item.name for item in listed] == sorted({r.split("/")[0] for r in rests})
            for item in listed:
                assert item.is_dir == (item.name not in rests)
                assert item.record == (None if item.is_dir else catalog.find(start + item.name))


def test_the_order_of_the_listing_does_not_matter(tmp_path):
    entries = some_entries(300)
    metas, contents = [], []
    for seed in range(2):
        random.Random(seed).shuffle(entries)
        with catalog_of(tmp_path, entries, name=f"{seed}.sqlite") as catalog:
            metas.append(catalog.meta)
            contents.append(list(catalog.walk()))
    assert metas[0] == metas[1]
    assert contents[0] == contents[1]
    assert (tmp_path / "0.sqlite").read_bytes() == (tmp_path / "1.sqlite").read_bytes()


@pytest.mark.parametrize(
    "change", [{"size": 7}, {"version": "other"}, {"digest": "md5:" + "0" * 32}, {"path": "other"}]
)
def test_the_snapshots_id_names_the_content(tmp_path, change):
    entries = some_entries(20)
    changed = [entries[0]._replace(**change), *entries[1:]]
    first = catalog_of(tmp_path, entries).meta
    assert catalog_of(tmp_path, changed).meta.snapshot != first.snapshot
    assert catalog_of(tmp_path, entries, dataset="ns/e").meta.snapshot != first.snapshot
    again = catalog_of(tmp_path, entries, created="2026-01-01", chunk_size=8192).meta
    assert again.snapshot == first.snapshot


def test_the_meta_sums_up(tmp_path):
    entries = some_entries(50)
    meta = catalog_of(tmp_path, entries, created="2026-01-01").meta
    assert (meta.dataset, meta.files, meta.created) == ("ns/d", 50, "2026-01-01")
    assert meta.bytes == sum(entry.size for entry in entries)
    assert (meta.chunk_size, meta.pack_below, meta.packs) == (4096, 1024, 1)


@pytest.mark.parametrize(
    "path",
    ["", "/", "/train", "train/", "train//n0", "nowhere/x", "train/n0/\udcff", "\udcff/x", "."],
)
def test_what_is_no_files_path_is_not_found(tmp_path, path):
    with catalog_of(tmp_path, [*some_entries(20), Entry("top", 1, "v")]) as catalog:
        assert catalog.find(path) is None
        assert catalog.find("/top") is None
        assert catalog.find("top") is not None


def test_a_file_and_nothing_are_no_folders(tmp_path):
    with catalog_of(tmp_path, some_entries(20)) as catalog:
        for path in ("train/n0/00000.jpg", "nowhere", "train/", "\udcff"):
            with pytest.raises(NoSuchPath, match="no folder"):
                catalog.list_dir(path)


@pytest.mark.parametrize(
    "listing",
    [
        ["a", "a"],
        ["a/b", "a"],
        ["a", "a/b/c"],
        [""],
        ["a/"],
        ["/a"],
        ["a//b"],
        ["a/../b"],
        ["./a"],
        ["a/.."],
        ["a\0b"],
        ["a\0/b"],
        ["a/\udcff"],
        ["\udcff/a"],
    ],
)
def test_listings_that_no_folder_could_hold_are_refused(tmp_path, listing):
    with pytest.raises(ConfigError, match="the listing has"):
        catalog_of(tmp_path, [Entry(path, 1, "v") for path in listing])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [{"chunk_size": 0}, {"pack_below": 1 << 40}])
def test_sizes_beyond_reason_are_refused(tmp_path, options):
    with pytest.raises(ConfigError, match="packBelow"):
        catalog_of(tmp_path, [], **options)


def test_large_objects_are_blobs_of_their_own_and_empty_ones_none(tmp_path):
    entries = [Entry("big", 9 << 30, "v"), Entry("small", 5, "v"), Entry("empty", 0, "v")]
    with catalog_of(tmp_path, entries) as catalog:
        big, small, empty = map(catalog.find, ["big", "small", "empty"])
        key = object_key("ns/d", "big", 9 << 30, "v", chunk_size_for(9 << 30, 4096))
        assert catalog.layout(big) == ObjectLayout(key, 9 << 30, chunk_size_for(9 << 30, 4096))
        assert (empty.pack, small.pack) == (None, 0)
        layout = catalog.layout(small)
        assert catalog.blob_keys() == {key, layout.key}
        assert catalog.pack_by_key(layout.key) == 0
        assert catalog.pack_by_key(key) is None
        with pytest.raises(ConfigError, match="no pack 5"):
            catalog.pack_layout(5)


# -- descriptors, threads, forks -------------------------------------------------------------


def test_a_descriptor_serves_after_the_file_is_gone(tmp_path):
    entries = some_entries(100)
    catalog_of(tmp_path, entries).close()
    fd = os.open(tmp_path / "c.sqlite", os.O_RDONLY)
    (tmp_path / "c.sqlite").unlink()
    catalog = Catalog(fd)
    os.close(fd)
    assert [record.path for record in catalog.walk()] == sorted(e.path for e in entries)
    assert os.fstat(catalog.fileno()).st_size > 0
    walk = catalog.walk()
    next(walk)
    catalog.close()
    for ask in (lambda: catalog.find(entries[0].path), lambda: list(walk)):
        with pytest.raises(NotCached, match=r"closed.*read again"):
            ask()


def test_several_catalogs_do_not_mix(tmp_path):
    catalogs = [
        catalog_of(tmp_path, [Entry(f"file{n}", n + 1, "v")], name=f"{n}.sqlite") for n in range(5)
    ]
    for n, catalog in enumerate(catalogs):
        assert [record.path for record in catalog.walk()] == [f"file{n}"]
        catalog.close()


def test_opening_and_closing_leaves_no_descriptor(tmp_path):
    catalog_of(tmp_path, some_entries(10)).close()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with Catalog(tmp_path / "c.sqlite") as catalog:
            catalog.find("x")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_forgotten_catalog_leaves_no_descriptor(tmp_path):
    catalog_of(tmp_path, some_entries(10)).close()
    before = len(list(Path("/proc/self/fd").iterdir()))
    forgotten = Catalog(tmp_path / "c.sqlite")
    del forgotten
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_version_that_is_no_text_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="version"):
        catalog_of(tmp_path, [Entry("a", 1, "\udcff")])


def test_threads_share_a_catalog(tmp_path):
    entries = some_entries(2000)
    wrong = []
    with catalog_of(tmp_path, entries) as catalog:

        def look(seed):
            rng = random.Random(seed)
            asked = rng.sample(entries, 500)
            wrong.extend(e for e in asked if catalog.find(e.path)[:3] != e[:3])
            if len(list(catalog.walk())) != len(entries):
                wrong.append(seed)

        threads = [threading.Thread(target=look, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


FORKING = """
import os, sys, threading
from pathlib import Path
from runtime.catalog.read import Catalog

catalog = Catalog(Path(sys.argv[1]))
paths = [record.path for record in catalog.walk()]
stop = threading.Event()


def look():
    while not stop.is_set():
        for path in paths:
            assert catalog.find(path).path == path


threads = [threading.Thread(target=look) for _ in range(3)]
for thread in threads:
    thread.start()
for _ in range(60):
    child = os.fork()
    if not child:
        good = all(catalog.find(path).path == path for path in paths)
        good = good and len(list(catalog.walk())) == len(paths)
        os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
for thread in threads:
    thread.join()
print(sum(catalog.find(path) is not None for path in paths))
"""


def test_children_forked_amid_lookups_read_on(tmp_path):
    catalog_of(tmp_path, some_entries(200)).close()
    done = subprocess.run(
        [sys.executable, "-c", FORKING, str(tmp_path / "c.sqlite")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "200", done.stderr


def test_a_walk_does_not_go_on_in_a_child(tmp_path):
    with catalog_of(tmp_path, some_entries(2000)) as catalog:
        walk = catalog.walk()
        next(walk)
        child = os.fork()
        if not child:
            try:
                list(walk)
            except ConfigError:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert len(list(walk)) == 1999


# -- damage ----------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"hello", b"SQLite format 3\0" + bytes(4080)])
def test_another_file_is_no_catalog(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ConfigError, match="not a catalog"):
        Catalog(tmp_path / "x")


def test_another_database_is_no_catalog(tmp_path):
    connection = sqlite3.connect(tmp_path / "x")
    connection.execute("CREATE TABLE meta (key, value)")
    connection.close()
    with pytest.raises(ConfigError, match="not a catalog of format 2"):
        Catalog(tmp_path / "x")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="nowhere"):
        Catalog(tmp_path / "nowhere")


def test_a_truncated_catalog_never_answers_wrongly(tmp_path):
    entries = some_entries(3000)
    catalog_of(tmp_path, entries).close()
    place = tmp_path / "c.sqlite"
    os.truncate(place, place.stat().st_size // 3 // 4096 * 4096)
    with pytest.raises(ConfigError, match="damaged"), Catalog(place) as catalog:
        assert len(list(catalog.walk())) == len(entries)


def test_a_build_that_is_killed_leaves_no_catalog(tmp_path):
    source = f"""
import os, signal
from pathlib import Path
from runtime.catalog import build
build._sync = lambda path: os.kill(os.getpid(), signal.SIGKILL)
build.build(Path({str(tmp_path)!r}) / "c.sqlite", dataset="ns/d",
            entries=[build.Entry("a", 1, "v")], chunk_size=4096, pack_below=1024)
"""
    done = subprocess.run([sys.executable, "-c", source], cwd=REPOSITORY, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "c.sqlite").exists()
    with catalog_of(tmp_path, [Entry("b", 1, "v")]) as catalog:
        assert catalog.find("a") is None
    assert [place.name for place in tmp_path.iterdir()] == ["c.sqlite"]
