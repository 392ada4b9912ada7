"""The suite's way with peers: installing, starting, stopping, and what reads from them.

No package source is asked here; the rows do that.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import xxhash

from tests.perf.bench import wrk
from tests.perf.bench.http_reader import PIECE, HttpReader
from tests.perf.bench.peers import install, present, running
from tests.perf.bench.peers.install import Installed, Unavailable
from tests.perf.bench.peers.running import HttpPeer, configuration, free_port, started
from tests.perf.bench.process import family
from tests.perf.bench.reader import reader
from tests.perf.bench.row import Context, Gap
from tests.support.origin import running_origin


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    (folder / "large.bin").write_bytes(os.urandom(2 * PIECE + 77))
    (folder / "small.bin").write_bytes(b"0123456789")
    (folder / "empty.bin").write_bytes(b"")
    with running_origin(folder) as origin:
        yield origin.url, folder


def test_http_reader_takes_whole_bodies_and_ranges(served):
    url, folder = served
    data = (folder / "large.bin").read_bytes()
    with HttpReader(url) as source:
        assert source.get(source.request("large.bin"), data) == len(data)
        assert source.get(source.request("large.bin", 5, PIECE + 9), data[5 : PIECE + 9])
        assert source.get(source.request("empty.bin"), b"") == 0
        pieces = [bytes(piece) for piece in source.pieces(source.request("small.bin"))]
        assert b"".join(pieces) == b"0123456789"


def test_http_reader_tells_other_bytes_and_refusals(served):
    url, _ = served
    with HttpReader(url) as source:
        with pytest.raises(RuntimeError, match="other bytes than the origin's"):
            source.get(source.request("small.bin"), b"01234567-9")
        with pytest.raises(RuntimeError, match="10 bytes instead of 11"):
            source.get(source.request("small.bin"), b"0123456789a")
    with HttpReader(url) as source, pytest.raises(RuntimeError, match="404"):
        source.get(source.request("missing.bin"))


@pytest.fixture(scope="module")
def asked():
    with reader() as process:
        yield process


@pytest.mark.parametrize("way", ["http", "fsspec http", "filecache", "file"])
def test_every_way_of_reading_gives_the_same_bytes(served, asked, tmp_path, way):
    url, folder = served
    target = str(folder / "large.bin") if way == "file" else f"{url}/large.bin"
    options = {"folder": str(tmp_path)} if way == "filecache" else {}
    found = asked.read(way, target, digest=True, **options)
    assert found.digest == xxhash.xxh3_64((folder / "large.bin").read_bytes()).hexdigest()
    assert found.bytes == 2 * PIECE + 77
    with pytest.raises(RuntimeError, match="could not read"):
        asked.read(way, f"{target}.missing", **options)


def test_configurations_leave_the_dollar_sign_to_the_peers(tmp_path):
    path = configuration(
        "nginx-slice.conf", tmp_path, address="127.0.0.1", port=81, origin="a:1", cache="/c"
    )
    text = path.read_text()
    assert "listen 127.0.0.1:81 " in text
    assert "proxy_cache_key $uri$slice_range;" in text
    with pytest.raises(KeyError, match="port"):
        configuration("nginx-slice.conf", tmp_path, address="", origin="", cache="")


SERVER = """
import socket, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
time.sleep(600)
"""


def test_a_server_ends_with_its_block_and_so_do_its_children(tmp_path):
    port = free_port()
    command = (sys.executable, "-c", SERVER, str(port))
    with started(command, tmp_path, lambda: running.answers(port)) as pid:
        processes = family([pid])
        assert len(processes) == 2
    assert not running.answers(port)
    deadline = time.monotonic() + 30
    # What was killed may take a moment to end, and longer until somebody collects it.
    while not {status(pid) for pid in processes} <= {"", "X", "Z"}:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def test_a_server_that_ends_at_once_is_a_gap_with_its_last_words(tmp_path):
    command = (sys.executable, "-c", "print('first'); raise SystemExit('no such option')")

    @contextmanager
    def peer():
        with started(command, tmp_path, lambda: False) as pid:
            yield HttpPeer("it", "", (pid,), "1")

    context = Context(str(tmp_path), str(tmp_path))
    with ExitStack() as stack:
        found = present.start(stack, context, "it", peer())
    assert isinstance(found, Gap)
    assert found.peer == "it"
    assert found.why.endswith("ended at its start: no such option")
    assert not context.versions


def test_a_started_peer_is_noted_with_its_version(tmp_path):
    @contextmanager
    def peer():
        yield HttpPeer("it", "http://127.0.0.1:1", (), "1.2")

    context = Context(str(tmp_path), str(tmp_path))
    with ExitStack() as stack:
        assert present.start(stack, context, "it", peer()).version == "1.2"
    assert context.versions == {"it": "1.2"}


def test_without_the_tools_a_package_is_unavailable(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    for asked, tool in (
        (lambda: install.debian("nginx-light"), "apt-get"),
        (lambda: install.go("example.org/program"), "go"),
        (lambda: install.maven("group:artifact:1"), "mvn"),
    ):
        with pytest.raises(Unavailable, match=f"^{tool} is not on this machine$"):
            asked()


def test_what_is_installed_is_not_asked_for_again(tmp_path, monkeypatch):
    """With no tool in sight, only what lies in the cache can be given; a half one is not."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    root = install.cache() / "debian" / "a+b"
    (root / "usr" / "bin").mkdir(parents=True)
    program = root / "usr" / "bin" / "serve"
    program.write_text("")
    program.chmod(0o755)
    (root / "versions.json").write_text('{"a": "1", "b": "2"}')
    monkeypatch.setenv("PATH", str(tmp_path))
    found = install.debian("a", "b")
    assert found.versions == {"a": "1", "b": "2"}
    assert found.program("serve") == str(program)
    with pytest.raises(Unavailable, match=r"have other$"):
        found.program("other")
    (root / "versions.json").unlink()
    with pytest.raises(Unavailable, match="apt-get"):
        install.debian("a", "b")
    assert not program.exists()


def test_libraries_are_found_and_the_current_folder_is_not(tmp_path):
    assert "LD_LIBRARY_PATH" not in Installed(tmp_path).environment
    library = tmp_path / "usr" / "lib" / "x" / "libone.so.1"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"")
    assert Installed(tmp_path).environment["LD_LIBRARY_PATH"] == str(library.parent)


def test_a_load_shows_its_token_to_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(wrk, "debian", lambda name: Installed(tmp_path))
    made = wrk.load(tmp_path / "load", "http://127.0.0.1:9/ns/set", ["a b.bin"], (), "secret")
    assert made.url == "http://127.0.0.1:9"
    assert (tmp_path / "load" / "targets").read_text() == "/ns/set/a%20b.bin\n"
    assert "Authorization: Bearer secret\\r\\n" in made.script.read_text()
    assert (tmp_path / "load").stat().st_mode & 0o077 == 0


def test_a_port_is_free_and_a_listener_answers():
    port = free_port()
    assert not running.answers(port)
    with socket.create_server(("127.0.0.1", port)):
        assert running.answers(port)
