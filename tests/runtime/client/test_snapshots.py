"""Versions: what an open file keeps, what the next open sees, and an agent that restarts."""

import threading
import time

import pytest

from runtime.client.failures import AgentUnreachable, StaleFile
from runtime.errors import NotCached, StaleVersion
from tests.support.client_agent import CHUNK, DATASET

LARGE = "train/large.bin"
SMALL = "train/a/0001.jpg"


def publish(agent, path, data):
    (agent.origin / path).write_bytes(data)
    return agent.tell(publish=True)["snapshot"]


def pins_become(agent, expected):
    """Wait until the agent has seen connections close; it learns of that by itself."""
    deadline = time.monotonic() + 10
    while agent.tell()["pins"] != expected:
        assert time.monotonic() < deadline, agent.tell()["pins"]
        threading.Event().wait(0.01)


def test_the_next_listing_and_open_see_a_new_snapshot(agent, fs):
    assert fs.cat(f"{DATASET}/{SMALL}") == agent.files[SMALL]
    publish(agent, SMALL, b"new")
    publish(agent, "train/added.bin", b"added")
    assert fs.info(f"{DATASET}/{SMALL}")["size"] == 3
    assert fs.cat(f"{DATASET}/{SMALL}") == b"new"
    assert fs.open(f"{DATASET}/{SMALL}").read() == b"new"
    assert f"{DATASET}/train/added.bin" in fs.find(DATASET)


def test_an_open_file_keeps_its_version(agent, fs):
    data = agent.files[LARGE]
    file = fs.open(f"{DATASET}/{LARGE}")
    assert file.read(100) == data[:100]
    changed = bytes(reversed(data))
    publish(agent, LARGE, changed)
    assert fs.cat(f"{DATASET}/{LARGE}") == changed
    # Part of it was never read before the change.
    assert file.read() == data[100:]
    file.close()


def test_a_snapshot_is_released_with_the_last_file_open_on_it(agent, fs):
    old = agent.tell()["snapshot"]
    file = fs.open(f"{DATASET}/{LARGE}")
    new = publish(agent, SMALL, b"new")
    fs.ls(DATASET)
    assert agent.tell()["pins"] == [old, new]
    file.close()
    pins_become(agent, [new])


def test_everything_is_released_with_the_file_system(agent, make):
    fs = make(agent)
    fs.cat(f"{DATASET}/{LARGE}")
    assert len(agent.tell()["pins"]) == 1
    del fs
    pins_become(agent, [])


def test_two_file_systems_of_equal_settings_share_one_snapshot(agent, make):
    first, second = make(agent), make(agent)
    first.ls(DATASET)
    second.ls(DATASET)
    assert agent.counts()["/v1/open/catalog"] == 1


def test_a_version_that_is_gone_is_stale(agent, fs):
    old = agent.tell()["snapshot"]
    with fs.open(f"{DATASET}/{LARGE}") as file:
        file.read(100)
        publish(agent, LARGE, b"new" * 50_000)
        agent.tell(forget=[old])
        with pytest.raises(StaleFile, match="this snapshot is gone") as stale:
            file.read()
        assert isinstance(stale.value, StaleVersion)
        assert isinstance(stale.value, OSError)
        # What it had is still right.
        file.seek(0)
        assert file.read(100) == agent.files[LARGE][:100]


def test_cached_bytes_are_read_without_an_agent(agent, fs):
    names = [f"{DATASET}/{path}" for path in agent.files]
    expected = fs.cat(names)
    file = fs.open(f"{DATASET}/{LARGE}")
    agent.stop()
    assert fs.cat(names) == expected
    assert file.read() == agent.files[LARGE]
    assert len(fs.find(DATASET)) == len(agent.files)


def test_absent_bytes_without_an_agent_say_so(agent, make):
    fs = make(agent, timeout=0.3)
    fs.ls(DATASET)
    agent.stop()
    with pytest.raises(ConnectionError, match=r"no cache agent answers at .*start the agent") as no:
        fs.cat(f"{DATASET}/{LARGE}")
    assert isinstance(no.value, AgentUnreachable)
    assert isinstance(no.value, NotCached)


def test_a_reader_outlives_a_restart_of_the_agent(agent, fs):
    data = agent.files[LARGE]
    file = fs.open(f"{DATASET}/{LARGE}")
    assert file.read(100) == data[:100]
    agent.stop()
    starter = threading.Timer(0.3, agent.start)
    starter.start()
    try:
        # Absent chunks: the questions are repeated until the agent is back.
        assert file.read() == data[100:]
    finally:
        starter.join()
    assert fs.cat(f"{DATASET}/{SMALL}") == agent.files[SMALL]


def test_a_restarted_agent_is_asked_to_keep_the_snapshot_again(agent, fs, monkeypatch):
    monkeypatch.setattr("runtime.client.snapshots._LOOK_SECONDS", 0.0)
    with fs.open(f"{DATASET}/{LARGE}") as file:
        file.read(100)
        agent.stop()
        agent.start()
        fs.ls(DATASET)
        assert len(agent.tell()["pins"]) == 1
        assert file.read() == agent.files[LARGE][100:]


def test_a_new_snapshot_that_cannot_be_had_yet_leaves_the_old_one(agent, fs):
    fs.ls(DATASET)
    agent.tell(set={"fail": {"/v1/open/catalog": [503, "NotCached", "not yet"]}})
    publish(agent, "train/added.bin", b"added")
    assert len(fs.find(DATASET)) == len(agent.files)


def test_no_snapshot_at_all_is_an_error_that_says_why(agent, fs):
    agent.tell(set={"fail": {"/v1/open/catalog": [503, "NotCached", "the listing is under way"]}})
    with pytest.raises(NotCached, match="the listing is under way"):
        fs.ls(DATASET)


def test_chunks_read_before_and_after_a_change_never_mix(agent, fs):
    versions = [bytes([65 + number]) * (4 * CHUNK) for number in range(4)]
    publish(agent, LARGE, versions[0])
    for version in versions[1:]:
        with fs.open(f"{DATASET}/{LARGE}") as file:
            first = file.read(CHUNK)
            publish(agent, LARGE, version)
            assert set(first + file.read()) == {first[0]}


@pytest.fixture(name="remade")
def _remade(agent, fs):
    """The Dataset was removed and made anew, and the client has not been told."""
    fs.ls(DATASET)
    for path in (SMALL, LARGE):
        (agent.origin / path).write_bytes(path.encode() * 10_000)
    agent.tell(remake=True, publish=True)
    return agent


@pytest.mark.parametrize("path", [SMALL, LARGE])
def test_a_read_finds_the_snapshot_of_a_dataset_that_was_made_anew(remade, fs, path):
    assert fs.cat_file(f"{DATASET}/{path}") == path.encode() * 10_000


@pytest.mark.parametrize("path", [SMALL, LARGE])
def test_an_open_finds_the_snapshot_of_a_dataset_that_was_made_anew(remade, fs, path):
    if path == LARGE:
        with fs.open(f"{DATASET}/{path}") as file, pytest.raises(NotCached, match="no such"):
            file.read(1)
    with fs.open(f"{DATASET}/{path}") as file:
        assert file.read() == path.encode() * 10_000


def test_many_reads_find_the_snapshot_of_a_dataset_that_was_made_anew(remade, fs):
    names = [f"{DATASET}/{path}" for path in remade.files]
    found = fs.cat(names)
    for path, data in remade.files.items():
        expected = path.encode() * 10_000 if path in (SMALL, LARGE) else data
        assert found[f"{DATASET}/{path}"] == expected


def test_bytes_that_cannot_be_had_cost_one_look_at_the_catalog_a_second(agent, fs):
    fs.ls(DATASET)
    wrong = [503, "NotCached", "not now"]
    agent.tell(set={"fail": {"/v1/open/blob": wrong, "/v1/want": wrong}}, reset=True)
    for _ in range(5):
        with pytest.raises(NotCached, match="not now"):
            fs.cat_file(f"{DATASET}/{SMALL}")
    assert agent.counts()["/v1/open/catalog"] <= 2
