"""A large object as memory, without a copy."""

from __future__ import annotations

import mmap
import random
from collections.abc import Callable, Generator, Sequence

from xxhash import xxh3_64_intdigest

from tests.perf.bench.local import MIB, check, pairs_of, warm_agent, write_random
from tests.perf.bench.origins import origin_folder
from tests.perf.bench.process import sample
from tests.perf.bench.row import Case, Context, Sample

NAME = "local-map"
WORK = "warm, same node: the client's mapping of an object, beside a mapping of a plain file"
BARS = {
    ("hash all of it", "mmap of a file"): (0.95, 1.0),
    ("64 KiB at random", "mmap of a file"): (0.95, 1.0),
}
OBJECT = "large.bin"
READ = 64 << 10


def run(context: Context) -> Generator[Case, None, None]:
    size = context.sized(1024 * MIB, 256 * MIB)
    write_random(origin_folder(context) / OBJECT, size)
    source = random.Random(1)
    places = [source.randrange(size - READ) for _ in range(2000)]
    with (
        warm_agent(context) as local,
        (local.files / OBJECT).open("rb") as plain,
        mmap.mmap(plain.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as theirs,
    ):
        system = {name: local.system(verify=name) for name in ("FirstRead", "OnFill")}
        path = local.ours(OBJECT)
        with system["FirstRead"].open(path) as file, file.mmap() as ours:
            # Both are looked at once: their pages are in the page cache, and in the tables.
            check({"the mapping": xxh3_64_intdigest(ours)}, xxh3_64_intdigest(theirs))
            pair = pairs_of(BARS)
            peer = "mmap of a file"
            yield pair("hash all of it", _hashing(ours), peer, _hashing(theirs))
            yield pair("64 KiB at random", _copying(ours, places), peer, _copying(theirs, places))
        if context.quick:
            return

        def opened(verify: str) -> Callable[[], int]:
            def once() -> int:
                with system[verify].open(path) as file, file.mmap() as view:
                    return _hash(view)

            return once

        def opened_plain() -> int:
            with (
                (local.files / OBJECT).open("rb") as file,
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as one,
                memoryview(one) as view,
            ):
                return _hash(view)

        for verify in system:
            yield pair(
                f"map and hash once, {verify}", _turn(opened(verify)), peer, _turn(opened_plain)
            )


def _hash(view: memoryview) -> int:
    xxh3_64_intdigest(view)
    return len(view)


def _turn(once: Callable[[], int]) -> Callable[[], Sample]:
    return lambda: sample(once, bytes_per_work=1)


def _hashing(view: memoryview) -> Callable[[], Sample]:
    """Look at every byte, as quickly as bytes can be looked at."""
    return _turn(lambda: _hash(view))


def _copying(view: memoryview, places: Sequence[int]) -> Callable[[], Sample]:
    """Take small pieces out of it."""

    def once() -> int:
        return sum(len(bytes(view[place : place + READ])) for place in places)

    return _turn(once)
