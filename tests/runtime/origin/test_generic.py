"""Reading from file systems that cannot be asked for a version: checked before and after."""

import asyncio
import contextlib
import os
import random
import tempfile
import time
import zipfile
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from runtime.contract.plan import MountPlan
from runtime.errors import ConfigError, NoSuchPath, OriginRefused, OriginUnavailable, StaleVersion
from runtime.origin.base import BLOCK, Timeouts, open_origin

DATA = random.Random(3).randbytes(3 * BLOCK + 17)
QUICK = Timeouts(backoff_seconds=0.01)


def opened(url, *, timeouts=QUICK, **mount):
    return open_origin(MountPlan("train", url, **mount), "Basic", {}, timeouts=timeouts)


class SlowFileSystem(MemoryFileSystem):
    """The files of ``memory://``, each block of them after a while."""

    seconds = 0.2

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("slow:/"))

    def cat_file(self, *arguments, **options):
        time.sleep(self.seconds)
        return super().cat_file(*arguments, **options)


class RamFileSystem(MemoryFileSystem):
    """The files of ``memory://`` by another name, as agents refuse that one."""

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("ram:/"))


fsspec.register_implementation("slow", SlowFileSystem)
fsspec.register_implementation("ram", RamFileSystem)


async def read(origin, found, start=0, stop=None):
    stop = found.size if stop is None else stop
    iterator = origin.read(
        found.path, size=found.size, version=found.version, start=start, stop=stop
    )
    async with contextlib.aclosing(iterator) as answer:
        return b"".join([bytes(block) async for block in answer])


@pytest.fixture
def memory():
    filesystem = fsspec.filesystem("memory")
    filesystem.pipe("/bucket/d/a.bin", DATA)
    filesystem.pipe("/bucket/b.txt", b"bee")
    yield filesystem
    filesystem.rm("/bucket", recursive=True)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.bin").write_bytes(DATA)
    (tmp_path / "b.txt").write_bytes(b"bee")
    return tmp_path


@pytest.mark.parametrize("kind", ["file", "plain", "memory"])
async def test_lists_and_reads(kind, folder, memory):
    url = {"file": f"file://{folder}", "plain": f"{folder}/", "memory": "ram://bucket"}[kind]
    origin = opened(url)
    listed = await origin.list()
    assert [(item.path, item.size) for item in listed] == [("b.txt", 3), ("d/a.bin", len(DATA))]
    assert await read(origin, listed[0]) == b"bee"
    assert await read(origin, listed[1]) == DATA
    assert (
        await read(origin, listed[1], BLOCK - 1, 2 * BLOCK + 1) == DATA[BLOCK - 1 : 2 * BLOCK + 1]
    )
    await origin.close()


async def test_yields_nothing_above_a_block(folder):
    origin = opened(f"file://{folder}", include=("d/*",))
    [item] = await origin.list()
    blocks = origin.read(item.path, size=item.size, version=item.version, start=0, stop=item.size)
    assert [len(block) async for block in blocks] == [BLOCK, BLOCK, BLOCK, 17]


@pytest.mark.parametrize("how", ["overwritten", "replaced", "removed", "shortened"])
async def test_a_file_that_was_changed_is_stale(folder, how):
    origin = opened(f"file://{folder}")
    item = (await origin.list())[1]
    place = folder / "d" / "a.bin"
    if how == "overwritten":
        place.write_bytes(DATA[::-1])
    elif how == "replaced":
        stat = place.stat()
        place.with_suffix(".new").write_bytes(DATA[::-1])
        os.utime(place.with_suffix(".new"), ns=(stat.st_atime_ns, stat.st_mtime_ns))
        place.with_suffix(".new").replace(place)
    elif how == "removed":
        place.unlink()
    else:
        os.truncate(place, 5)
    with pytest.raises(StaleVersion, match=r"a\.bin"):
        await read(origin, item)


async def test_a_file_that_changes_while_it_is_read_never_comes_whole(folder):
    origin = opened(f"file://{folder}")
    item = (await origin.list())[1]
    blocks = origin.read(item.path, size=item.size, version=item.version, start=0, stop=item.size)
    got = [await anext(blocks)]
    (folder / "d" / "a.bin").write_bytes(DATA[::-1])
    with pytest.raises(StaleVersion):
        await _drain(blocks, got)
    assert sum(map(len, got)) < len(DATA)


async def _drain(blocks, got):
    async for block in blocks:
        got.append(block)


async def test_a_missing_source_is_named(tmp_path):
    with pytest.raises(NoSuchPath, match="nowhere"):
        await opened(f"file://{tmp_path}/nowhere").list()


@contextlib.contextmanager
def unprivileged():
    """Be somebody who may not read everything, if we are root."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder():
    """A folder that everybody can reach, with one file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "a.bin").write_bytes(b"abc")
        yield folder


async def test_a_file_without_permission_is_refused_by_name(open_folder):
    origin = opened(f"file://{open_folder}")
    [item] = await origin.list()
    (open_folder / "a.bin").chmod(0)
    with unprivileged(), pytest.raises(OriginRefused, match=r"a\.bin' may not be read; let"):
        await read(origin, item)
    await origin.close()


async def test_a_folder_without_permission_is_refused_unless_it_is_excluded(open_folder):
    (open_folder / "lost").mkdir(mode=0o700)
    (open_folder / "lost" / "x").touch()
    for mount in ({}, {"include": ("**/*.bin",)}):
        origin = opened(f"file://{open_folder}", **mount)
        (open_folder / "lost").chmod(0)
        with unprivileged(), pytest.raises(OriginRefused, match=r"lost' may not be read; .*/\*\*"):
            await origin.list()
        await origin.close()
    origin = opened(f"file://{open_folder}", exclude=("lost/**",))
    with unprivileged():
        assert [item.path for item in await origin.list()] == ["a.bin"]
    await origin.close()
    (open_folder / "lost").chmod(0o700)


async def test_links_to_files_are_files_and_links_to_nothing_are_not(folder, tmp_path):
    (folder / "link.txt").symlink_to(folder / "b.txt")
    (folder / "broken").symlink_to(folder / "nowhere")
    (folder / "around").symlink_to(folder)
    origin = opened(f"file://{folder}")
    listed = {item.path: item for item in await origin.list()}
    assert set(listed) == {"b.txt", "d/a.bin", "link.txt"}
    assert await read(origin, listed["link.txt"]) == b"bee"
    (folder / "b.txt").write_bytes(b"wasp")
    with pytest.raises(StaleVersion):
        await read(origin, listed["link.txt"])
    await origin.close()


async def test_one_file_is_no_source_and_the_sentence_says_what_is(folder):
    origin = opened(f"file://{folder}/b.txt")
    with pytest.raises(NoSuchPath, match=r"b\.txt\) is one file; name its folder"):
        await origin.list()
    await origin.close()


async def test_fifos_and_folders_are_no_objects(folder):
    os.mkfifo(folder / "pipe")
    (folder / "empty").mkdir()
    assert [item.path for item in await opened(f"file://{folder}").list()] == ["b.txt", "d/a.bin"]


async def test_the_wait_for_others_is_not_the_origins_fault(memory):
    origin = opened("slow://bucket", timeouts=Timeouts(stall_seconds=0.5, connections=2))
    item = (await origin.list())[0]
    results = await asyncio.gather(*(read(origin, item) for _ in range(8)))
    assert results == [b"bee"] * 8
    await origin.close()


async def test_a_file_system_that_hangs_is_given_up(memory):
    origin = opened("slow://bucket", timeouts=Timeouts(stall_seconds=0.05))
    item = (await origin.list())[0]
    with pytest.raises(OriginUnavailable, match="in time"):
        await read(origin, item)
    await origin.close()


async def test_a_closed_origin_refuses(folder, memory):
    origin = opened(f"file://{folder}")
    item = (await origin.list())[0]
    await origin.close()
    with pytest.raises(OriginUnavailable, match="this origin was closed"):
        await origin.list()
    with pytest.raises(OriginUnavailable, match="this origin was closed"):
        await read(origin, item)


async def test_a_closed_origin_ends_what_is_under_way(memory):
    origin = opened("slow://bucket", timeouts=Timeouts(connections=1))
    item = (await origin.list())[0]
    tasks = [asyncio.create_task(read(origin, item)) for _ in range(3)]
    await asyncio.sleep(0.05)
    await origin.close()
    for task in tasks:
        with pytest.raises(OriginUnavailable, match="this origin was closed"):
            await task


def test_what_lies_in_memory_is_no_source():
    with pytest.raises(ConfigError, match="in the memory of one process"):
        opened("memory://bucket")


def test_a_missing_package_is_named():
    with pytest.raises(ConfigError, match=r"'train' \(gs://b/p\).*[Ii]nstall.*gcsfs"):
        opened("gs://b/p")


async def test_a_file_system_without_versions_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.txt", "abc")
    origin = opened(f"zip::file://{tmp_path}/x.zip")
    with pytest.raises(ConfigError, match="neither an etag nor a time of change"):
        await origin.list()
    await origin.close()


def test_an_unknown_scheme_is_refused_without_showing_the_secret():
    mount = MountPlan("train", "floppy://a/b")
    with pytest.raises(ConfigError, match="floppy") as caught:
        open_origin(mount, "Cloud", {"password": "hush"})
    assert "hush" not in str(caught.value)
