"""A loader in the manner of torch's DataLoader: worker processes read batches of a Dataset.

Importable, so that spawned workers find it.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import random
from collections.abc import Iterator
from queue import Empty

import fsspec

from tests.support.reading_world import ROOT


class Images:
    """A map-style dataset: a file system made in the parent and used in every worker."""

    def __init__(self, options: dict[str, object]) -> None:
        self.fs = fsspec.filesystem("cachectl", **options)
        self.names = self.fs.glob(f"{ROOT}/img/*.jpg")

    def __len__(self) -> int:
        return len(self.names)

    def __getitems__(self, indexes: list[int]) -> list[tuple[str, str]]:
        """Return names and digests of samples."""
        names = [self.names[index] for index in indexes]
        found = self.fs.cat(names)
        return [(name, hashlib.sha256(found[name]).hexdigest()) for name in names]


class Shards:
    """An iterable dataset: each worker reads its own part of large files, in blocks."""

    def __init__(self, options: dict[str, object]) -> None:
        self.fs = fsspec.filesystem("cachectl", **options)
        self.names = [*self.fs.find(f"{ROOT}/shards"), f"{ROOT}/lines.txt", f"{ROOT}/array.npy"]

    def __len__(self) -> int:
        return len(self.names)

    def __getitems__(self, indexes: list[int]) -> list[tuple[str, str]]:
        """Return names and digests of whole files."""
        found = []
        for index in indexes:
            digest = hashlib.sha256()
            with self.fs.open(self.names[index]) as file:
                while block := file.read(50_000):
                    digest.update(block)
            found.append((self.names[index], digest.hexdigest()))
        return found


def load(
    dataset: Images | Shards, *, method: str, workers: int, batch: int, seed: int
) -> Iterator[tuple[str, str]]:
    """Yield every sample of an epoch in shuffled order, read by workers that are ahead.

    Raises:
        AssertionError: a worker ended, or was silent for a minute.
    """
    order = random.Random(seed).sample(range(len(dataset)), len(dataset))
    batches = [order[start : start + batch] for start in range(0, len(order), batch)]
    context = multiprocessing.get_context(method)
    asked, read = context.Queue(), context.Queue()
    for indexes in batches:
        asked.put(indexes)
    processes = [context.Process(target=_work, args=(dataset, asked, read)) for _ in range(workers)]
    for process in processes:
        asked.put(None)
        process.start()
    try:
        for _ in batches:
            yield from _next(read)
    finally:
        for process in processes:
            process.join(60)
            if process.exitcode is None:
                process.kill()
                process.join()
        asked.close()
        read.close()
    assert [process.exitcode for process in processes] == [0] * workers


def _next(read: multiprocessing.Queue[list[tuple[str, str]]]) -> list[tuple[str, str]]:
    try:
        return read.get(timeout=60)
    except Empty:
        raise AssertionError("no worker has read a batch in a minute") from None


def _work(
    dataset: Images | Shards,
    asked: multiprocessing.Queue[list[int] | None],
    read: multiprocessing.Queue[list[tuple[str, str]]],
) -> None:
    while (indexes := asked.get()) is not None:
        read.put(dataset.__getitems__(indexes))
