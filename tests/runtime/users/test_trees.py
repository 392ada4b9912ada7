"""Whole trees: copies by ``get`` and ``rsync``, ranges of many files, calls from async code."""

import asyncio
from pathlib import Path

import fsspec
import fsspec.generic
import pytest
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

from tests.support.reading_world import ROOT, url


def tree(folder):
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


@pytest.fixture(scope="module")
def expected(files):
    return tree(files)


def test_get_brings_the_tree(fs, expected, tmp_path):
    fs.get(ROOT, str(tmp_path / "copy"), recursive=True)

    assert tree(tmp_path / "copy") == expected


def test_cat_of_folders_gives_the_files_in_them(fs, expected):
    found = fs.cat(ROOT, recursive=True)

    assert {name.removeprefix(f"{ROOT}/"): data for name, data in found.items()} == expected


def test_rsync_brings_what_is_missing(environment, expected, tmp_path):
    copy = tmp_path / "copy"
    target = f"file://{copy}"

    fsspec.generic.rsync(f"cachectl://{ROOT}", target)
    assert tree(copy) == expected
    (copy / "img" / "003.jpg").write_bytes(b"other")
    (copy / "img" / "004.jpg").unlink()
    (copy / "new.txt").write_bytes(b"mine")
    fsspec.generic.rsync(f"cachectl://{ROOT}", target, delete_missing=True)
    assert tree(copy) == expected


def test_generic_copies_one_file(environment, expected, tmp_path):
    fsspec.filesystem("generic").cp(url("rows.csv"), f"file://{tmp_path}/rows.csv")

    assert tree(tmp_path) == {"rows.csv": expected["rows.csv"]}


def test_ranges_of_many_files(fs, expected):
    names = sorted(expected)
    bounds = [(0, 3), (5, None), (-9, None), (-9, -2), (70_000, 140_000), (3, 3), (10**9, None)]
    wanted = [(name, *pair) for name in names for pair in bounds]

    found = fs.cat_ranges(
        [f"{ROOT}/{name}" for name, _, _ in wanted],
        [start for _, start, _ in wanted],
        [stop for _, _, stop in wanted],
    )

    assert found == [expected[name][start:stop] for name, start, stop in wanted]


def test_blocks_end_with_lines(fs, files):
    local = fsspec.filesystem("file")
    for start, length in ((0, 100), (17, 50), (1_000_000, 70_000), (2_099_990, 1000)):
        assert fs.read_block(f"{ROOT}/lines.txt", start, length, b"\n") == local.read_block(
            str(files / "lines.txt"), start, length, b"\n"
        )


async def test_async_code_reads_through_the_wrapper(fs, expected):
    wrapped = AsyncFileSystemWrapper(fs, asynchronous=True)

    names = await wrapped._find(ROOT)
    found = await asyncio.gather(*(wrapped._cat_file(name) for name in names))

    assert {
        name.removeprefix(f"{ROOT}/"): data for name, data in zip(names, found, strict=True)
    } == expected


async def test_calls_block_inside_a_loop_as_local_files_do(fs, expected):
    assert fs.cat_file(f"{ROOT}/rows.csv") == expected["rows.csv"]
    assert await asyncio.to_thread(fs.cat_file, f"{ROOT}/lines.txt") == expected["lines.txt"]


def test_nothing_is_left_open(fs, expected):
    def descriptors():
        return len(list(Path("/proc/self/fd").iterdir()))

    fs.cat(ROOT, recursive=True)
    before = descriptors()
    for _ in range(3):
        for name in expected:
            with fs.open(f"{ROOT}/{name}") as file:
                file.read(10)
    assert descriptors() <= before
