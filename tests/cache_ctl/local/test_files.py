"""Files that are replaced whole, and the paths of a state directory."""

from __future__ import annotations

import stat

import pytest

from cache_ctl.api.kinds import DATASET, NODE
from cache_ctl.errors import Unreadable
from cache_ctl.local.files import PRIVATE_MODE, link, replace
from cache_ctl.local.identity import stable_uid
from cache_ctl.local.state_dir import StateDir, StateInUse


def test_a_file_is_replaced_by_another_one_and_keeps_its_mode(tmp_path):
    path = tmp_path / "plan.json"
    replace(path, b"old", mode=PRIVATE_MODE)
    before = path.stat()
    with path.open("rb") as reader:
        replace(path, b"new", mode=PRIVATE_MODE)
        assert reader.read() == b"old"

    assert path.read_bytes() == b"new"
    assert path.stat().st_ino != before.st_ino
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_bytes_leave_a_file_alone(tmp_path):
    path = tmp_path / "plan.json"
    assert replace(path, b"same")
    before = path.stat()
    assert not replace(path, b"same")

    assert path.stat() == before


def test_a_link_is_turned_in_one_step(tmp_path):
    path = tmp_path / "follow.json"
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
        link(path, tmp_path / name)
        assert path.read_text() == name

    assert sorted(item.name for item in tmp_path.iterdir()) == ["a", "b", "follow.json"]


def test_a_lock_keeps_others_out_until_it_is_given_back(tmp_path):
    with StateDir(tmp_path).locked(), pytest.raises(StateInUse, match=str(tmp_path)):
        StateDir(tmp_path).locked().__enter__()

    with StateDir(tmp_path).locked():
        pass


def test_a_state_directory_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Unreadable, match="choose another one"):
        StateDir(tmp_path / "file" / "state").locked().__enter__()


def test_a_state_directory_is_made_for_its_user_alone(tmp_path):
    with StateDir(tmp_path / "new").locked():
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_a_master_key_is_made_once(tmp_path):
    with StateDir(tmp_path).locked():
        first = StateDir(tmp_path).master_key("space/edge")
        again = StateDir(tmp_path).master_key("space/edge")
        other = StateDir(tmp_path).master_key("space/other")

    assert len(first) == 32
    assert first == again != other


def test_plans_of_one_name_in_two_namespaces_have_files_of_their_own(tmp_path):
    layout = StateDir(tmp_path)

    assert layout.plan("a", "edge.x") != layout.plan("b", "edge.x")


def test_uids_of_what_stays_on_disk_are_the_same_in_every_run():
    assert stable_uid(NODE, "", "n1") == stable_uid(NODE, "", "n1")
    assert stable_uid(NODE, "", "n1") != stable_uid(NODE, "", "n2")
    assert stable_uid(DATASET, "a", "n1") != stable_uid(DATASET, "b", "n1")
