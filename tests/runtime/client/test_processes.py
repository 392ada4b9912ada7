"""Workers: forked, spawned, threads, pickles, and inside a running event loop."""

import asyncio
import hashlib
import io
import multiprocessing
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runtime.client.failures import StaleFile
from tests.support.client_agent import DATASET
from tests.support.client_workers import digest_all, digest_into, read_rest

LARGE = "train/large.bin"
SMALL = "train/a/0001.jpg"


@pytest.fixture
def expected(agent):
    return {
        f"{DATASET}/{path}": hashlib.sha256(data).hexdigest() for path, data in agent.files.items()
    }


def in_process(method, target, *arguments):
    """Run a function in a child process and return what it sends."""
    context = multiprocessing.get_context(method)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(*arguments, sender))
    process.start()
    sender.close()
    try:
        assert receiver.poll(30)
        return receiver.recv()
    finally:
        receiver.close()
        process.join(30)


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_worker_reads_with_the_file_system_it_is_given(agent, fs, expected, method, warm):
    if warm:
        assert digest_all(fs, list(expected)) == expected
    assert in_process(method, digest_into, fs, list(expected)) == expected
    # And the parent goes on.
    assert digest_all(fs, list(expected)) == expected


def test_forked_workers_read_at_once_and_outlive_their_parents_snapshot(agent, fs, expected):
    names = list(expected)
    fs.cat(names[:3])
    context = multiprocessing.get_context("fork")
    pipes, processes = [], []
    for _ in range(4):
        receiver, sender = context.Pipe(duplex=False)
        processes.append(context.Process(target=digest_into, args=(fs, names, sender)))
        processes[-1].start()
        sender.close()
        pipes.append(receiver)
    assert digest_all(fs, names) == expected
    for receiver, process in zip(pipes, processes, strict=True):
        assert receiver.recv() == expected
        process.join()
        receiver.close()


def test_an_open_file_is_read_on_in_a_forked_child(agent, fs):
    file = fs.open(f"{DATASET}/{LARGE}")
    file.read(1000)

    def child(pipe):
        pipe.send(file.read())
        pipe.close()

    assert in_process("fork", child) == agent.files[LARGE][1000:]
    assert file.read() == agent.files[LARGE][1000:]


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


def test_threads_share_a_file_system(agent, fs, expected):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: digest_all(fs, list(expected)), range(16)))
    assert found == [expected] * 16


def test_threads_may_share_one_large_file(agent, fs):
    with fs.open(f"{DATASET}/{LARGE}") as file:
        reader = file._reader

        def read(number):
            start = number * 7919 % 1_900_000
            return reader.read(start, start + 50_000) == agent.files[LARGE][start : start + 50_000]

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(read, range(400)))


def test_a_pickled_file_system_reads_the_same(agent, fs):
    again = pickle.loads(pickle.dumps(fs))
    assert again.cat(f"{DATASET}/{SMALL}") == agent.files[SMALL]


@pytest.mark.parametrize("path", [LARGE, SMALL])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_pickled_open_file_goes_on_where_it_was(agent, fs, path, method):
    with fs.open(f"{DATASET}/{path}") as file:
        file.seek(123)
        assert in_process(method, read_rest, pickle.dumps(file)) == agent.files[path][123:]


def test_a_pickle_of_another_version_is_stale(agent, fs):
    with fs.open(f"{DATASET}/{LARGE}") as file:
        pickled = pickle.dumps(file)
    (agent.origin / LARGE).write_bytes(b"other" * 20_000)
    agent.tell(publish=True)
    with pytest.raises(StaleFile, match="open it again"):
        pickle.loads(pickled)


async def test_calls_work_inside_a_running_event_loop(agent, fs, expected):
    assert digest_all(fs, list(expected)) == expected
    found = await asyncio.gather(
        *(asyncio.to_thread(fs.cat_file, f"{DATASET}/{path}") for path in (LARGE, SMALL))
    )
    assert found == [agent.files[LARGE], agent.files[SMALL]]


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


def test_a_file_is_a_context_for_the_standard_library(fs):
    with io.BufferedReader(fs.open(f"{DATASET}/{LARGE}")) as buffered:
        assert len(buffered.read(70_000)) == 70_000
