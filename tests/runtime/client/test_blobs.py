"""Descriptors of blobs: how many are kept, and maps that are not what the catalog says."""

import struct

import pytest

from runtime.client.blobs import Blob, BlobShelf
from runtime.client.failures import AgentMisspoke
from runtime.contract.cellmap import MapHeader
from tests.support.client_agent import DATASET

LARGE = "train/large.bin"


def make(key):
    return lambda: Blob(None, "ns/data", MapHeader.for_pack(key, 1, 1))


def test_a_shelf_keeps_as_many_blobs_as_it_may_and_those_used_lately():
    shelf = BlobShelf(limit=3)
    kept = {key: shelf.get(key, make(key)) for key in "abc"}
    shelf.get("d", make("d"))
    assert shelf.get("b", make("b")) is kept["b"]
    shelf.get("e", make("e"))
    # b was used after the marks were cleared, so c went.
    assert shelf.get("b", make("b")) is kept["b"]
    assert shelf.get("c", make("c")) is not kept["c"]


def test_a_large_file_stays_open_when_the_shelf_forgets_its_blob(agent, fs):
    with fs.open(f"{DATASET}/{LARGE}") as file:
        file.read(100)
        shelf = fs._session._shelf
        shelf._blobs.clear()
        assert file.read() == agent.files[LARGE][100:]


@pytest.mark.parametrize(
    ("at", "value", "sentence"),
    [(0, b"X", "is not a cell map"), (24, struct.pack("<Q", 512 << 10), "has another layout")],
)
def test_a_map_that_contradicts_the_catalog_is_not_used(agent, fs, at, value, sentence):
    fs.cat(f"{DATASET}/{LARGE}")
    catalog = fs._session.view(DATASET).current().catalog
    path = agent.state / f"{catalog.layout(catalog.find(LARGE)).key}.map"
    with path.open("r+b") as file:
        file.seek(at)
        file.write(value)
    fs._session._shelf._blobs.clear()
    with pytest.raises(AgentMisspoke, match=sentence):
        fs.cat(f"{DATASET}/{LARGE}")
