"""Workers against an agent that does as it is told: changes under forks, pins, descriptors."""

import hashlib
import os
import pickle
import threading
from pathlib import Path

import pytest

from runtime.client.failures import StaleFile
from tests.support.client_agent import DATASET
from tests.support.client_workers import digest_into, in_process

LARGE = "train/large.bin"
SMALL = "train/a/0001.jpg"


@pytest.fixture
def expected(agent):
    return {
        f"{DATASET}/{path}": hashlib.sha256(data).hexdigest() for path, data in agent.files.items()
    }


def test_a_fork_while_other_threads_read_leaves_no_lock_held(agent, fs, expected):
    stop = threading.Event()

    def read():
        while not stop.is_set():
            fs.cat(f"{DATASET}/{LARGE}")
            agent.tell(blob=[[LARGE, "take", 1]])

    fs.cat(f"{DATASET}/{LARGE}")
    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(8):
            assert in_process("fork", digest_into, fs, list(expected)) == expected
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_the_snapshot_stays_pinned_while_a_forked_child_needs_it(agent, fs):
    old = agent.tell()["snapshot"]
    fs.ls(DATASET)
    release, hold = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(hold)
        os.read(release, 1)
        os._exit(0)
    try:
        (agent.origin / SMALL).write_bytes(b"new")
        new = agent.tell(publish=True)["snapshot"]
        fs.ls(DATASET)
        assert agent.tell()["pins"] == [old, new]
    finally:
        os.close(hold)
        os.close(release)
        os.waitpid(child, 0)


def test_a_pickle_of_another_version_is_stale(agent, fs):
    with fs.open(f"{DATASET}/{LARGE}") as file:
        pickled = pickle.dumps(file)
    (agent.origin / LARGE).write_bytes(b"other" * 20_000)
    agent.tell(publish=True)
    with pytest.raises(StaleFile, match="open it again"):
        pickle.loads(pickled)


def test_a_closed_file_lets_its_descriptors_go(agent, make):
    def opened():
        return len(list(Path("/proc/self/fd").iterdir()))

    before = opened()
    fs = make(agent)
    for path in agent.files:
        with fs.open(f"{DATASET}/{path}") as file:
            file.read()
        for _ in range(3):
            agent.tell(blob=[[LARGE, "drop", 0]] if path == LARGE else [])
            fs.cat(f"{DATASET}/{path}")
    assert opened() > before
    del fs, file
    # The catalog is closed at the next change of snapshots.
    other = make(agent, verify="EveryRead")
    other.ls(DATASET)
    del other
    assert opened() <= before + 2
