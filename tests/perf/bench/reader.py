"""A reader in a process of its own, which reads objects as it is told: ours and peers' alike.

A row starts one where the reader belongs (on another host of a network lab, too) and has it read
one object at a time. It answers with what the read cost it, and on request with a digest of the
bytes.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import xxhash

from tests.perf.bench.http_reader import HttpReader
from tests.perf.bench.peers import fsspec_caches

REPOSITORY = Path(__file__).parents[3]
PIECE = 4 << 20
Ready = Callable[[], Iterable[Any]]


@dataclass(frozen=True, slots=True)
class Read:
    """What one read of an object was: wall time, the reader's processor time, bytes."""

    seconds: float
    cpu: float
    bytes: int
    digest: str = ""


class ReaderProcess:
    """Asks a reader process; one read at a time."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child

    def read(self, way: str, target: str, *, digest: bool = False, **options: Any) -> Read:
        """Read an object in one of the ``WAYS``.

        Raises:
            RuntimeError: it could not be read; with the reader's sentence.
        """
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        asked = {"way": way, "target": target, "digest": digest, "options": options}
        self._child.stdin.write(json.dumps(asked) + "\n")
        self._child.stdin.flush()
        told = json.loads(self._child.stdout.readline() or '{"error": "the reader ended"}')
        if "error" in told:
            raise RuntimeError(f"{way} could not read {target}: {told['error']}")
        return Read(**told)


@contextlib.contextmanager
def reader(prefix: Sequence[str] = (), packages: Sequence[Path] = ()) -> Iterator[ReaderProcess]:
    """Run a reader for the time of the block.

    Args:
        prefix: put before its command, such as ``ip netns exec NAME``.
        packages: folders to import from, after this environment's own.
    """
    command = [*prefix, sys.executable, "-m", "tests.perf.bench.reader", *map(str, packages)]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            yield ReaderProcess(child)
        finally:
            assert child.stdin is not None
            child.stdin.close()  # the end of its questions
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()


# -- in the reader's process ------------------------------------------------------------------


def _cachectl(target: str, options: dict[str, Any]) -> Ready:
    system = fsspec.filesystem("cachectl", skip_instance_cache=True, **options)
    system.info(target)  # the names are here, as in a training job that has listed them
    return lambda: _pieces(system.open(target, "rb"))


def _fsspec_http(target: str, _: dict[str, Any]) -> Ready:
    system = fsspec.filesystem("http", skip_instance_cache=True)
    system.info(target)  # connected
    return lambda: [system.cat_file(target)]


def _filecache(target: str, options: dict[str, Any]) -> Ready:
    system = fsspec_caches.filecache(Path(options["folder"]))
    system.fs.info(target)
    return lambda: _pieces(system.open(target, "rb"))


def _obstore(target: str, _: dict[str, Any]) -> Ready:
    from obstore.fsspec import FsspecStore  # noqa: PLC0415 - installed by the suite alone

    system = FsspecStore("http", client_options={"allow_http": True})
    system.info(target)
    return lambda: [system.cat_file(target)]


def _http(target: str, _: dict[str, Any]) -> Ready:
    base, _slash, path = target.rpartition("/")
    source = HttpReader(base)
    request = source.request(path)
    return lambda: source.pieces(request)


def _file(target: str, _: dict[str, Any]) -> Ready:
    return lambda: _pieces(Path(target).open("rb", buffering=0))


def _pieces(file: Any) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(PIECE))
    with file:
        while got := file.readinto(buffer):
            yield buffer[:got]


WAYS: dict[str, Callable[[str, dict[str, Any]], Ready]] = {
    "cachectl": _cachectl,
    "fsspec http": _fsspec_http,
    "filecache": _filecache,
    "obstore": _obstore,
    "http": _http,
    "file": _file,
}


def read_once(way: str, target: str, *, digest: bool, options: dict[str, Any]) -> Read:
    """Read one object in one way; what comes before the first byte is asked for is not counted."""
    begin = WAYS[way](target, options)
    hashed, count = xxhash.xxh3_64(), 0
    cpu, start = time.process_time(), time.perf_counter()
    for piece in begin():
        count += len(piece)
        if digest:
            hashed.update(piece)
    seconds = time.perf_counter() - start
    cpu = time.process_time() - cpu
    return Read(seconds, cpu, count, hashed.hexdigest() if digest else "")


def serve() -> None:
    """Answer the questions on standard input, a line each, until they end."""
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            found = read_once(**asked)
            told = {name: getattr(found, name) for name in Read.__slots__}
        except Exception as error:  # noqa: BLE001 - the row tells it as its failure
            told = {"error": f"{type(error).__name__}: {error}".split("\n", 1)[0]}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.path.extend(sys.argv[1:])
    serve()
