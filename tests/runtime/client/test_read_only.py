"""Every call that writes is refused with one sentence."""

import errno

import pytest

from runtime.client.failures import ReadOnly
from tests.support.client_agent import DATASET

PATH = f"{DATASET}/train/a/0001.jpg"


@pytest.fixture
def fs(shared, make):
    return make(shared)


@pytest.mark.parametrize(
    "call",
    [
        lambda fs: fs.open(PATH, "wb"),
        lambda fs: fs.open(PATH, "w"),
        lambda fs: fs.open(PATH, "ab"),
        lambda fs: fs.open(PATH, "xb"),
        lambda fs: fs.open(PATH, "r+b"),
        lambda fs: fs.mkdir(f"{DATASET}/new"),
        lambda fs: fs.makedirs(f"{DATASET}/new", exist_ok=True),
        lambda fs: fs.makedir(f"{DATASET}/new"),
        lambda fs: fs.mkdirs(f"{DATASET}/new"),
        lambda fs: fs.rmdir(f"{DATASET}/train"),
        lambda fs: fs.rm(PATH),
        lambda fs: fs.rm(DATASET, recursive=True),
        lambda fs: fs.rm_file(PATH),
        lambda fs: fs.delete(PATH),
        lambda fs: fs.mv(PATH, f"{PATH}2"),
        lambda fs: fs.move(PATH, f"{PATH}2"),
        lambda fs: fs.rename(PATH, f"{PATH}2"),
        lambda fs: fs.cp_file(PATH, f"{PATH}2"),
        lambda fs: fs.cp(PATH, f"{PATH}2"),
        lambda fs: fs.copy(PATH, f"{PATH}2"),
        lambda fs: fs.put(__file__, PATH),
        lambda fs: fs.put_file(__file__, PATH),
        lambda fs: fs.upload(__file__, PATH),
        lambda fs: fs.touch(PATH),
        lambda fs: fs.pipe({PATH: b"x"}),
        lambda fs: fs.pipe_file(PATH, b"x"),
        lambda fs: fs.write_bytes(PATH, b"x"),
        lambda fs: fs.write_text(PATH, "x"),
        lambda fs: fs.open(PATH).write(b"x"),
        lambda fs: fs.open(PATH).truncate(1),
        lambda fs: fs.open(PATH).writelines([b"x"]),
        lambda fs: fs.open(f"{DATASET}/train/large.bin").write(b"x"),
        lambda fs: fs.open(f"{DATASET}/train/large.bin").truncate(1),
        lambda fs: fs.open(f"{DATASET}/train/large.bin").writelines([b"x"]),
    ],
)
def test_a_call_that_writes_is_refused(fs, shared, call):
    with pytest.raises(OSError, match="cachectl:// is read-only: write to the Dataset's") as error:
        call(fs)
    assert error.value.errno == errno.EROFS
    assert isinstance(error.value, ReadOnly)
    assert fs.cat(PATH) == shared.files["train/a/0001.jpg"]
