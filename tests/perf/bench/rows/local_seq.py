"""Sequential reads of a large object that the node holds."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator

from tests.perf.bench.local import (
    CHUNK,
    MIB,
    Local,
    check,
    one_pass,
    pairs_of,
    plain_pass,
    warm_agent,
    write_random,
)
from tests.perf.bench.origins import origin_folder
from tests.perf.bench.peers import fsspec_caches
from tests.perf.bench.process import sample
from tests.perf.bench.row import Case, Context, Sample

NAME = "local-seq"
WORK = "warm, same node: a large object in reads of 4 MiB through fsspec's open().read()"
BARS = {
    ("first pass", "filecache"): (0.7, 0.8),
    ("second pass", "filecache"): (0.9, 1.0),
    ("verify OnFill", "filecache"): (0.9, 1.0),
    ("verify OnFill", "os.preadv"): (0.8, None),
}
OBJECT = "large.bin"


def run(context: Context) -> Generator[Case, None, None]:
    size = context.sized(1024 * MIB, 256 * MIB)
    write_random(origin_folder(context) / OBJECT, size)
    with warm_agent(context) as local:
        systems = {name: local.system(verify=name) for name in ("FirstRead", "OnFill")}
        caches = {
            name: getattr(fsspec_caches, name)(local.caches(name))
            for name in context.sized(("filecache", "simplecache", "blockcache"), ("filecache",))
        }
        openers = {name: _opener(system, local.ours(OBJECT)) for name, system in systems.items()}
        openers |= {name: _opener(system, local.theirs(OBJECT)) for name, system in caches.items()}
        _check(local, openers)
        context.versions.update(fsspec_caches.versions())

        pair = pairs_of(BARS)
        first, again = _first_pass, _second_pass
        for peer in caches:
            yield pair("first pass", first(openers["FirstRead"]), peer, first(openers[peer]))
        yield pair(
            "second pass", again(openers["FirstRead"]), "filecache", again(openers["filecache"])
        )
        yield pair(
            "verify OnFill", first(openers["OnFill"]), "filecache", first(openers["filecache"])
        )
        limit = _limit(local)
        yield pair("verify OnFill", first(openers["OnFill"]), "os.preadv", limit)
        if not context.quick:
            yield pair("first pass", first(openers["FirstRead"]), "os.preadv", limit)
            yield pair("second pass", again(openers["FirstRead"]), "os.preadv", limit)


def _opener(system, path):
    return lambda: system.open(path, "rb")


def _check(local: Local, openers) -> None:
    """Compare every reader's bytes with the origin's, and make every copy warm."""
    with (local.files / OBJECT).open("rb") as wanted:
        for name, opened in openers.items():
            wanted.seek(0)
            with opened() as file:
                while data := wanted.read(CHUNK):
                    check({name: file.read(CHUNK)}, data)


def _first_pass(opened) -> Callable[[], Sample]:
    """Read with a handle of its own in every pass."""

    def once() -> int:
        with opened() as file:
            return one_pass(file)

    return lambda: sample(once, bytes_per_work=1)


def _second_pass(opened) -> Callable[[], Sample]:
    """Read with one handle that has read it all before."""

    def turn() -> Sample:
        with opened() as file:
            one_pass(file)
            return sample(lambda: one_pass(file), bytes_per_work=1)

    return turn


def _limit(local: Local) -> Callable[[], Sample]:
    buffer = bytearray(CHUNK)

    def turn() -> Sample:
        descriptor = os.open(local.files / OBJECT, os.O_RDONLY)
        try:
            return sample(lambda: plain_pass(descriptor, buffer), bytes_per_work=1)
        finally:
            os.close(descriptor)

    return turn
