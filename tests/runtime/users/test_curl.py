"""curl reads from agents: over TCP and over the Unix socket.

The same questions are asked without curl in tests/runtime/agent/test_http.py.
"""

import re
import shutil
import subprocess
from urllib.parse import quote

import pytest

from tests.support.reading_files import ODD
from tests.support.reading_world import ROOT

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on this machine")
LARGE = "large.bin"
SMALL = "img/003.jpg"
CODE = ("-w", "%{http_code}")


class Curl:
    """Runs curl with the token against one node, over one way."""

    def __init__(self, world, way, folder):
        self.folder = folder
        (folder / "auth").write_text(f"Authorization: Bearer {world.token}\n")
        node = world.nodes[1]
        self.way = ("--unix-socket", node.socket) if way == "socket" else ()
        self.base = "http://agent" if way == "socket" else f"http://{node.address}:{node.port}"

    def __call__(self, path, *options, auth=True, check=True):
        """Return what curl printed; its files lie in the folder."""
        token = ("-H", "@auth") if auth else ()
        where = f"{self.base}/{ROOT}/{path}"
        command = ["curl", "-sS", "--max-time", "60", *self.way, *token, *options, where]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, check=False)
        assert not check or done.returncode == 0, done.stderr.decode()
        return done.stdout

    def headers(self, path, *options):
        """Return status and headers of an answer."""
        printed = self(path, "-o", "body", "-D", "-", *options).decode("latin-1")
        first, *lines = printed.strip().split("\r\n")
        named = dict(line.split(": ", 1) for line in lines)
        return int(first.split()[1]), {name.lower(): value for name, value in named.items()}


@pytest.fixture(params=["tcp", "socket"])
def curl(world, request, tmp_path):
    return Curl(world, request.param, tmp_path)


@pytest.mark.parametrize("path", [LARGE, SMALL, "lines.txt", "empty.bin"])
def test_whole_files_arrive_as_they_are(world, curl, path):
    assert curl(path, "-f") == world.data(path)


@pytest.mark.parametrize("path", [LARGE, SMALL])
@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("0-99", slice(100)),
        ("4000-4000", slice(4000, 4001)),
        ("2000-", slice(2000, None)),
        ("-300", slice(-300, None)),
        ("1000-99999999", slice(1000, None)),
    ],
)
def test_ranges(world, curl, path, asked, part):
    status, headers = curl.headers(path, "-r", asked)
    data = world.data(path)

    assert status == 206
    assert (curl.folder / "body").read_bytes() == data[part]
    start, stop, _ = part.indices(len(data))
    assert headers["content-range"] == f"bytes {start}-{stop - 1}/{len(data)}"


def test_several_ranges_bring_the_whole(world, curl):
    assert curl(SMALL, "-f", "-r", "0-1,5-6") == world.data(SMALL)


def test_a_range_behind_the_end_is_refused_with_the_length(world, curl):
    size = len(world.data(SMALL))

    status, headers = curl.headers(SMALL, "-r", f"{size}-")

    assert (status, headers["content-range"]) == (416, f"bytes */{size}")
    assert (curl.folder / "body").read_text() == (
        f"train/{SMALL} has {size} bytes; ask for a range that begins in them\n"
    )


def test_head_tells_of_the_whole(world, curl):
    for options in ((), ("-r", "0-9")):
        status, headers = curl.headers(LARGE, "-I", *options)

        assert (status, headers["content-length"]) == (200, str(len(world.data(LARGE))))
        assert headers["accept-ranges"] == "bytes"
        assert re.fullmatch(r'"[^"]+"', headers["etag"])


def test_conditions(curl):
    tag = curl.headers(LARGE, "-I")[1]["etag"]

    def status(*headers):
        options = [part for header in headers for part in ("-H", header)]
        return int(curl(LARGE, "-o", "body", *CODE, *options))

    assert status(f"If-None-Match: {tag}") == 304
    assert status(f'If-None-Match: "x", W/{tag}, "y,z"') == 304
    assert status("If-None-Match: *") == 304
    assert status('If-None-Match: "other"') == 200
    assert status(f'If-Match: "a,b", {tag}') == 200
    assert status("If-Match: *") == 200
    assert status(f"If-Match: W/{tag}") == 412
    assert status('If-Match: "other"') == 412
    assert (curl.folder / "body").read_text().startswith("train/large.bin has another version")
    assert status("Range: bytes=0-9", f"If-Range: {tag}") == 206
    assert status("Range: bytes=0-9", 'If-Range: "other"') == 200
    assert status("Range: bytes=0-9", "If-Range: Wed, 21 Oct 2026 07:28:00 GMT") == 200
    for name in ("If-Modified-Since", "If-Unmodified-Since"):
        assert status(f"{name}: Wed, 21 Oct 2015 07:28:00 GMT") == 200


def test_an_etag_is_kept_and_compared(world, curl):
    saved = curl(LARGE, "-f", "--etag-save", "tag", "-o", "first", *CODE)
    again = curl(LARGE, "-f", "--etag-compare", "tag", "-o", "second", *CODE)

    assert (saved, again) == (b"200", b"304")
    assert (curl.folder / "first").read_bytes() == world.data(LARGE)


@pytest.mark.parametrize("have", [0, 1, 5_000_000, None])
def test_an_interrupted_copy_is_taken_up(world, curl, have):
    data = world.data(LARGE)
    (curl.folder / "copy").write_bytes(data[:have])

    curl(LARGE, "-C", "-", "-o", "copy")

    assert (curl.folder / "copy").read_bytes() == data


def test_any_name_can_be_asked_for(world, curl):
    assert curl(quote(ODD), "-f", "-g") == world.data(ODD)


def test_several_files_come_over_one_connection(world, curl):
    printed = curl("img/0[10-19].jpg", "-f", "--remote-name-all", "-w", "%{num_connects} ")

    assert printed.split() == [b"1"] + [b"0"] * 9
    for number in range(10, 20):
        assert (curl.folder / f"0{number}.jpg").read_bytes() == world.data(f"img/0{number}.jpg")


def test_an_error_is_a_status_and_a_sentence(world, curl):
    wrong = f"Authorization: Bearer {world.token[:-1]}x"
    other = f"Authorization: Bearer {world.lab.token('team/other')}"
    cases = [
        (SMALL, {"auth": False}, (), 401, "a token is required"),
        (SMALL, {"auth": False}, ("-H", wrong), 401, "the token is not valid here"),
        (SMALL, {"auth": False}, ("-H", other), 403, "the token does not read Dataset team/images"),
        ("nothing.jpg", {}, (), 404, "team/images has no object 'train/nothing.jpg'"),
        ("img", {}, (), 404, "/team/images/train/img is a folder"),
        (SMALL, {}, ("-X", "PUT", "-d", "x"), 405, "the cache is read-only"),
        (SMALL, {}, ("-X", "DELETE"), 405, "the cache is read-only"),
    ]
    for path, how, options, status, sentence in cases:
        printed = curl(path, *CODE, *options, **how).decode()
        text, code = printed[:-3], printed[-3:]
        assert code == str(status), (path, options, printed)
        assert text.startswith(sentence), text
        assert text.count("\n") == 1
        assert world.token not in text


def test_a_challenge_goes_with_a_missing_token(curl):
    printed = curl(SMALL, "-o", "body", "-D", "-", auth=False).decode().lower()

    assert "\r\nwww-authenticate: bearer\r\n" in printed
    assert "\r\ncachectl-error: tokeninvalid\r\n" in printed
