"""The snippets in docs/fsspec.md run against a real agent, one after the other, as they stand."""

import re
from pathlib import Path

from tests.support.client_agent import DATASET

DOCS = Path(__file__).parents[3] / "docs" / "fsspec.md"


def test_the_snippets_run(real, monkeypatch, tmp_path):
    monkeypatch.setenv("CACHECTL_SOCKET", str(real.socket))
    monkeypatch.setenv("CACHECTL_TOKEN", real.token)
    text = DOCS.read_text("utf-8").replace("/tmp/faces-a", str(tmp_path / "faces-a"))
    snippets = re.findall(r"```python\n(.*?)```", text.replace("vision/faces", DATASET), re.DOTALL)
    assert len(snippets) >= 4
    names = {}
    for snippet in snippets:
        exec(compile(snippet, str(DOCS), "exec"), names)
    assert names["image"] == real.files["train/a/0001.jpg"]
    assert names["part"] == real.files["train/large.bin"][1_000_000:1_000_100]
    assert names["last"].endswith(names["trailer"])
    assert [len(sample) for sample in names["samples"]] == [10_240, 65_535, 1]
    assert names["data"] == real.files["train/b/exactly.bin"]
    assert (tmp_path / "faces-a" / "0001.jpg").exists()
