"""pandas and pyarrow: tables by URL, by row group, by column and by partition."""

import io

import numpy as np
import pandas as pd
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from pyarrow.fs import FileSelector, FileType, FSSpecHandler, PyFileSystem

from runtime.errors import CacheError
from tests.support.reading_files import ROW_GROUP, ROWS, table
from tests.support.reading_world import ROOT, url


@pytest.fixture(scope="module")
def rows():
    return table()


@pytest.fixture
def arrow(fs):
    return PyFileSystem(FSSpecHandler(fs))


def test_pandas_reads_parquet_by_url(world, options, rows):
    frame = pd.read_parquet(url("table.parquet"), storage_options=options)

    pd.testing.assert_frame_equal(frame, rows.to_pandas())


def test_pandas_reads_columns_that_a_filter_leaves(options, rows):
    frame = pd.read_parquet(
        url("table.parquet"),
        columns=["value", "id"],
        filters=[("id", ">=", ROWS - 5)],
        storage_options=options,
    )

    expected = rows.slice(ROWS - 5).select(["value", "id"]).to_pandas()
    pd.testing.assert_frame_equal(frame, expected)


def test_pandas_reads_a_partitioned_folder(world, options):
    frame = pd.read_parquet(url("parts"), storage_options=options)

    pd.testing.assert_frame_equal(frame, pd.read_parquet(world.files / "parts"))


@pytest.mark.parametrize("engine", ["c", "python", "pyarrow"])
@pytest.mark.parametrize("path", ["rows.csv", "rows.csv.gz"])
def test_pandas_reads_csv_by_url(world, options, path, engine):
    frame = pd.read_csv(url(path), engine=engine, storage_options=options)

    pd.testing.assert_frame_equal(frame, pd.read_csv(world.files / path, engine=engine))


def test_pandas_reads_csv_in_pieces(world, options):
    with pd.read_csv(url("rows.csv"), chunksize=7000, storage_options=options) as pieces:
        frame = pd.concat(pieces)

    pd.testing.assert_frame_equal(frame, pd.read_csv(world.files / "rows.csv"))


def test_pandas_reads_csv_inside_an_archive(world, options):
    frame = pd.read_csv(
        f"zip://inner/rows.csv::{url('archive.zip')}", storage_options={"cachectl": options}
    )

    pd.testing.assert_frame_equal(frame, pd.read_csv(world.files / "rows.csv"))


def test_pandas_needs_no_options_where_the_environment_has_them(environment, rows):
    frame = pd.read_parquet(url("small.parquet"))

    pd.testing.assert_frame_equal(frame, rows.slice(0, 100).to_pandas())


def test_pandas_cannot_write(options):
    with pytest.raises(OSError, match="read-only"):
        pd.DataFrame({"a": [1]}).to_csv(url("new.csv"), storage_options=options)


def test_pandas_says_what_is_missing(options):
    with pytest.raises(FileNotFoundError, match=r"nothing\.csv is not in the Dataset"):
        pd.read_csv(url("nothing.csv"), storage_options=options)


def test_a_wrong_token_is_no_missing_file(options):
    with pytest.raises(PermissionError, match="token") as refused:
        pd.read_csv(url("rows.csv"), storage_options={**options, "token": "cct1.reader.x.y"})

    assert isinstance(refused.value, CacheError)
    assert "cct1" not in str(refused.value)


def test_row_groups_are_read_one_by_one(fs, rows):
    with fs.open(f"{ROOT}/table.parquet") as file, pq.ParquetFile(file) as parquet:
        assert parquet.num_row_groups == ROWS // ROW_GROUP
        for number in reversed(range(parquet.num_row_groups)):
            group = parquet.read_row_group(number)
            assert group.equals(rows.slice(number * ROW_GROUP, ROW_GROUP))


@pytest.mark.parametrize("pre_buffer", [True, False])
def test_pyarrow_reads_a_table_over_the_file_system(fs, rows, pre_buffer):
    found = pq.read_table(f"{ROOT}/table.parquet", filesystem=fs, pre_buffer=pre_buffer)

    assert found.equals(rows)


def test_a_dataset_is_read_by_partition(world, arrow):
    found = pyarrow.dataset.dataset(f"{ROOT}/parts", filesystem=arrow, partitioning="hive")
    local = pyarrow.dataset.dataset(world.files / "parts", partitioning="hive")
    day = pyarrow.dataset.field("day") == 1

    assert found.schema.equals(local.schema)
    for options in ({}, {"filter": day}, {"columns": ["id"], "filter": day}):
        assert found.to_table(**options).equals(local.to_table(**options))
    assert found.count_rows() == ROWS
    batches = found.scanner(batch_size=1000).to_batches()
    assert sum(batch.num_rows for batch in batches) == ROWS


def test_pyarrow_sees_files_and_folders(world, arrow):
    file, folder, missing = arrow.get_file_info(
        [f"{ROOT}/rows.csv", f"{ROOT}/img", f"{ROOT}/nothing"]
    )
    below = arrow.get_file_info(FileSelector(ROOT, recursive=True))

    assert (file.type, file.size) == (FileType.File, len(world.data("rows.csv")))
    assert (folder.type, missing.type) == (FileType.Directory, FileType.NotFound)
    names = sorted(one.path for one in below if one.type == FileType.File)
    assert names == [f"{ROOT}/{path}" for path in world.paths()]


@pytest.mark.parametrize("path", ["lines.txt", "img/003.jpg", "empty.bin"])
def test_pyarrow_streams_and_reads_at(world, arrow, path):
    data = world.data(path)
    with arrow.open_input_stream(f"{ROOT}/{path}") as stream:
        assert stream.read(10) + stream.read() == data
    with arrow.open_input_file(f"{ROOT}/{path}") as file:
        assert file.size() == len(data)
        assert file.read_at(70_000, 5) == data[5:70_005]
        file.seek(max(len(data) - 3, 0))
        assert file.read() == data[-3:]


def test_numpy_reads_an_array(world, fs):
    with fs.open(f"{ROOT}/array.npy") as file:
        found = np.load(file)

    assert np.array_equal(found, np.load(io.BytesIO(world.data("array.npy"))))
