"""Names: everything fsspec asks of a listing, compared with the same folder read locally."""

import pytest
from fsspec.implementations.local import LocalFileSystem

from runtime.client.failures import (
    AccessRefused,
    NotListable,
    PathIsDirectory,
    PathMissing,
)
from runtime.errors import AccessDenied, NoSuchPath
from tests.support.client_agent import DATASET

LOCAL = LocalFileSystem()
FOLDERS = ["", "/train", "/train/a", "/train/a/deep", "/val"]


@pytest.fixture
def fs(shared, make):
    return make(shared)


@pytest.fixture
def translate(shared):
    """Turn a local path below the origin into the client's path."""
    prefix = str(shared.origin)

    def translated(path):
        assert path.startswith(prefix)
        return DATASET + path[len(prefix) :]

    return translated


def shape(entry, name):
    """Keep what both file systems say of an entry."""
    size = entry["size"] if entry["type"] == "file" else 0
    return name, entry["type"], size


@pytest.mark.parametrize("folder", FOLDERS)
def test_ls_lists_what_the_folder_holds(fs, shared, translate, folder):
    found = [shape(entry, entry["name"]) for entry in fs.ls(DATASET + folder)]
    local = LOCAL.ls(str(shared.origin) + folder, detail=True)
    assert found == sorted(shape(entry, translate(entry["name"])) for entry in local)


def test_ls_without_detail_gives_names(fs):
    assert fs.ls(f"{DATASET}/train/b", detail=False) == [
        f"{DATASET}/train/b/{name}.bin"
        for name in ("exactly", "one-less", "one-more", "smallest-large")
    ]


def test_ls_of_a_file_is_the_file(fs):
    assert [entry["size"] for entry in fs.ls(f"{DATASET}/readme.md")] == [5]


@pytest.mark.parametrize("withdirs", [False, True])
@pytest.mark.parametrize("maxdepth", [None, 1, 2])
@pytest.mark.parametrize("folder", [*FOLDERS, "/readme.md", "/nothing"])
def test_find_finds_what_the_folder_holds(fs, shared, translate, folder, maxdepth, withdirs):
    options = {"maxdepth": maxdepth, "withdirs": withdirs}
    local = LOCAL.find(str(shared.origin) + folder, **options)
    assert fs.find(DATASET + folder, **options) == sorted(map(translate, local))
    detailed = fs.find(DATASET + folder, detail=True, **options)
    assert list(detailed) == sorted(map(translate, local))
    assert all(name == entry["name"] for name, entry in detailed.items())


def test_find_names_dataset_mount_and_path(fs):
    assert f"{DATASET}/train/a/0001.jpg" in fs.find(DATASET)


@pytest.mark.parametrize(
    "pattern",
    ["*", "**", "train/*", "train/**/*.bin", "train/*/*.jpg", "**/x.txt", "val/?.txt", "t*/a*",
     "val/[0-9].txt", "nothing*"],
)  # fmt: skip
def test_glob_matches_what_it_matches_locally(fs, shared, translate, pattern):
    local = LOCAL.glob(f"{shared.origin}/{pattern}")
    assert fs.glob(f"{DATASET}/{pattern}") == sorted(map(translate, local))


@pytest.mark.parametrize("topdown", [True, False])
@pytest.mark.parametrize("maxdepth", [None, 1, 2])
def test_walk_goes_where_it_goes_locally(fs, shared, translate, topdown, maxdepth):
    options = {"topdown": topdown, "maxdepth": maxdepth}
    local = LOCAL.walk(str(shared.origin), **options)
    expected = sorted((translate(path), sorted(dirs), sorted(files)) for path, dirs, files in local)
    assert sorted(fs.walk(DATASET, **options)) == expected


def test_walk_over_nothing_is_empty_or_an_error(fs):
    assert list(fs.walk(f"{DATASET}/nothing")) == []
    with pytest.raises(FileNotFoundError):
        list(fs.walk(f"{DATASET}/nothing", on_error="raise"))


def test_info_says_size_and_version(fs, shared):
    for path, data in shared.files.items():
        info = fs.info(f"{DATASET}/{path}")
        assert (info["name"], info["size"], info["type"]) == (
            f"{DATASET}/{path}",
            len(data),
            "file",
        )
        assert info["version"] == fs.ukey(f"{DATASET}/{path}")


def test_kinds_of_paths_are_told_apart(fs):
    assert fs.isfile(f"{DATASET}/readme.md")
    assert not fs.isdir(f"{DATASET}/readme.md")
    assert fs.isdir(f"{DATASET}/train")
    assert not fs.isfile(f"{DATASET}/train")
    assert fs.isdir(DATASET)
    assert fs.isdir("ns")
    assert not fs.exists(f"{DATASET}/rain")
    assert not fs.isfile(f"{DATASET}/readme.md/x")
    assert fs.exists(f"cachectl://{DATASET}/train/")


@pytest.mark.parametrize("maxdepth", [None, 1])
def test_du_sums_sizes(fs, shared, maxdepth):
    local = LOCAL.du(f"{shared.origin}/train", maxdepth=maxdepth)
    assert fs.du(f"{DATASET}/train", maxdepth=maxdepth) == local
    assert fs.du(f"{DATASET}/train/a", total=False)[f"{DATASET}/train/a/0002.jpg"] == 1


@pytest.mark.parametrize("path", ["", "ns", "cachectl://"])
def test_above_a_dataset_nothing_can_be_listed(fs, path):
    for call in (fs.ls, fs.find, lambda p: list(fs.walk(p))):
        with pytest.raises(NotListable, match="a reader's token is for one Dataset"):
            call(path)


def test_missing_paths_and_directories_are_the_errors_that_code_expects(fs):
    with pytest.raises(FileNotFoundError, match="ns/data/gone is not in the Dataset's") as missing:
        fs.open(f"{DATASET}/gone")
    assert isinstance(missing.value, PathMissing)
    assert isinstance(missing.value, NoSuchPath)
    assert missing.value.filename == f"{DATASET}/gone"
    with pytest.raises(IsADirectoryError) as directory:
        fs.cat_file(f"{DATASET}/train")
    assert isinstance(directory.value, PathIsDirectory)


def test_a_refusal_never_looks_like_an_empty_or_missing_dataset(shared, make):
    fs = make(shared, token="cct1.reader.ns/other.secret")
    for call in (
        fs.exists, fs.isfile, fs.isdir, fs.find, fs.du, fs.glob, fs.ls,
        lambda path: list(fs.walk(path)),
        lambda path: fs.glob(f"{path}/*"),
    ):  # fmt: skip
        with pytest.raises(PermissionError) as refused:
            call(DATASET)
        assert isinstance(refused.value, AccessRefused)
        assert isinstance(refused.value, AccessDenied)


def test_another_dataset_is_missing(fs):
    with pytest.raises(FileNotFoundError, match="there is no Dataset ns/other"):
        fs.ls("ns/other")


def test_ukey_and_checksum_follow_the_version(agent, make):
    fs = make(agent)
    path = f"{DATASET}/train/a/0001.jpg"
    before = fs.ukey(path), fs.checksum(path)
    (agent.origin / "train/a/0002.jpg").write_bytes(b"other")
    agent.tell(publish=True)
    assert (fs.ukey(path), fs.checksum(path)) == before
    (agent.origin / "train/a/0001.jpg").write_bytes(b"other")
    agent.tell(publish=True)
    assert fs.ukey(path) != before[0]
    assert fs.checksum(path) != before[1]


def test_times_are_not_known(fs):
    for call in (fs.created, fs.modified):
        with pytest.raises(NotImplementedError, match="compare ukey"):
            call(f"{DATASET}/readme.md")
