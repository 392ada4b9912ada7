"""Python libraries that read agents by plain HTTP, with the token in a header."""

import urllib.request

import fsspec
import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.support.reading_files import ROW_GROUP, table
from tests.support.reading_world import ROOT


@pytest.fixture
def headers(world):
    return {"Authorization": f"Bearer {world.token}"}


@pytest.fixture
def base(world):
    node = world.nodes[0]
    return f"http://{node.address}:{node.port}/{ROOT}"


def test_urllib(world, base, headers):
    with urllib.request.urlopen(
        urllib.request.Request(f"{base}/lines.txt", headers=headers)
    ) as answer:
        assert answer.read() == world.data("lines.txt")


def test_pandas(world, base, headers):
    frame = pd.read_csv(f"{base}/rows.csv", storage_options=headers)

    pd.testing.assert_frame_equal(frame, pd.read_csv(world.files / "rows.csv"))


def test_fsspec_reads_row_groups(base, headers):
    fs = fsspec.filesystem("http", headers=headers, skip_instance_cache=True)
    with fs.open(f"{base}/table.parquet") as file, pq.ParquetFile(file) as parquet:
        assert parquet.read_row_group(2).equals(table().slice(2 * ROW_GROUP, ROW_GROUP))


def test_fsspec_says_what_is_missing(base, headers):
    fs = fsspec.filesystem("http", headers=headers, skip_instance_cache=True)

    assert not fs.exists(f"{base}/nothing.csv")
    with pytest.raises(FileNotFoundError):
        fs.cat(f"{base}/nothing.csv")
