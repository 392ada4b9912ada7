"""The files that people's libraries read: tables, shards, arrays, text, an archive."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 120_000
ROW_GROUP = 20_000
SHARDS = 3
SAMPLES = 20
"""Samples a shard."""
ODD = "odd/[1] a+b%20&?#=ü雪.txt"
"""A name with what URLs and patterns give a meaning."""


def table() -> pa.Table:
    """Return the table behind ``table.parquet``, the same at each call."""
    numbers = np.random.default_rng(1)
    count = np.arange(ROWS)
    return pa.table(
        {
            "id": count,
            "value": numbers.random(ROWS),
            "name": [f"row {number % 977}" for number in count],
            "day": (count % 3).astype("int32"),
        }
    )


def write_reading_files(folder: Path) -> None:
    """Write the files below an empty folder."""
    source = random.Random(2)
    rows = table()
    pq.write_table(rows, folder / "table.parquet", row_group_size=ROW_GROUP, compression="none")
    pq.write_table(rows.slice(0, 100), folder / "small.parquet")
    pq.write_to_dataset(rows, folder / "parts", partition_cols=["day"])
    lines = rows.slice(0, 40_000).to_pandas().to_csv(index=False).encode()
    (folder / "rows.csv").write_bytes(lines)
    (folder / "rows.csv.gz").write_bytes(gzip.compress(lines))
    np.save(folder / "array.npy", np.random.default_rng(3).random((400, 500)))
    (folder / "lines.txt").write_bytes("first ä\r\nsecond\nlast\n".encode() * 100_000)
    (folder / "large.bin").write_bytes(source.randbytes(11_000_003))
    (folder / "empty.bin").touch()
    (folder / "odd").mkdir()
    (folder / ODD).write_bytes(source.randbytes(700))
    with zipfile.ZipFile(folder / "archive.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner/rows.csv", lines)
        archive.writestr("note.txt", "a note")
    (folder / "img").mkdir()
    for number in range(30):
        (folder / "img" / f"{number:03}.jpg").write_bytes(source.randbytes(1000 + 2500 * number))
    (folder / "shards").mkdir()
    for shard in range(SHARDS):
        _write_shard(folder / "shards" / f"{shard:06}.tar", shard, source)


def _write_shard(path: Path, shard: int, source: random.Random) -> None:
    with tarfile.open(path, "w") as tar:
        for number in range(SAMPLES):
            parts = {"jpg": source.randbytes(60_000), "cls": str(number).encode()}
            for kind, data in parts.items():
                member = tarfile.TarInfo(f"{shard}-{number:04}.{kind}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
