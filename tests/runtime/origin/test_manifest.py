"""Manifests in each of their forms, and the indexes of well-known servers."""

import contextlib
import http.server
import random
import threading

import pytest
from aiohttp import web

from runtime.contract.plan import MountPlan
from runtime.errors import ConfigError, OriginLied
from runtime.origin.base import Found, open_origin
from runtime.origin.manifest import parse_manifest

BASE = "http://host/data/"
MD5, SHA = "d" * 32, "a" * 64


def parsed(text):
    data = text if isinstance(text, bytes) else text.encode()
    return parse_manifest(data, "the manifest", base=BASE)


@pytest.mark.parametrize(
    "text",
    [
        '{"path": "a.bin"}\n{"path": "d/ü 1.bin", "size": 3, "etag": "x"}\n',
        '[{"path": "a.bin"}, {"path": "d/ü 1.bin", "size": 3, "etag": "\\"x\\""}]',
        "a.bin\nd/ü 1.bin\t3\tx\n",
        '\ufeff# of all\r\n\r\n./a.bin\r\nd/ü 1.bin\t3\t"x"\r\n',
        f"{BASE}a.bin\n{BASE}d/%C3%BC%201.bin\t3\tx",
    ],
)
def test_all_forms_tell_the_same(text):
    assert parsed(text) == [Found("a.bin", -1, ""), Found("d/ü 1.bin", 3, "x")]


def test_a_list_of_names_is_one_too():
    assert parsed('["a.bin", "b.bin"]') == [Found("a.bin", -1, ""), Found("b.bin", -1, "")]


def test_lists_of_checksums_tell_digests():
    text = f"{MD5.upper()}  a b.bin\n{SHA} *./c.bin\n"
    assert parsed(text) == [
        Found("a b.bin", -1, "", f"md5:{MD5}"),
        Found("c.bin", -1, "", f"sha256:{SHA}"),
    ]


def test_an_empty_one_is_empty():
    assert parsed("# nothing yet\n\n") == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a\nb\t1x", "entry 2 of the manifest is not a path with"),
        ("a\n\n# b\n../c", r"entry 4 of the manifest: the path '\.\./c' does not lead"),
        ("/etc/passwd", "entry 1 .*relative to the source"),
        ("a/", "neither a slash at an end"),
        ("http://elsewhere/a", "does not lead to a file below the source"),
        ("a\nb\na\t1", "entry 3 of the manifest names 'a' a second time"),
        ("a\t1\té", "entry 1 "),
        ("[1]", "entry 1 "),
        ('{"path": "a", "size": true}', "entry 1 "),
        ('{"path": "a"}\n{', "is not JSON"),
        pytest.param("[" * 100_000, "is not JSON", id="nested"),
        (f"a\t{10**18}", "entry 1 "),
        pytest.param("a\t" + "9" * 5000, "entry 1 ", id="endless size"),
        ('{"path": "a", "size": 1000000000000000000}', "entry 1 "),
        (b"\xff\xfe", "is not UTF-8 text"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_entry(text, sentence):
    with pytest.raises(OriginLied, match=sentence):
        parsed(text)


def opened(url, **options):
    return open_origin(MountPlan("train", url, options=options), "Cloud", {})


async def bytes_of(origin, found, start=0, stop=None):
    blocks = origin.read(
        found.path,
        size=found.size,
        version=found.version,
        start=start,
        stop=found.size if stop is None else stop,
    )
    return b"".join([bytes(block) async for block in blocks])


async def test_a_text_manifest_on_a_server_asks_for_what_it_lacks(origin):
    (origin.root / "d").mkdir()
    (origin.root / "d" / "ü 1.bin").write_bytes(b"abc")
    (origin.root / "b.bin").write_bytes(b"b")
    (origin.root / "list.txt").write_text("d/ü 1.bin\nb.bin\ngone.bin\n")
    client = opened(origin.url, manifest="list.txt")
    listed = await client.list()
    assert [(item.path, item.size) for item in listed] == [("b.bin", 1), ("d/ü 1.bin", 3)]
    assert await bytes_of(client, listed[1]) == b"abc"
    await client.close()


async def test_a_manifest_elsewhere_would_be_sent_the_secret_so_it_is_refused(origin):
    client = opened(origin.url, manifest="http://127.0.0.2:1/list.txt")
    with pytest.raises(ConfigError, match="does not lie on the source's server"):
        await client.list()
    await client.close()


NGINX = """<html>\r
<head><title>Index of /data/</title></head>\r
<body>\r
<h1>Index of /data/</h1><hr><pre><a href="../">../</a>\r
<a href="deep/">deep/</a>                        01-Jan-2026 00:00                   -\r
<a href="a%20very%20long%20name%20that%20nginx%20cuts.bin">a very long name that nginx c..&gt;</a> \
 01-Jan-2026 00:00                   3\r
</pre><hr></body>\r
</html>\r
"""
APACHE = """<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">
<html><head><title>Index of /data/deep</title></head><body><h1>Index of /data/deep</h1>
<table><tr><th valign="top"><img src="/icons/blank.gif" alt="[ICO]"></th>
<th><a href="?C=N;O=D">Name</a></th><th><a href="?C=M;O=A">Last modified</a></th></tr>
<tr><td valign="top"><img src="/icons/back.gif" alt="[PARENTDIR]"></td>
<td><a href="/data/">Parent Directory</a></td></tr>
<tr><td valign="top"><img src="/icons/unknown.gif" alt="[   ]"></td>
<td><a href="b%26c.bin">b&amp;c.bin</a></td><td align="right">2026-01-01 00:00  </td></tr>
</table><address>Apache/2.4.58 (Ubuntu) Server at host Port 80</address></body></html>
"""


@contextlib.asynccontextmanager
async def indexed(pages):
    """Serve indexes, and three bytes at every other path; yield a client and what was asked."""
    asked = []

    async def answer(request):
        asked.append(request.raw_path)
        if page := pages.get(request.path):
            return web.Response(text=page, content_type="text/html")
        return web.Response(body=b"abc", headers={"ETag": '"v"'})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    client = opened(f"http://127.0.0.1:{runner.addresses[0][1]}/data")
    try:
        yield client, asked
    finally:
        await client.close()
        await runner.cleanup()


async def test_indexes_of_nginx_and_apache_are_followed():
    async with indexed({"/data/": NGINX, "/data/deep/": APACHE}) as (client, asked):
        assert await client.list() == [
            Found("a very long name that nginx cuts.bin", 3, "v"),
            Found("deep/b&c.bin", 3, "v"),
        ]
    assert sorted(asked) == [
        "/data/",
        "/data/a%20very%20long%20name%20that%20nginx%20cuts.bin",
        "/data/deep/",
        "/data/deep/b&c.bin",
    ]


async def test_links_that_lead_out_of_the_source_in_disguise_are_not_followed():
    links = ("%2e%2e/", "%2E%2E%2Fsecret", "deep/..%2fx", ".%2e/secret", "deep//x", "ok.bin")
    page = "".join(f'<a href="{link}">{link}</a>' for link in links)
    async with indexed({"/data/": page}) as (client, asked):
        assert await client.list() == [Found("ok.bin", 3, "v")]
    assert asked == ["/data/", "/data/ok.bin"]


@pytest.fixture
def plain_server(tmp_path):
    """Python's own server over a folder: dates in place of etags, and no ranges."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=tmp_path)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


async def test_pythons_own_server_gives_whole_files_and_refuses_parts(plain_server, tmp_path):
    data = random.Random(1).randbytes(70_000)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a & b.bin").write_bytes(data)
    client = opened(plain_server)
    [item] = await client.list()
    assert (item.path, item.size) == ("d/a & b.bin", len(data))
    assert await bytes_of(client, item) == data
    with pytest.raises(OriginLied, match=r"ignores ranges.*nginx"):
        await bytes_of(client, item, 5, 10)
    await client.close()
