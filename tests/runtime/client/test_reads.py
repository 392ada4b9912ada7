"""Bytes: every way of reading, compared with the bytes in the origin's files."""

import gzip
import io

import fsspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.client_agent import DATASET
from tests.support.client_fixtures import SAMPLES

LARGE = "train/large.bin"
PATHS = sorted(SAMPLES)
AGAIN = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
PLACES = st.one_of(
    st.integers(-2_100_000, 2_100_000),
    st.sampled_from([k * 65_536 + d for k in range(-4, 33) for d in (-1, 0, 1)]),
)


@pytest.fixture
def fs(real, make):
    return make(real)


@pytest.mark.parametrize("verify", ["FirstRead", "EveryRead", "OnFill"])
@pytest.mark.parametrize("path", PATHS)
def test_whole_files_are_the_origins(real, make, path, verify):
    fs = make(real, verify=verify)
    data = real.files[path]
    assert fs.cat(f"{DATASET}/{path}") == data
    assert fs.cat_file(f"cachectl://{DATASET}/{path}") == data
    assert fs.read_bytes(f"{DATASET}/{path}") == data
    with fs.open(f"{DATASET}/{path}") as file:
        assert file.read() == data
        assert file.read() == b""


@AGAIN
@given(st.sampled_from(PATHS), st.none() | PLACES, st.none() | PLACES)
def test_cat_file_takes_ranges_as_slices(real, fs, path, start, end):
    assert fs.cat_file(f"{DATASET}/{path}", start, end) == real.files[path][start:end]


@AGAIN
@given(st.lists(st.tuples(st.sampled_from(PATHS), PLACES, PLACES), max_size=8))
def test_cat_ranges_takes_many(real, fs, ranges):
    found = fs.cat_ranges(
        [f"{DATASET}/{path}" for path, _, _ in ranges],
        [start for _, start, _ in ranges],
        [end for _, _, end in ranges],
    )
    assert found == [real.files[path][start:end] for path, start, end in ranges]


def test_cat_ranges_returns_or_raises_failures(fs):
    paths = [f"{DATASET}/gone", f"{DATASET}/readme.md"]
    failure, data = fs.cat_ranges(paths, 0, 2)
    assert isinstance(failure, FileNotFoundError)
    assert len(data) == 2
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges(paths, 0, 2, on_error="raise")
    with pytest.raises(ValueError, match="there are 2 paths, 1 starts"):
        fs.cat_ranges(paths, [0], 2)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("seek"), PLACES, st.sampled_from([0, 1, 2])),
        st.tuples(
            st.sampled_from(["read", "readinto", "read1", "readline"]),
            st.one_of(st.integers(0, 300), st.integers(0, 600_000), st.just(65_536)),
        ),
        st.tuples(st.sampled_from(["readall", "tell", "next", "peek"])),
    ),
    max_size=12,
)


@AGAIN
@given(st.sampled_from([LARGE, LARGE, "train/b/one-more.bin", "train/a/0001.jpg"]), STEPS)
def test_an_open_file_behaves_as_bytesio_does(real, fs, path, steps):
    data = real.files[path]
    model = io.BytesIO(data)
    with fs.open(f"{DATASET}/{path}") as file:
        for step in steps:
            follow(file, model, data, step)


def follow(file, model, data, step):
    """Take one step with the file and with its model, and compare what they say."""
    match step:
        case "seek", place, whence:
            if place + (0, model.tell(), len(data))[whence] >= 0:
                assert file.seek(place, whence) == model.seek(place, whence)
        case "readinto", size:
            one, other = bytearray(size), bytearray(size)
            assert file.readinto(one) == model.readinto(other)
            assert one == other
        case "read1", size:
            # It may return less, but not nothing.
            found = file.read1(size)
            assert found == model.read(len(found))
            assert found or not size or model.tell() >= len(data)
        case ("read" | "readline") as name, size:
            assert getattr(file, name)(size) == getattr(model, name)(size)
        case ("readall",):
            assert file.read() == model.read()
        case ("next",):
            assert next(file, None) == next(model, None)
        case ("peek",):
            if hasattr(file, "peek"):
                ready = file.peek()
                start = model.tell()
                assert ready == data[start : start + len(ready)]
    assert file.tell() == model.tell()


def test_a_file_describes_itself(fs, real):
    for path in (LARGE, "train/a/0001.jpg"):
        with fs.open(f"{DATASET}/{path}") as file:
            assert file.readable()
            assert file.seekable()
            assert not file.writable()
            assert file.mode == "rb"
            assert file.size == len(real.files[path])
            assert file.full_name == f"cachectl://{DATASET}/{path}"
            assert file.info() == fs.info(f"{DATASET}/{path}")
        assert file.closed
        with pytest.raises(ValueError, match="closed file"):
            file.read(1)
        with pytest.raises(ValueError, match="closed file"):
            file.seek(0)


def test_seeking_before_the_start_is_an_error(fs):
    with fs.open(f"{DATASET}/{LARGE}") as file:
        with pytest.raises(ValueError, match="before the file's start"):
            file.seek(-1)
        with pytest.raises(ValueError, match="whence is 7"):
            file.seek(0, 7)


def test_lines_text_and_compression(agent, make):
    lines = [f"line {number} \u00e9\n" for number in range(40_000)]
    text = "".join(lines)
    (agent.origin / "lines.txt").write_text(text, "utf-8")
    (agent.origin / "lines.txt.gz").write_bytes(gzip.compress(text.encode()))
    agent.tell(publish=True)
    fs = make(agent)
    with fs.open(f"{DATASET}/lines.txt", "r", encoding="utf-8") as file:
        assert list(file) == lines
    with fs.open(f"{DATASET}/lines.txt") as file:
        assert [line.decode() for line in file] == lines
    assert fs.read_text(f"{DATASET}/lines.txt", encoding="utf-8") == text
    with fs.open(f"{DATASET}/lines.txt.gz", "rt", encoding="utf-8", compression="infer") as file:
        assert file.read() == text
    assert fs.head(f"{DATASET}/lines.txt", 10) == text.encode()[:10]
    assert fs.tail(f"{DATASET}/lines.txt", 10) == text.encode()[-10:]


def test_cat_of_many_gives_each(fs, real):
    names = [f"{DATASET}/{path}" for path in PATHS]
    assert fs.cat(names) == {f"{DATASET}/{path}": real.files[path] for path in PATHS}
    assert fs.cat([f"cachectl://{DATASET}/readme.md"]) == {
        f"{DATASET}/readme.md": real.files["readme.md"]
    }
    assert fs.cat([]) == {}


def test_cat_expands_patterns_and_directories(fs, real):
    found = fs.cat(f"{DATASET}/train/b/*.bin")
    assert len(found) == 4
    assert all(real.files[name[len(DATASET) + 1 :]] == data for name, data in found.items())
    recursive = fs.cat(f"{DATASET}/train/a", recursive=True, on_error="omit")
    assert sorted(recursive) == fs.find(f"{DATASET}/train/a")


def test_a_name_that_exists_is_no_pattern(fs, real):
    assert fs.cat(f"{DATASET}/val/[1].txt") == real.files["val/[1].txt"]
    found = fs.cat([f"{DATASET}/val/[1].txt", f"{DATASET}/val/[12].txt"])
    assert found == {
        f"{DATASET}/val/[1].txt": real.files["val/[1].txt"],
        f"{DATASET}/val/1.txt": real.files["val/1.txt"],
    }


@pytest.mark.parametrize("on_error", ["raise", "omit", "return"])
def test_cat_of_many_reports_failures_as_asked(fs, on_error):
    names = [f"{DATASET}/readme.md", f"{DATASET}/gone", f"{DATASET}/train"]
    if on_error == "raise":
        with pytest.raises(OSError, match=r"gone is not in|is a directory"):
            fs.cat(names)
        return
    found = fs.cat(names, on_error=on_error)
    assert len(found[names[0]]) == 5
    if on_error == "omit":
        assert list(found) == names[:1]
    else:
        assert isinstance(found[names[1]], FileNotFoundError)
        assert isinstance(found[names[2]], IsADirectoryError)


def test_get_copies_trees(fs, real, tmp_path):
    fs.get(f"{DATASET}/train", str(tmp_path / "copy"), recursive=True)
    copied = {
        str(path.relative_to(tmp_path / "copy")): path.read_bytes()
        for path in (tmp_path / "copy").rglob("*")
        if path.is_file()
    }
    assert copied == {
        path.removeprefix("train/"): data
        for path, data in real.files.items()
        if path.startswith("train/")
    }


def test_get_file_writes_into_an_open_file_too(fs, real):
    target = io.BytesIO()
    fs.get_file(f"{DATASET}/{LARGE}", target)
    assert target.getvalue() == real.files[LARGE]


def test_get_file_leaves_what_was_there_when_it_fails(agent, make, tmp_path):
    fs = make(agent)
    target = tmp_path / "copy" / "large.bin"
    target.parent.mkdir()
    target.write_bytes(b"before")
    agent.tell(set={"admit": False, "lie": "short"})
    with pytest.raises(OSError, match="bytes where"):
        fs.get_file(f"{DATASET}/{LARGE}", str(target))
    assert target.read_bytes() == b"before"
    assert [path.name for path in target.parent.iterdir()] == ["large.bin"]


def test_the_protocol_is_registered(real, monkeypatch):
    monkeypatch.setenv("CACHECTL_SOCKET", str(real.socket))
    monkeypatch.setenv("CACHECTL_TOKEN", real.options["token"])
    with fsspec.open(f"cachectl://{DATASET}/{LARGE}") as file:
        assert file.read() == real.files[LARGE]
