"""A training job in small: it reads a Dataset in shuffled epochs and checks every byte.

Run as ``python -m cache_ctl.demo.reader JOB.json``, one process a node. It prints one JSON line
when it is ready, starts when a line arrives on its standard input, then prints its progress a few
times a second as JSON lines, and ends after its last epoch.
It is an ordinary user of the ``cachectl`` protocol of fsspec and knows nothing else of the cache.
"""

from __future__ import annotations

import random
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import xxhash

from cache_ctl.demo.data import Sample, load
from cache_ctl.demo.figures import Tally
from runtime.contract import codec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

REPORT_SECONDS = 0.25
BLOCK = 1 << 20
BATCH = 32
"""Files that one training step reads together."""


@dataclass(frozen=True, slots=True)
class Job:
    """What one reader reads: ``source`` is ``ns/dataset/mount``, read through one agent."""

    socket: str
    token_file: str
    source: str
    digests: str
    epochs: int
    seed: int


def read_epoch(
    filesystem: Any, source: str, samples: Sequence[Sample], epoch: int
) -> Iterator[Tally]:
    """Read the samples in order and yield the growing tally after every batch.

    Images are read many at a time, shards as open files in blocks, as loaders do.
    """
    tally = Tally(epoch)
    began = time.monotonic()
    for first in range(0, len(samples), BATCH):
        batch = samples[first : first + BATCH]
        images = [sample for sample in batch if sample.size < BLOCK]
        paths = [f"{source}/{sample.path}" for sample in images]
        found = filesystem.cat(paths, on_error="return") if paths else {}
        for sample, path in zip(images, paths, strict=True):
            data = found[path]
            if isinstance(data, BaseException):
                tally = tally.failed(sample.path, data)
            else:
                right = xxhash.xxh3_128_hexdigest(data) == sample.digest
                tally = tally.read(len(data), right=right)
        for sample in batch:
            if sample.size >= BLOCK:
                tally = _read_shard(filesystem, f"{source}/{sample.path}", sample, tally)
        tally = replace(tally, seconds=time.monotonic() - began)
        yield tally


def _read_shard(filesystem: Any, path: str, sample: Sample, tally: Tally) -> Tally:
    digest = xxhash.xxh3_128()
    size = 0
    try:
        with filesystem.open(path, "rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
                size += len(block)
    except OSError as error:
        return tally.failed(sample.path, error)
    return tally.read(size, right=digest.hexdigest() == sample.digest)


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def unexpected_names(filesystem: Any, source: str, samples: Sequence[Sample]) -> list[str]:
    """Return the names that only one of the Dataset's listing and the digests has."""
    listed = set(filesystem.find(source))
    return sorted(listed ^ {f"{source}/{sample.path}" for sample in samples})


def run(job: Job) -> int:
    """Read all epochs; return 1 if the listing is not the one that was generated."""
    samples = list(load(Path(job.digests)))
    filesystem = fsspec.filesystem("cachectl", socket=job.socket, token_file=job.token_file)
    _tell('{"ready": true}')
    if not sys.stdin.readline():
        return 0
    strange = unexpected_names(filesystem, job.source, samples)
    if strange:
        sys.stderr.write(f"the listing differs from the origin at {strange[0]}\n")
        return 1
    order = random.Random(job.seed)  # noqa: S311 - a shuffle, not a secret
    for epoch in range(job.epochs):
        order.shuffle(samples)
        printed = time.monotonic()
        tally = Tally(epoch)
        for tally in read_epoch(filesystem, job.source, samples, epoch):
            if time.monotonic() - printed > REPORT_SECONDS:
                printed = time.monotonic()
                _tell(codec.dumps(tally))
        _tell(codec.dumps(tally))
    return 0


if __name__ == "__main__":
    raise SystemExit(run(codec.loads(Job, Path(sys.argv[1]).read_bytes())))
