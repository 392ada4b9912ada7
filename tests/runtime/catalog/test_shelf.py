"""The shelf: which snapshot is followed survives anything, and mapped clients see it change."""

import mmap

import pytest

from runtime.catalog.build import Entry, build
from runtime.catalog.shelf import Head, Shelf, file_checksum
from runtime.contract.protocol import DATASET_HEAD
from runtime.errors import ConfigError


@pytest.fixture
def shelf(tmp_path):
    shelf = Shelf(tmp_path, "ns/d")
    yield shelf
    shelf.close()


def made(shelf, version, *, dataset="ns/d"):
    """Build a catalog beside the shelf; return its file and its snapshot."""
    place = shelf.folder.parent / f"{version}.new"
    entries = [Entry("a", 5, version)]
    meta = build(place, dataset=dataset, entries=entries, chunk_size=4096, pack_below=1024)
    return place, meta.snapshot


def installed(shelf, version, sequence):
    place, snapshot = made(shelf, version)
    head = Head(sequence, snapshot, "request", "now", file_checksum(place))
    shelf.install(place, head)
    return head


def test_an_empty_shelf_follows_nothing(shelf):
    assert shelf.current() is None


def test_what_was_installed_is_followed_after_a_restart(shelf, tmp_path):
    head = installed(shelf, "v1", 1)
    assert shelf.current() == head
    again = Shelf(tmp_path, "ns/d")
    assert again.current() == head
    with again.open(head.snapshot) as catalog:
        assert catalog.find("a").version == "v1"
    again.close()


def test_clients_that_map_the_head_see_each_publication_counted(shelf):
    with mmap.mmap(shelf.head_fd(), 0, access=mmap.ACCESS_READ) as mapped:
        before = DATASET_HEAD.unpack_from(mapped)[0]
        installed(shelf, "v1", 1)
        installed(shelf, "v2", 7)
        assert DATASET_HEAD.unpack_from(mapped)[0] == before + 2 == shelf.count


def test_the_same_snapshot_may_answer_a_new_request(shelf):
    head = installed(shelf, "v1", 1)
    again = Head(2, head.snapshot, "another request", "later", head.checksum)
    shelf.publish(again)
    assert shelf.current() == again


@pytest.mark.parametrize("sequence", [0, 1])
def test_heads_only_grow(shelf, sequence):
    head = installed(shelf, "v1", 1)
    with pytest.raises(ConfigError, match="must be above 1"):
        shelf.publish(Head(sequence, head.snapshot))
    assert shelf.current() == head


def test_of_two_snapshots_of_one_sequence_the_greater_is_followed_whichever_came_first(shelf):
    files = {snapshot: place for place, snapshot in (made(shelf, "v1"), made(shelf, "v2"))}
    less, greater = sorted(files)
    shelf.install(files[less], Head(1, less))
    count = shelf.count

    shelf.install(files[greater], Head(1, greater))

    assert shelf.current() == Head(1, greater)
    assert shelf.count == count + 1


def test_of_two_catalogs_of_one_snapshot_the_greater_checksum_is_followed(shelf):
    place, snapshot = made(shelf, "v1")
    shelf.install(place, Head(1, snapshot))
    place, _ = made(shelf, "v1")
    checked = Head(1, snapshot, checksum=file_checksum(place))
    shelf.install(place, checked)
    assert shelf.current() == checked


def test_a_refused_catalog_leaves_no_file_on_the_shelf(shelf):
    head = installed(shelf, "v1", 3)
    place, snapshot = made(shelf, "v2")
    with pytest.raises(ConfigError, match="must be above 3"):
        shelf.install(place, Head(2, snapshot))
    assert [file.stem for file in shelf.folder.glob("*.sqlite")] == [head.snapshot]
    assert place.exists()


def test_clients_look_again_after_a_restart_that_may_have_followed_a_crash(shelf, tmp_path):
    installed(shelf, "v1", 5)
    with mmap.mmap(shelf.head_fd(), 0, access=mmap.ACCESS_READ) as mapped:
        before = DATASET_HEAD.unpack_from(mapped)[0]
        Shelf(tmp_path, "ns/d").close()
        assert DATASET_HEAD.unpack_from(mapped)[0] == before + 1


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"sequence": 1}', '{"sequence": 1, "snapshot": "../x"}']
)
def test_a_current_file_that_makes_no_sense_counts_as_none(shelf, text):
    installed(shelf, "v1", 5)
    (shelf.folder / "current").write_text(text)
    assert shelf.current() is None


def test_a_current_file_without_its_catalog_counts_as_none(shelf):
    shelf.path(installed(shelf, "v1", 1).snapshot).unlink()
    assert shelf.current() is None


def test_a_catalog_that_is_not_what_it_is_said_to_be_is_not_installed(shelf):
    place, snapshot = made(shelf, "v1")
    foreign, foreign_snapshot = made(shelf, "v2", dataset="ns/other")
    for file, head in (
        (place, Head(1, "0" * 32)),
        (place, Head(1, snapshot, checksum="0" * 32)),
        (foreign, Head(1, foreign_snapshot)),
    ):
        with pytest.raises(ConfigError):
            shelf.install(file, head)
    assert shelf.current() is None
    with pytest.raises(ConfigError, match="no catalog of snapshot"):
        shelf.publish(Head(1, snapshot))


def test_a_flipped_byte_is_found_when_the_catalog_is_opened(shelf):
    head = installed(shelf, "v1", 1)
    place = shelf.path(head.snapshot)
    data = bytearray(place.read_bytes())
    data[-1] ^= 1
    place.write_bytes(data)
    with pytest.raises(ConfigError, match="damaged"):
        shelf.open(head.snapshot)


def test_dropping_leaves_open_catalogs_readable(shelf):
    old, new = installed(shelf, "v1", 1), installed(shelf, "v2", 2)
    with shelf.open(old.snapshot) as catalog:
        assert shelf.drop_except({new.snapshot}) == [old.snapshot]
        assert catalog.find("a").version == "v1"
    with pytest.raises(ConfigError):
        shelf.open(old.snapshot)
    assert shelf.current() == new


def test_leftovers_of_a_crash_are_removed(shelf, tmp_path):
    (shelf.folder / "x.part").touch()
    Shelf(tmp_path, "ns/d").close()
    assert [place.name for place in shelf.folder.iterdir()] == ["head"]


@pytest.mark.parametrize("dataset", ["", "d", "ns/", "/d", "ns/d/e", "../d", "ns/.."])
def test_a_dataset_needs_a_namespace_and_a_name(tmp_path, dataset):
    with pytest.raises(ConfigError, match="namespace/name"):
        Shelf(tmp_path, dataset)
