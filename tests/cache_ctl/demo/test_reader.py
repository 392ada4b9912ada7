"""The reader counts what it read and notices everything that is not right."""

import fsspec
import pytest
import xxhash

from cache_ctl.demo.data import Sample
from cache_ctl.demo.reader import BATCH, read_epoch, unexpected_names

SIZES = {f"images/{n:03d}.jpg": 1000 + n for n in range(2 * BATCH)} | {"shards/0.tar": 3 << 20}


@pytest.fixture
def source(tmp_path):
    samples = []
    for path, size in SIZES.items():
        data = path.encode()[:1] * size
        place = tmp_path / path
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(data)
        samples.append(Sample(path, size, xxhash.xxh3_128_hexdigest(data)))
    return tmp_path, samples


def last_tally(root, samples):
    *_, tally = read_epoch(fsspec.filesystem("file"), str(root), samples, 1)
    return tally


def test_an_epoch_counts_every_file_and_byte(source):
    tally = last_tally(*source)
    assert (tally.epoch, tally.files, tally.bytes) == (1, len(SIZES), sum(SIZES.values()))
    assert (tally.wrong_bytes, tally.failures) == (0, 0)
    assert tally.seconds > 0


def test_the_tally_grows_batch_by_batch(source):
    root, samples = source
    tallies = list(read_epoch(fsspec.filesystem("file"), str(root), samples, 0))
    assert [tally.files for tally in tallies] == [BATCH, 2 * BATCH, 2 * BATCH + 1]


@pytest.mark.parametrize("path", ["images/007.jpg", "shards/0.tar"])
def test_one_flipped_bit_makes_the_whole_file_wrong(source, path):
    root, samples = source
    data = bytearray((root / path).read_bytes())
    data[-1] ^= 1
    (root / path).write_bytes(data)
    assert last_tally(root, samples).wrong_bytes == SIZES[path]


@pytest.mark.parametrize("path", ["images/007.jpg", "shards/0.tar"])
def test_a_file_that_cannot_be_read_is_counted_and_named(source, path):
    root, samples = source
    (root / path).unlink()
    tally = last_tally(root, samples)
    assert (tally.failures, tally.files) == (1, len(SIZES) - 1)
    assert tally.failure.startswith(f"{path}: ")


def test_names_that_are_missing_or_too_many_are_noticed(source):
    root, samples = source
    filesystem = fsspec.filesystem("file")
    assert unexpected_names(filesystem, str(root), samples) == []
    (root / "images" / "extra.jpg").touch()
    (root / "images" / "001.jpg").unlink()
    assert unexpected_names(filesystem, str(root), samples) == [
        f"{root}/images/001.jpg",
        f"{root}/images/extra.jpg",
    ]
