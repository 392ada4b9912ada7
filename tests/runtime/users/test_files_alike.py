"""An open file behaves as fsspec's local file does, whatever code does with it."""

import gzip
import io
import shutil

import fsspec
import numpy as np
import pytest

from tests.support.reading_files import ODD
from tests.support.reading_world import ROOT

PATHS = ["lines.txt", "rows.csv", "img/003.jpg", "empty.bin", ODD]
"""Two that are read as they are used, and three that are read when they are opened."""


@pytest.fixture(params=PATHS)
def both(request, fs, files):
    """Call a function with an opener of the cached file and of the local one; compare."""
    local = fsspec.filesystem("file")

    def compare(use):
        def opened(system, path):
            handles = []

            def opener(*arguments, **options):
                handles.append(system.open(path, *arguments, **options))
                return handles[-1]

            try:
                return use(opener)
            finally:
                for handle in handles:
                    handle.close()

        found = opened(fs, f"{ROOT}/{request.param}")
        assert found == opened(local, str(files / request.param))
        return found

    return compare


@pytest.mark.parametrize(
    "how",
    [
        {"block_size": 65_536, "cache_type": "readahead", "cache_options": {}},
        {"cache_type": "none", "fill_cache": False, "autocommit": True, "size": 5},
        {"mode": "br"},
        {"compression": None},
    ],
    ids=str,
)
def test_options_of_opening(both, how):
    both(lambda opened: opened(**how).read())


@pytest.mark.parametrize("mode", ["r", "rt", "tr"])
@pytest.mark.parametrize("newline", [None, "", "\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_text(both, mode, newline, encoding):
    def use(opened):
        with opened(mode, encoding=encoding, errors="replace", newline=newline) as file:
            first = file.readline()
            place = file.tell()
            second = file.read(5)
            file.seek(place)
            return first, second, file.read(100), file.encoding, len(file.readlines())

    both(use)


def test_text_that_is_none(both):
    def use(opened):
        try:
            return opened("rt", encoding="ascii").read()
        except UnicodeDecodeError as error:
            return error.start

    both(use)


@pytest.mark.parametrize("size", [None, -1, 0, 1, 5, 40_000, 10**9, np.int64(7)])
def test_sizes(both, size):
    def use(opened):
        file = opened()
        return file.read(size), file.tell(), file.read(3), file.readline(), file.tell()

    both(use)


def test_positions(both):
    def use(opened):
        file = opened()
        size = file.seek(0, io.SEEK_END)
        found = [size, file.read(5)]
        for offset, whence in ((size // 2, 0), (-(size // 3), 1), (-(size // 4), 2), (10**7, 0)):
            found += [file.seek(offset, whence), file.tell(), file.read(11), file.tell()]
        return [*found, file.seek(np.int64(0)), file.read(9)]

    both(use)


def test_before_the_start(fs):
    with fs.open(f"{ROOT}/lines.txt") as file:
        file.seek(3)
        for kind in (OSError, ValueError):  # as local files, and as fsspec's buffered ones
            with pytest.raises(kind, match="before the file's start"):
                file.seek(-(10**8), io.SEEK_END)
        with pytest.raises(TypeError):
            file.seek(1.5)
        assert file.tell() == 3


@pytest.mark.parametrize(
    "make",
    [
        lambda: bytearray(50),
        lambda: bytearray(300_000),
        lambda: np.zeros((40, 50), np.int16),
        lambda: np.zeros(500_000, np.float64),
        lambda: memoryview(bytearray(60_000))[7:50_000],
        bytearray,
    ],
    ids=["small", "large", "rows", "whole", "slice", "nothing"],
)
def test_into_buffers(both, make):
    def use(opened):
        file, buffer = opened(), make()
        return file.readinto(buffer), bytes(buffer), file.tell(), file.read(3)

    both(use)


def test_lines(both):
    def use(opened):
        file = opened()
        some = [file.readline(), file.readline(3), file.readline(0), file.readlines(100)]
        return some, [len(line) for line in file], next(file, None)

    both(use)


def test_what_it_says_of_itself(both):
    def use(opened):
        file = opened()
        said = [file.readable(), file.seekable(), file.writable(), file.isatty(), file.closed]
        return said, file.mode, file.size, file.flush()

    both(use)


@pytest.mark.parametrize(
    "call",
    [
        lambda file: file.read(),
        lambda file: file.readline(),
        lambda file: file.readinto(bytearray(3)),
        lambda file: file.seek(0),
        lambda file: file.tell(),
        next,
    ],
    ids=["read", "readline", "readinto", "seek", "tell", "next"],
)
def test_once_closed(both, call):
    def use(opened):
        file = opened()
        file.close()
        file.close()
        with pytest.raises(ValueError, match="closed file"):
            call(file)
        return file.closed

    both(use)


def test_writing(both):
    def use(opened):
        file = opened()
        for call in (file.write, lambda data: file.writelines([data])):
            with pytest.raises(OSError):  # noqa: PT011 - the sentences differ
                call(b"x")
        return file.read(5)

    both(use)


def test_modes_that_are_none(both):
    def use(opened):
        for mode in ("qq", "rU", "rbt"):
            with pytest.raises(ValueError, match="mode"):
                opened(mode)

    both(use)


def test_wrappers_of_the_standard_library(both):
    def use(opened):
        target = io.BytesIO()
        shutil.copyfileobj(opened(), target)
        with (
            io.BufferedReader(opened(), 1000) as buffered,
            io.TextIOWrapper(opened(), "latin-1") as text,
        ):
            return target.getvalue(), buffered.read(17), buffered.read(), text.read(17)

    both(use)


def test_compression(fs, files):
    with fs.open(f"{ROOT}/rows.csv.gz", compression="infer") as file:
        assert file.read() == (files / "rows.csv").read_bytes()
    with fs.open(f"{ROOT}/rows.csv.gz") as file, gzip.open(file, "rt", encoding="utf-8") as text:
        assert text.read() == (files / "rows.csv").read_text("utf-8")
    with pytest.raises(gzip.BadGzipFile), fs.open(f"{ROOT}/rows.csv", compression="gzip") as file:
        file.read()
    with pytest.raises(ValueError, match="nope"):
        fs.open(f"{ROOT}/rows.csv", compression="nope")
