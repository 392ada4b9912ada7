"""What the server takes for a request, and what it refuses."""

from __future__ import annotations

import contextlib
import http.server
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.serve.head import BadRequest, parse_head
from runtime.serve.incoming import Incoming
from runtime.serve.service import Limits

LIMITS = Limits(head_bytes=512, target_bytes=64, body_bytes=1000)


def taken(pieces: list[bytes]) -> list[tuple[str, str, dict[str, str], bytes]]:
    """Feed pieces as they come; return the requests that come out."""
    incoming = Incoming(LIMITS)
    found = []
    for piece in pieces:
        incoming.feed(piece)
        while (one := incoming.next()) is not None:
            head, body = one
            found.append((head.method, head.target, dict(head.headers), body))
    return found


@pytest.mark.parametrize(
    ("head", "status"),
    [
        pytest.param(b"", 400, id="nothing"),
        pytest.param(b"GET /", 400, id="no version"),
        pytest.param(b"GET  / HTTP/1.1", 400, id="two spaces"),
        pytest.param(b"GET / HTTP/1.1 ", 400, id="space at the end"),
        pytest.param(b"GET / HTTP/2.0", 505, id="another version"),
        pytest.param(b"GET / http/1.1", 400, id="lower-case version"),
        pytest.param(b"GET x HTTP/1.1\r\nHost: x", 400, id="target without a slash"),
        pytest.param(b"GET * HTTP/1.1\r\nHost: x", 400, id="asterisk"),
        pytest.param("GET /ü HTTP/1.1\r\nHost: x".encode(), 400, id="raw UTF-8 in the target"),
        pytest.param(b"GET /\x00 HTTP/1.1\r\nHost: x", 400, id="NUL in the target"),
        pytest.param(b"G(T / HTTP/1.1\r\nHost: x", 400, id="method not a word"),
        pytest.param(b"GET / HTTP/1.1", 400, id="no Host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nHost: x", 400, id="two Hosts"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c", 400, id="folded line"),
        pytest.param(b"GET / HTTP/1.1\r\nHost : x", 400, id="space before the colon"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n: b", 400, id="no name"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nword", 400, id="no colon"),
        pytest.param(b"GET / HTTP/1.1\r\nHost", 400, id="known name, no colon"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nA: \x00", 400, id="NUL in a value"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\nA: b", 400, id="bare line feed"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\rA: b", 400, id="bare carriage return"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\n\rA: b\r\n", 400, id="line end reversed"),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\nauthorization: b", 400, id="2 tokens"
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2",
            400,
            id="2 lengths",
        ),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +1", 400, id="signed length"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1", 400, id="length list"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length:", 400, id="empty length"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x1", 400, id="hex length"),
        pytest.param(
            "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: ²".encode("latin-1"), 400, id="exponent"
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1" + b"0" * 30, 413, id="vast length"
        ),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked", 501, id="chunked"),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: x\r\ntransfer-encoding: chunked\r\nContent-Length: 1",
            501,
            id="chunked and a length",
        ),
    ],
)
def test_a_malformed_head_is_refused(head, status):
    with pytest.raises(BadRequest) as caught:
        parse_head(head)

    assert caught.value.status == status


@pytest.mark.parametrize(
    ("lines", "keep_alive"),
    [
        (b"GET / HTTP/1.1\r\nHost: x", True),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Close, TE", False),
        (b"GET / HTTP/1.0", False),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive", True),
    ],
)
def test_the_version_and_connection_header_decide_what_follows(lines, keep_alive):
    assert parse_head(lines).keep_alive is keep_alive


def test_repeated_headers_are_joined_and_equal_lengths_are_one():
    head = parse_head(
        b"POST / HTTP/1.1\r\nHost: x\r\nAccept: a\r\nACCEPT:\tb \r\n"
        b"Content-Length: 3\r\nContent-Length: 3"
    )

    assert head.headers["accept"] == "a, b"
    assert head.length == 3


def test_the_absolute_form_names_the_same_path():
    assert parse_head(b"GET http://h:1/a/b?c HTTP/1.1\r\nHost: x").target == "/a/b?c"
    assert parse_head(b"GET http://h HTTP/1.1\r\nHost: x").target == "/"


def test_equal_headers_after_another_request_line_mean_the_same():
    first = parse_head(b"GET /a HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1")
    again = parse_head(b"HEAD /b HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1", first)
    other = parse_head(b"GET /b HTTP/1.1\r\nHost: x\r\nRange: bytes=0-2", first)

    assert (again.method, again.target, again.headers) == ("HEAD", "/b", first.headers)
    assert other.headers["range"] == "bytes=0-2"


def test_headers_known_from_http_1_1_are_read_anew_for_http_1_0():
    first = parse_head(b"GET /a HTTP/1.1\r\nHost: x")

    assert parse_head(b"GET /a HTTP/1.0\r\nHost: x", first).keep_alive is False


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(b"\x16\x03\x01\x02", 400, id="TLS"),
        pytest.param(b"GET / HTTP/1.1\n\n", 400, id="bare line feeds"),
        pytest.param(b"\r\n\r\nGET", 400, id="two empty lines"),
        pytest.param(b"GET /" + b"a" * 600, 414, id="endless target"),
        pytest.param(b"GET /" + b"a" * 65 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, id="long target"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 600, 431, id="endless head"),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n", 413, id="large body"
        ),
    ],
)
def test_what_cannot_become_a_request_is_refused_before_it_ends(data, status):
    with pytest.raises(BadRequest) as caught:
        taken([data])

    assert caught.value.status == status


def test_one_empty_line_before_a_request_is_forgiven_however_it_is_cut():
    data = b"\r\nGET / HTTP/1.0\r\n\r\n"

    for cut in range(len(data)):
        assert [one[1] for one in taken([data[:cut], data[cut:]])] == ["/"], cut


names = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,10}", fullmatch=True).filter(
    lambda name: (
        name.lower()
        not in {"host", "content-length", "transfer-encoding", "connection", "authorization"}
    )
)
values = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=12)
bodies = st.binary(max_size=50)


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, tuple[str, str, dict[str, str], bytes]]:
    method = draw(st.sampled_from(["GET", "HEAD", "POST", "PURGE"]))
    target = "/" + draw(st.from_regex(r"[a-z0-9%?=&/._-]{0,20}", fullmatch=True))
    extra = draw(
        st.dictionaries(names, values, max_size=4).filter(
            lambda found: len({name.lower() for name in found}) == len(found)
        )
    )
    body = draw(bodies)
    lines = [("Host", "x"), *extra.items()]
    if body:
        lines.append(("Content-Length", str(len(body))))
    head = "".join(f"{name}: {value}\r\n" for name, value in lines)
    wire = f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body
    return wire, (method, target, {name.lower(): value for name, value in lines}, body)


@given(st.lists(requests(), min_size=1, max_size=4), st.data())
def test_requests_do_not_depend_on_where_the_bytes_were_cut(made, data):
    stream = b"".join(wire for wire, _ in made)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [
        stream[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True)
    ]

    found = taken([piece for piece in pieces if piece])

    assert found == [expected for _, expected in made]


class Reference(http.server.BaseHTTPRequestHandler):
    """The standard library's reading of the same bytes."""

    protocol_version = "HTTP/1.1"

    def __init__(self, data: bytes) -> None:
        self.rfile = io.BytesIO(data)
        self.raw_requestline = self.rfile.readline()
        self.requestline = ""
        self.client_address = ("", 0)
        self.accepted = self.parse_request()

    def send_error(self, code, message=None, explain=None):
        self.code = code


@given(requests())
def test_valid_heads_are_read_as_the_standard_library_reads_them(made):
    wire, _ = made
    head, _, _ = wire.partition(b"\r\n\r\n")

    mine, theirs = parse_head(head), Reference(wire)

    assert theirs.accepted
    # The standard library folds leading slashes into one, against open redirects.
    assert (mine.method, mine.target.lstrip("/")) == (theirs.command, theirs.path.lstrip("/"))
    assert dict(mine.headers) == {name.lower(): value for name, value in theirs.headers.items()}
    assert mine.keep_alive is not theirs.close_connection


@given(st.binary(max_size=200))
def test_no_bytes_at_all_make_the_parser_fail_otherwise_than_by_refusing(data):
    incoming = Incoming(LIMITS)
    incoming.feed(data)
    with contextlib.suppress(BadRequest):
        while incoming.next() is not None:
            pass
