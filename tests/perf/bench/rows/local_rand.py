"""Random reads of 64 KiB from a large object that the node holds."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Generator, Sequence
from typing import Any

from tests.perf.bench.local import MIB, Local, check, pairs_of, warm_agent, write_random
from tests.perf.bench.origins import origin_folder
from tests.perf.bench.peers import fsspec_caches
from tests.perf.bench.process import sample
from tests.perf.bench.row import Case, Context, Sample

NAME = "local-rand"
WORK = "warm, same node: 64 KiB from random places, not aligned, of an open file"
BARS = {
    ("first touch", "blockcache"): (0.4, 0.6),
    ("steady", "blockcache"): (0.9, 1.2),
}
OBJECT = "large.bin"
READ = 64 << 10
Opener = Callable[[], Any]


def run(context: Context) -> Generator[Case, None, None]:
    size = context.sized(1024 * MIB, 256 * MIB)
    write_random(origin_folder(context) / OBJECT, size)
    places = scattered(size)
    with warm_agent(context) as local:
        blocks = fsspec_caches.blockcache(local.caches("blockcache"))
        whole = fsspec_caches.filecache(local.caches("filecache"))
        system = local.system()

        def ours() -> Any:
            return system.open(local.ours(OBJECT), "rb")

        def by_blocks() -> Any:
            return blocks.open(local.theirs(OBJECT), "rb")

        def by_files() -> Any:
            return whole.open(local.theirs(OBJECT), "rb")

        _check(local, (ours, by_blocks, by_files), places)
        context.versions.update(fsspec_caches.versions())
        pair = pairs_of(BARS, "reads")
        yield pair("first touch", first(ours, places), "blockcache", first(by_blocks, places))
        yield pair("steady", steady(ours, places), "blockcache", steady(by_blocks, places))
        if not context.quick:
            yield pair("steady", steady(ours, places), "filecache", steady(by_files, places))
            yield pair("steady", steady(ours, places), "os.preadv", limit(local, places))


def scattered(size: int, *, seed: int = 1) -> list[int]:
    """Return places whose reads touch no 64 KiB of the file twice, in random order."""
    source = random.Random(seed)
    places = [start + source.randrange(READ) for start in range(0, size - 2 * READ + 1, 2 * READ)]
    source.shuffle(places)
    return places


def first(opened: Opener, places: Sequence[int]) -> Callable[[], Sample]:
    """Read every place once with a handle of its own, again and again."""

    def once() -> int:
        with opened() as file:
            return read_all(file, places)

    return lambda: sample(once, bytes_per_work=READ)


def steady(opened: Opener, places: Sequence[int]) -> Callable[[], Sample]:
    """Read with one handle that has read every place before."""

    def turn() -> Sample:
        with opened() as file:
            read_all(file, places)
            return sample(lambda: read_all(file, places), bytes_per_work=READ)

    return turn


def read_all(file: Any, places: Sequence[int]) -> int:
    for place in places:
        file.seek(place)
        file.read(READ)
    return len(places)


def limit(local: Local, places: Sequence[int]) -> Callable[[], Sample]:
    """Read with ``os.preadv`` into one buffer."""
    into = (bytearray(READ),)

    def turn() -> Sample:
        descriptor = os.open(local.files / OBJECT, os.O_RDONLY)

        def once() -> int:
            for place in places:
                os.preadv(descriptor, into, place)
            return len(places)

        try:
            return sample(once, bytes_per_work=READ)
        finally:
            os.close(descriptor)

    return turn


def _check(local: Local, openers: Sequence[Opener], places: Sequence[int]) -> None:
    descriptor = os.open(local.files / OBJECT, os.O_RDONLY)
    try:
        for opened in openers:
            with opened() as file:
                for place in places:
                    file.seek(place)
                    check({str(file): file.read(READ)}, os.pread(descriptor, READ, place))
    finally:
        os.close(descriptor)
