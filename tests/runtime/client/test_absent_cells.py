"""Bytes that are not in the store's files: asked for, fetched ahead, or read through."""

import threading

import pytest

from runtime.client.failures import AgentMisspoke, OriginUnreachable
from runtime.errors import OriginUnavailable
from tests.support.client_agent import CHUNK, DATASET, PACK_BELOW

LARGE = "train/large.bin"
SMALL = [
    "train/a/0001.jpg",
    "train/a/0002.jpg",
    "train/a/deep/er/x.txt",
    "val/1.txt",
    "val/[1].txt",
    "val/with space +%&?#=.bin",
]


def named(paths):
    return [f"{DATASET}/{path}" for path in paths]


def test_a_warm_file_asks_nothing(agent, fs):
    fs.cat(named(agent.files))
    with fs.open(f"{DATASET}/{LARGE}") as large:
        large.read()
        agent.counts()
        assert fs.cat(named(agent.files)) == {
            f"{DATASET}/{path}": data for path, data in agent.files.items()
        }
        large.seek(0)
        assert large.read() == agent.files[LARGE]
        fs.find(DATASET)
        fs.info(f"{DATASET}/{LARGE}")
    assert agent.counts() == {}


def test_many_cold_small_files_are_one_question(agent, fs):
    packed = [path for path in agent.files if 0 < len(agent.files[path]) < PACK_BELOW]
    assert fs.cat(named(packed)) == {f"{DATASET}/{path}": agent.files[path] for path in packed}
    assert agent.counts()["/v1/want"] == 1


def test_a_cold_large_read_is_one_question(agent, fs):
    assert fs.cat(f"{DATASET}/{LARGE}") == agent.files[LARGE]
    seen = agent.tell()
    cells = ",".join(map(str, range(-(-len(agent.files[LARGE]) // CHUNK))))
    assert seen["asked"] == [f"{LARGE} {cells} 0"]


def test_sequential_reads_are_fetched_ahead(agent, fs):
    with fs.open(f"{DATASET}/{LARGE}") as file:
        while file.read(CHUNK // 4):
            pass
    asked = [tuple(map(int, line.split()[1:])) for line in agent.tell()["asked"]]
    assert asked[0] == (0, 0)
    aheads = [ahead for _, ahead in asked[1:]]
    assert all(aheads)
    assert aheads == sorted(aheads)
    # Fewer questions than chunks: what was fetched ahead is not asked for again.
    assert len(asked) < -(-len(agent.files[LARGE]) // CHUNK)


def test_random_reads_fetch_nothing_ahead(agent, fs):
    with fs.open(f"{DATASET}/{LARGE}") as file:
        for cell in (5, 2, 4, 0):
            file.seek(cell * CHUNK + 100)
            assert file.read(10) == agent.files[LARGE][cell * CHUNK + 100 :][:10]
    assert [line.split()[2] for line in agent.tell()["asked"]] == ["0"] * 4


def test_what_the_store_does_not_admit_is_read_through(agent, fs):
    agent.tell(set={"admit": False})
    assert fs.cat(f"{DATASET}/{LARGE}") == agent.files[LARGE]
    assert fs.open(f"{DATASET}/{SMALL[0]}").read() == agent.files[SMALL[0]]
    assert fs.cat_file(f"{DATASET}/{SMALL[-1]}", 10, -10) == agent.files[SMALL[-1]][10:-10]


def test_many_small_files_that_are_not_admitted_come_in_a_batch(agent, fs):
    agent.tell(set={"admit": False})
    packed = [path for path in SMALL if len(agent.files[path]) < PACK_BELOW]
    assert fs.cat(named(packed)) == {f"{DATASET}/{path}": agent.files[path] for path in packed}
    counts = agent.counts()
    assert counts["/batch"] == 1
    assert "GET" not in counts


def test_a_full_store_is_read_through(agent, fs):
    agent.tell(set={"fail": {"/v1/want": [507, "NoRoom", "the store is full"]}})
    assert fs.cat(f"{DATASET}/{LARGE}") == agent.files[LARGE]
    assert fs.cat(named(SMALL)) == {f"{DATASET}/{path}": agent.files[path] for path in SMALL}


def test_cells_that_go_as_soon_as_they_come_are_read_through(agent, fs):
    agent.tell(set={"evict": True})
    assert fs.cat_file(f"{DATASET}/{LARGE}", 0, 100) == agent.files[LARGE][:100]
    assert fs.cat(f"{DATASET}/{SMALL[0]}") == agent.files[SMALL[0]]
    counts = agent.counts()
    assert counts["GET"] == 2
    assert counts["/v1/want"] == 6


@pytest.mark.parametrize("lie", ["short", "etag", "status"])
@pytest.mark.parametrize("path", [LARGE, SMALL[0]])
def test_a_wrong_answer_is_never_returned(agent, fs, lie, path):
    agent.tell(set={"admit": False, "lie": lie})
    with pytest.raises(AgentMisspoke):
        fs.cat(f"{DATASET}/{path}")
    with pytest.raises(AgentMisspoke):
        fs.open(f"{DATASET}/{path}").read()


def test_a_wrong_batch_is_never_returned(agent, fs):
    agent.tell(set={"admit": False, "lie": "short"})
    found = fs.cat(named(SMALL[:3]), on_error="return")
    assert all(isinstance(data, AgentMisspoke) for data in found.values())


def test_an_origin_that_cannot_be_reached_is_named(agent, fs):
    sentence = "the origin does not answer"
    agent.tell(set={"fail": {"/v1/want": [504, "OriginUnavailable", sentence]}})
    for path in (LARGE, SMALL[0]):
        with pytest.raises(OSError, match=sentence) as failure:
            fs.cat(f"{DATASET}/{path}")
        assert isinstance(failure.value, OriginUnreachable)
        assert isinstance(failure.value, OriginUnavailable)
        assert failure.value.filename in (path, None)
    assert fs.open(f"{DATASET}/train/empty.bin").read() == b""


def test_a_failed_read_leaves_the_position(agent, fs):
    with fs.open(f"{DATASET}/{LARGE}") as file:
        file.seek(CHUNK)
        agent.tell(set={"fail": {"/v1/want": [504, "OriginUnavailable", "gone"]}})
        with pytest.raises(OriginUnreachable):
            file.read(100)
        assert file.tell() == CHUNK
        agent.tell(set={"fail": {}})
        assert file.read(100) == agent.files[LARGE][CHUNK : CHUNK + 100]


def test_reads_are_right_while_cells_come_and_go(agent, fs):
    """Chunks punched, refilled and whole blobs dropped, as fast as the agent can."""
    stop = threading.Event()
    disturbed = []

    def disturb():
        while not stop.is_set():
            number = len(disturbed)
            what = "drop" if number % 5 == 0 else "take"
            agent.tell(blob=[[LARGE, what, number % 8], [SMALL[0], what, 0]])
            disturbed.append(what)

    fs.cat(named([LARGE, SMALL[0]]))
    agent.counts()
    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        with fs.open(f"{DATASET}/{LARGE}") as file:
            number = 0
            while len(disturbed) < 40:
                number += 1
                start = number * 7919 % 1_900_000
                file.seek(start)
                assert file.read(70_000) == agent.files[LARGE][start : start + 70_000]
                assert fs.cat(f"{DATASET}/{SMALL[0]}") == agent.files[SMALL[0]]
    finally:
        stop.set()
        thread.join()
    counts = agent.counts()
    assert counts["/v1/want"] > 10
    assert "/v1/suspect" not in counts
