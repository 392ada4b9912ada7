"""Readers of a real agent: workers forked and spawned, threads, pickles, event loops, restarts."""

import asyncio
import hashlib
import io
import multiprocessing
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from runtime.client.failures import AgentUnreachable
from runtime.contract.units import MIB
from runtime.errors import AccessDenied
from tests.support.client_agent import DATASET
from tests.support.client_workers import (
    digest_all,
    digest_into,
    digest_with,
    in_process,
    read_rest,
)
from tests.support.lab_client import LONG, RealAgent

LARGE = "train/large.bin"
SMALL = "train/a/0001.jpg"


@pytest.fixture
def fs(real, make):
    return make(real)


@pytest.fixture
def expected(real):
    return {
        f"{DATASET}/{path}": hashlib.sha256(data).hexdigest() for path, data in real.files.items()
    }


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_worker_reads_with_the_file_system_it_is_given(real, fs, expected, method, warm):
    if warm:
        assert digest_all(fs, list(expected)) == expected
    assert in_process(method, digest_into, fs, list(expected)) == expected
    # And the parent goes on.
    assert digest_all(fs, list(expected)) == expected


def test_forked_workers_and_their_parent_read_at_once(real, fs, expected):
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


def test_an_open_file_is_read_on_in_a_forked_child(real, fs):
    file = fs.open(f"{DATASET}/{LARGE}")
    file.read(1000)

    def child(pipe):
        pipe.send(file.read())
        pipe.close()

    assert in_process("fork", child) == real.files[LARGE][1000:]
    assert file.read() == real.files[LARGE][1000:]


def test_threads_share_a_file_system(real, fs, expected):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: digest_all(fs, list(expected)), range(16)))
    assert found == [expected] * 16


def test_threads_may_share_one_large_file(real, fs):
    with fs.open(f"{DATASET}/{LARGE}") as file:
        reader = file._reader

        def read(number):
            start = number * 7919 % 1_900_000
            return reader.read(start, start + 50_000) == real.files[LARGE][start : start + 50_000]

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(read, range(400)))


def test_a_pickled_file_system_reads_the_same(real, fs):
    again = pickle.loads(pickle.dumps(fs))
    assert again.cat(f"{DATASET}/{SMALL}") == real.files[SMALL]


@pytest.mark.parametrize("path", [LARGE, SMALL])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_pickled_open_file_goes_on_where_it_was(real, fs, path, method):
    with fs.open(f"{DATASET}/{path}") as file:
        file.seek(123)
        assert in_process(method, read_rest, pickle.dumps(file)) == real.files[path][123:]


async def test_calls_work_inside_a_running_event_loop(real, fs, expected):
    assert digest_all(fs, list(expected)) == expected
    found = await asyncio.gather(
        *(asyncio.to_thread(fs.cat_file, f"{DATASET}/{path}") for path in (LARGE, SMALL))
    )
    assert found == [real.files[LARGE], real.files[SMALL]]


def test_a_file_is_a_context_for_the_standard_library(fs):
    with io.BufferedReader(fs.open(f"{DATASET}/{LARGE}")) as buffered:
        assert len(buffered.read(70_000)) == 70_000


def test_workers_with_their_own_file_system_share_one_fetch_of_everything(tmp_path):
    """As a loader's workers do: each opens the cache by itself, all on a cold agent."""
    real = RealAgent(tmp_path)
    try:
        real.start()
        context = multiprocessing.get_context("spawn")
        names = [f"{DATASET}/{path}" for path in real.files]
        real.origin.reset()
        with context.Pool(2) as pool:
            found = pool.starmap(digest_with, [(real.options, names)] * 2)
        assert (
            found[0]
            == found[1]
            == {
                f"{DATASET}/{path}": hashlib.sha256(data).hexdigest()
                for path, data in real.files.items()
            }
        )
        assert real.origin.body_bytes() == sum(map(len, real.files.values()))
    finally:
        real.stop()


def test_a_token_is_needed_and_a_wrong_one_is_no_permission(real, make):
    path = f"{DATASET}/{SMALL}"
    assert make(real).cat(path) == real.files[SMALL]
    for token in (None, "nonsense", real.token[:-1] + "x", real.lab.token("ns/other")):
        with pytest.raises(PermissionError, match="token") as refused:
            make(real, token=token).cat(path)
        assert isinstance(refused.value, AccessDenied)
        assert str(token) not in str(refused.value)


def test_an_agent_that_was_killed_leaves_what_is_cached_and_comes_back_under_open_files(
    tmp_path, make
):
    real = RealAgent(tmp_path)
    try:
        real.start()
        fs = make(real, timeout=20)
        data = real.files[LONG]
        file = fs.open(f"{DATASET}/{LONG}")
        assert file.read(4 * MIB) == data[: 4 * MIB]
        assert fs.cat(f"{DATASET}/{SMALL}") == real.files[SMALL]
        real.lab.until(lambda: real.lab.settled(real.node))
        real.node.kill()

        file.seek(0)
        assert file.read(4 * MIB) == data[: 4 * MIB]
        assert fs.cat(f"{DATASET}/{SMALL}") == real.files[SMALL]
        assert f"{DATASET}/readme.md" in fs.find(DATASET)
        with pytest.raises(AgentUnreachable):
            make(real, timeout=0.5).cat(f"{DATASET}/{SMALL}")

        misses = threading.Thread(target=lambda: late.append(file.read()))
        late: list[bytes] = []
        misses.start()
        real.start()
        misses.join(20)
        assert late == [data[4 * MIB :]]
        assert fs.cat(f"{DATASET}/{LARGE}") == real.files[LARGE]
        file.close()
    finally:
        real.stop()
