"""The snippets in docs/libraries.md run against real agents, one after the other."""

import gc
import importlib
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.reading_files import SAMPLES, SHARDS, table

PAGE = Path(__file__).parents[3] / "docs" / "libraries.md"


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # numpy's map of a copy
def test_the_snippets_run(world, monkeypatch, tmp_path):
    gopen = importlib.import_module("webdataset.gopen")
    monkeypatch.setattr(gopen, "gopen_schemes", dict(gopen.gopen_schemes))
    token = tmp_path / "token"
    token.write_text(world.token)
    text = PAGE.read_text("utf-8").replace("vision/faces", "team/images")
    text = text.replace("/run/cachectl/agent.sock", world.node.socket)
    text = text.replace("/run/secrets/faces", str(token))
    text = text.replace("/tmp/faces-img", str(tmp_path / "img"))
    names = {}
    for snippet in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(snippet, str(PAGE), "exec"), names)

    rows = table()
    frame = rows.slice(0, 1000).select(["id", "value"]).to_pandas()
    pd.testing.assert_frame_equal(names["table"], frame)
    pd.testing.assert_frame_equal(names["rows"], pd.read_csv(world.files / "rows.csv"))
    assert names["group"].column("value").equals(rows.column("value").slice(0, len(names["group"])))
    assert names["day"].num_rows == rows.num_rows // 3
    assert len(set(names["keys"])) == SHARDS * SAMPLES
    assert np.array_equal(names["array"], np.load(world.files / "array.npy"))
    assert names["header"] == b"id,value,name,day\n"
    assert names["names"] == [f"{number:03}.jpg" for number in range(30)]
    for name in names["names"]:
        assert (tmp_path / "img" / name).read_bytes() == world.data(f"img/{name}")
    names.clear()
    gc.collect()
