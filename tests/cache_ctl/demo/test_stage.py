"""The demo's folder, addresses and ports, before anything is started."""

import socket

import pytest

from cache_ctl.demo import stage
from cache_ctl.demo.bundle import write_files
from cache_ctl.local.state_dir import StateDir, StateInUse


def test_a_new_folder_is_made(tmp_path):
    stage.prepare_folder(tmp_path / "deep" / "state")
    assert (tmp_path / "deep" / "state").is_dir()


def test_what_an_earlier_demo_left_is_removed(tmp_path):
    stage.prepare_folder(tmp_path)
    (tmp_path / "nodes" / "a").mkdir(parents=True)
    (tmp_path / "objects.yaml").touch()
    stage.prepare_folder(tmp_path)
    assert not (tmp_path / "nodes").exists()
    assert not (tmp_path / "objects.yaml").exists()


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(stage.DemoCannotRun, match="is not empty and holds no earlier demo"):
        stage.prepare_folder(tmp_path)
    assert [item.name for item in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_running_demo_is_not_disturbed(tmp_path):
    stage.prepare_folder(tmp_path)
    with StateDir(tmp_path).locked():
        (tmp_path / "objects.yaml").touch()
        with pytest.raises(StateInUse, match="another process"):
            stage.prepare_folder(tmp_path)
    assert (tmp_path / "objects.yaml").exists()


def test_a_file_in_the_place_of_the_folder_is_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(stage.DemoCannotRun, match="choose another"):
        stage.prepare_folder(tmp_path / "file")


def test_too_little_room_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "ROOM", 1 << 60)
    with pytest.raises(stage.DemoCannotRun, match="MiB in"):
        stage.prepare_folder(tmp_path)


def test_the_bulk_goes_and_what_explains_it_stays(tmp_path):
    for name in ("origin", "tiers", "plans", "nodes"):
        (tmp_path / name).mkdir()
    stage.remove_bulk(tmp_path)
    assert {item.name for item in tmp_path.iterdir()} == {"plans", "nodes"}


def test_a_port_that_is_taken_at_one_address_is_passed_over():
    with socket.create_server(("127.0.9.1", 0)) as holder:
        taken = holder.getsockname()[1]
        assert stage.free_port(["127.0.9.2"], taken) == taken
        assert stage.free_port(["127.0.9.2", "127.0.9.1"], taken) > taken


def test_an_address_that_this_machine_lacks_is_a_sentence():
    with pytest.raises(stage.DemoCannotRun, match=r"no address 203\.0\.113\.1"):
        stage.free_port(["203.0.113.1"], 20000)


def test_every_node_address_is_found(tmp_path):
    files = write_files(tmp_path, state=tmp_path, origin_port=1, agent_port=2)
    addresses = stage.node_addresses(files.texts["nodes.yaml"])
    assert len(addresses) == 11
    assert "127.0.5.1" in addresses
