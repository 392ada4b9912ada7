"""Globs, digests, versions and retries."""

import hashlib

import pytest

from runtime.errors import ConfigError, OriginLied, OriginUnavailable
from runtime.origin import digest, version
from runtime.origin.base import Timeouts, shown
from runtime.origin.globs import selector
from runtime.origin.resume import Interrupted, Retries


@pytest.mark.parametrize(
    ("glob", "matching", "others"),
    [
        ("**/*.jpg", ["x.jpg", "a/x.jpg", "a/b/x.jpg"], ["x.jpeg", "a/x.jpg/y"]),
        ("*.jpg", ["x.jpg", ".jpg"], ["a/x.jpg"]),
        ("a/**", ["a/x", "a/b/c"], ["b/a/x", "ab"]),
        ("a/**/z", ["a/z", "a/b/z", "a/b/c/z"], ["a/bz", "a/z/y"]),
        ("x?.txt", ["x1.txt"], ["x.txt", "x/.txt", "x12.txt"]),
        ("[a-c].txt", ["a.txt", "c.txt"], ["d.txt"]),
        ("[!a-c].txt", ["d.txt"], ["a.txt", "/.txt"]),
        ("a+(b).txt", ["a+(b).txt"], ["aab.txt"]),
        ("**", ["a", "a/b", "line\nbreak"], []),
    ],
)
def test_globs_match_whole_paths(glob, matching, others):
    selects = selector([glob], [])
    assert [path for path in matching + others if selects(path)] == matching


def test_exclude_wins_over_include():
    selects = selector(["a/**"], ["**/*.tmp"])
    assert [path for path in ("a/x", "a/x.tmp", "b/x") if selects(path)] == ["a/x"]
    assert selector([], ["b"])("a")


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_digests_are_checked(algorithm):
    told = f"{algorithm}:{hashlib.new(algorithm, b'data').hexdigest()}"
    digest.check(told, b"data")
    digest.check(told.upper(), memoryview(b"data"))
    digest.check("", b"anything")
    with pytest.raises(OriginLied, match=r"a\.bin"):
        digest.check(told, b"date", name="a.bin")
    with pytest.raises(ConfigError):
        digest.check(told[:-1], b"data")


def test_only_plain_etags_are_digests():
    assert digest.from_etag("D" * 32) == "md5:" + "d" * 32
    assert digest.from_etag("d" * 32 + "-2") == ""


@pytest.mark.parametrize(
    ("headers", "conditions"),
    [
        ({"ETag": '"abc"'}, {"If-Match": '"abc"'}),
        ({"ETag": 'W/"abc"'}, {}),
        ({"Last-Modified": "Mon, 01 Jan"}, {"If-Unmodified-Since": "Mon, 01 Jan"}),
    ],
)
def test_versions_become_conditions_and_match_only_themselves(headers, conditions):
    told = version.from_headers(headers, 5)
    assert version.conditions(told) == conditions
    assert version.matches(told, headers, 5)
    assert not version.matches(told, {}, 5)
    assert not version.matches(told, {key: "x" + value for key, value in headers.items()}, 5)


def test_a_dated_version_holds_for_its_size_only():
    headers = {"Last-Modified": "Mon, 01 Jan"}
    assert not version.matches(version.from_headers(headers, 5), headers, 6)


def test_sources_are_shown_without_credentials_and_query():
    assert shown("https://me:hush@host:8443/a?sig=hush#hush") == "https://host:8443/a"


async def test_pauses_double_and_are_spread_by_chance():
    pauses = []

    async def pause(seconds):
        pauses.append(seconds)

    async def attempt():
        raise Interrupted(OriginUnavailable("gone"))

    retries = Retries(Timeouts(tries=4, backoff_seconds=1.0), chance=lambda: 0.25, pause=pause)
    with pytest.raises(OriginUnavailable):
        await retries.call(attempt)
    assert pauses == [0.75, 1.5, 3.0]


@pytest.mark.parametrize("sizes", [[4], [11], [5, 6]])
async def test_a_driver_that_yields_another_length_is_caught(sizes):
    async def attempt(_start, _stop):
        for size in sizes:
            yield bytes(size)

    with pytest.raises(OriginLied):
        async for _ in Retries(Timeouts()).read(attempt, 0, 10):
            pass
