"""Many small objects that the node holds."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Sequence
from typing import Any

from tests.perf.bench.local import check, pairs_of, warm_agent
from tests.perf.bench.origins import origin_folder
from tests.perf.bench.peers import fsspec_caches
from tests.perf.bench.process import sample
from tests.perf.bench.row import Case, Context, Sample

NAME = "local-open"
WORK = "warm, same node: objects of 10 KiB in random order, by one thread"
BARS = {
    ("open, read, close", "filecache"): (4.0, None),
    ("cat of lists of 256", "filecache"): (10.0, None),
    ("cat of lists of 256", "plain files"): (None, 1.0),
}
SIZE = 10 << 10
LIST = 256


def run(context: Context) -> Generator[Case, None, None]:
    count = context.sized(10_000, 1_000)
    names = write_objects(context, count)
    with warm_agent(context) as local:
        system = local.system()
        paths = [local.ours(name) for name in names]
        plain = [str(local.files / name) for name in names]
        urls = [local.theirs(name) for name in names]
        caches = {
            name: getattr(fsspec_caches, name)(local.caches(name))
            for name in context.sized(("filecache", "simplecache"), ("filecache",))
        }
        for cache in caches.values():
            cache.cat(urls)
        contents = [_read_plain(path) for path in plain]
        check({"cat": b"".join(system.cat(paths).values())}, b"".join(contents))
        for name, cache in ({"ours": system} | caches).items():
            asked = paths if cache is system else urls
            check({name: b"".join(_read(cache, one) for one in asked)}, b"".join(contents))
        context.versions.update(fsspec_caches.versions())
        pair = pairs_of(BARS, "files")
        opened, listed = "open, read, close", "cat of lists of 256"
        for name, cache in caches.items():
            yield pair(opened, opening(system, paths), name, opening(cache, urls))
        # The quicker of the two ways that it has for a list of cached files.
        theirs = opening(caches["filecache"], urls)
        yield pair(listed, catting(system, paths), "filecache", theirs)
        yield pair(listed, catting(system, paths), "plain files", reading(plain))
        yield pair(opened, opening(system, paths), "plain files", reading(plain))


def write_objects(context: Context, count: int) -> list[str]:
    """Write the origin's files; return their names in random order."""
    source = random.Random(1)
    root = origin_folder(context)
    names = [f"{number % 10}/{number:05}.jpg" for number in range(count)]
    for name in names:
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(source.randbytes(SIZE))
    source.shuffle(names)
    return names


def _read(system: Any, path: str) -> bytes:
    with system.open(path, "rb") as file:
        data: bytes = file.read()
        return data


def _read_plain(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - as fast as Python has it
        return file.read()


def opening(system: Any, paths: Sequence[str]) -> Callable[[], Sample]:
    """Open, read and close each file."""

    def once() -> int:
        for path in paths:
            with system.open(path, "rb") as file:
                file.read()
        return len(paths)

    return lambda: sample(once, bytes_per_work=SIZE)


def catting(system: Any, paths: Sequence[str]) -> Callable[[], Sample]:
    """Read lists of files."""
    lists = [paths[start : start + LIST] for start in range(0, len(paths), LIST)]

    def once() -> int:
        return sum(len(system.cat(names)) for names in lists)

    return lambda: sample(once, bytes_per_work=SIZE)


def reading(paths: Sequence[str]) -> Callable[[], Sample]:
    """Open, read and close plain files, as Python does."""

    def once() -> int:
        for path in paths:
            with open(path, "rb") as file:  # noqa: PTH123 - as fast as Python has it
                file.read()
        return len(paths)

    return lambda: sample(once, bytes_per_work=SIZE)
