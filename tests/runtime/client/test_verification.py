"""Bytes changed on disk behind the agent's back: never returned, healed, reported."""

import pytest

from tests.support.client_agent import CHUNK, DATASET

LARGE = "train/large.bin"
SMALL = "train/a/0001.jpg"
SEGMENT = 65_536


def flip(agent, path, offset):
    agent.tell(blob=[[path, "flip", offset]])


@pytest.fixture
def warm(agent, fs):
    """The Dataset, all of it cached."""
    for path, data in agent.files.items():
        assert fs.cat(f"{DATASET}/{path}") == data
    agent.counts()
    return fs


@pytest.mark.parametrize("path", [LARGE, SMALL])
@pytest.mark.parametrize("verify", ["FirstRead", "EveryRead"])
def test_a_file_opened_after_the_damage_is_right(agent, warm, make, path, verify):
    fs = make(agent, verify=verify)
    flip(agent, path, 5)
    assert fs.open(f"{DATASET}/{path}").read() == agent.files[path]
    counts = agent.counts()
    assert counts["/v1/suspect"] == 1
    assert counts["dropped"] == 1


@pytest.mark.parametrize("path", [LARGE, SMALL])
def test_cat_verifies_each_time(agent, warm, path):
    flip(agent, path, 7)
    assert warm.cat([f"{DATASET}/{path}"])[f"{DATASET}/{path}"] == agent.files[path]
    flip(agent, path, 7)
    assert warm.cat_file(f"{DATASET}/{path}", 5, 9) == agent.files[path][5:9]
    assert agent.counts()["dropped"] == 2


@pytest.mark.parametrize("at", [0, SEGMENT - 1, SEGMENT, CHUNK - 1, CHUNK, 2_000_002])
def test_damage_anywhere_in_a_touched_segment_is_found(agent, warm, at):
    # The flipped byte itself may lie outside the range that is read.
    flip(agent, LARGE, at)
    start = max(at - 10, 0) // SEGMENT * SEGMENT + 20
    with warm.open(f"{DATASET}/{LARGE}") as file:
        file.seek(start)
        assert file.read(100) == agent.files[LARGE][start : start + 100]
        file.seek(at)
        assert file.read(1) == agent.files[LARGE][at : at + 1]
    assert agent.counts()["dropped"] == 1


def test_damage_elsewhere_in_the_chunk_does_not_disturb(agent, warm):
    flip(agent, LARGE, 3 * SEGMENT)
    assert warm.cat_file(f"{DATASET}/{LARGE}", 0, SEGMENT) == agent.files[LARGE][:SEGMENT]
    assert "/v1/suspect" not in agent.counts()


def test_an_open_handle_verifies_each_segment_once(agent, warm):
    data = agent.files[LARGE]
    with warm.open(f"{DATASET}/{LARGE}") as file:
        assert file.read(SEGMENT) == data[:SEGMENT]
        flip(agent, LARGE, 10)
        file.seek(0)
        again = file.read(SEGMENT)
        assert again != data[:SEGMENT]
        assert again[11:] == data[11:SEGMENT]


def test_every_read_verifies_every_time(agent, warm, make):
    data = agent.files[LARGE]
    with make(agent, verify="EveryRead").open(f"{DATASET}/{LARGE}") as file:
        for _ in range(3):
            file.seek(0)
            assert file.read(SEGMENT) == data[:SEGMENT]
            flip(agent, LARGE, 10)
    assert agent.counts()["dropped"] == 2


def test_on_fill_leaves_it_to_the_agent(agent, warm, make):
    flip(agent, SMALL, 3)
    data = make(agent, verify="OnFill").cat(f"{DATASET}/{SMALL}")
    assert data != agent.files[SMALL]
    assert "/v1/suspect" not in agent.counts()


def test_a_refilled_cell_is_verified_anew(agent, warm):
    data = agent.files[LARGE]
    with warm.open(f"{DATASET}/{LARGE}") as file:
        assert file.read(SEGMENT) == data[:SEGMENT]
        agent.tell(blob=[[LARGE, "take", 0]])
        file.seek(0)
        assert file.read(SEGMENT) == data[:SEGMENT]
        agent.tell(blob=[[LARGE, "take", 0]])
        warm.cat(f"{DATASET}/{LARGE}")
        flip(agent, LARGE, 10)
        file.seek(0)
        assert file.read(SEGMENT) == data[:SEGMENT]
    assert agent.counts()["dropped"] == 1


def test_a_blob_made_anew_is_verified_anew(agent, warm):
    # Its words start again, so a word alone could pass for one that was verified.
    data = agent.files[LARGE]
    with warm.open(f"{DATASET}/{LARGE}") as file:
        assert file.read(SEGMENT) == data[:SEGMENT]
        agent.tell(blob=[[LARGE, "drop", 0]])
        warm.cat(f"{DATASET}/{LARGE}")
        flip(agent, LARGE, 10)
        file.seek(0)
        assert file.read(SEGMENT) == data[:SEGMENT]
    assert agent.counts()["dropped"] == 1


def test_damage_that_does_not_heal_is_read_through(agent, warm):
    # The agent finds nothing wrong, so the client asks it for the bytes themselves.
    agent.tell(set={"fail": {"/v1/suspect": [404, "NoSuchPath", "unknown"]}})
    flip(agent, LARGE, 1)
    flip(agent, SMALL, 1)
    assert warm.cat_file(f"{DATASET}/{LARGE}", 0, 100) == agent.files[LARGE][:100]
    assert warm.cat(f"{DATASET}/{SMALL}") == agent.files[SMALL]
    assert agent.counts()["GET"] == 2
