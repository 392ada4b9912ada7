"""``cachectl ls | cat | cp | du`` over a real agent."""

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from cache_ctl.cli import files
from cache_ctl.errors import ControlError
from runtime.errors import CacheError
from tests.support.client_agent import DATASET, TOKEN
from tests.support.client_fixtures import ROOT


@pytest.fixture
def run(shared, tmp_path):
    token = tmp_path / "token"
    token.write_text(TOKEN)

    def invoke(command, *arguments):
        options = ["--socket", str(shared.socket), "--token-file", str(token)]
        result = CliRunner().invoke(command, [*arguments, *options])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result

    return invoke


def test_ls_lists_names(run):
    assert run(files.ls, DATASET).output == "readme.md\ntrain/\nval/\n"
    assert run(files.ls, f"cachectl://{DATASET}/train/a").output.split() == [
        "0001.jpg",
        "0002.jpg",
        "0003.jpg",
        "deep/",
    ]


def test_ls_shows_sizes_and_versions_and_what_is_below(run):
    lines = run(files.ls, "-l", "-R", f"{DATASET}/train/a").output.splitlines()
    assert [line.split()[0] for line in lines] == ["10240", "1", "65535", "300"]
    assert lines[-1].endswith("  deep/er/x.txt")
    assert len(lines[0].split()[1]) == 16


def test_ls_takes_patterns(run):
    assert run(files.ls, f"{DATASET}/train/*.bin").output.split() == [
        f"{DATASET}/train/empty.bin",
        f"{DATASET}/train/large.bin",
    ]


def test_cat_writes_bytes(run, shared):
    result = run(files.cat, f"{DATASET}/train/large.bin", f"{DATASET}/readme.md")
    assert result.stdout_bytes == shared.files["train/large.bin"] + shared.files["readme.md"]


def test_du_sums_directories(run, shared):
    train = sum(len(data) for path, data in shared.files.items() if path.startswith("train/"))
    assert run(files.du, "-s", f"{DATASET}/train").output == f"{train}\t{DATASET}/train\n"
    lines = run(files.du, f"{DATASET}/train").output.splitlines()
    assert f"300\t{DATASET}/train/a/deep" in lines
    assert f"{train}\t{DATASET}/train" in lines
    assert run(files.du, "-sh", f"{DATASET}/train").output.startswith("2.8Mi\t")


def test_cp_copies_a_file(run, shared, tmp_path):
    run(files.cp, f"{DATASET}/readme.md", str(tmp_path / "copy.md"))
    assert (tmp_path / "copy.md").read_bytes() == shared.files["readme.md"]


def test_cp_copies_trees_and_many_into_a_directory(run, shared, tmp_path):
    run(files.cp, "-r", f"{DATASET}/train", f"{DATASET}/readme.md", str(tmp_path / "into"))
    copied = {
        str(path.relative_to(tmp_path / "into")): path.read_bytes()
        for path in (tmp_path / "into").rglob("*")
        if path.is_file()
    }
    assert copied == {
        path: data for path, data in shared.files.items() if not path.startswith("val/")
    }


@pytest.mark.parametrize(
    ("command", "arguments", "sentence"),
    [
        (files.ls, [f"{DATASET}/gone"], "gone is not in the Dataset's current snapshot"),
        (files.ls, ["-R", f"{DATASET}/gone"], "gone is not in the Dataset's current snapshot"),
        (files.ls, ["ns"], "a reader's token is for one Dataset"),
        (files.ls, [f"{DATASET}/x*"], "nothing in the Dataset's current snapshot matches"),
        (files.cat, [f"{DATASET}/train"], "is a directory"),
        (files.du, [f"{DATASET}/gone"], "gone is not in"),
        (files.cp, [f"{DATASET}/train", "/tmp/x"], "give -r"),
        (files.cp, [f"{DATASET}/readme.md", "cachectl://ns/data/x"], "is not a local path"),
        (files.cp, [f"{DATASET}/readme.md", "/proc/x/y"], "/proc/x/y cannot be written"),
    ],
)
def test_errors_are_one_sentence(run, command, arguments, sentence):
    with pytest.raises((CacheError, ControlError), match=sentence):
        run(command, *arguments)


def test_cp_refuses_two_sources_for_one_target(agent, tmp_path):
    (agent.origin / "val/readme.md").write_bytes(b"another")
    agent.tell(publish=True)
    sources = [f"{DATASET}/readme.md", f"{DATASET}/val/readme.md"]
    result = CliRunner().invoke(
        files.cp,
        [*sources, str(tmp_path / "into"), "--socket", str(agent.socket)],
        env={"CACHECTL_TOKEN": TOKEN},
    )
    assert f"would both be copied to {tmp_path}/into/readme.md" in str(result.exception)
    assert not (tmp_path / "into").exists()


def test_the_program_ends_with_one_sentence_and_code_1(shared):
    result = subprocess.run(
        [sys.executable, "-m", "cache_ctl", "cat", f"{DATASET}/gone"],
        env={**os.environ, "CACHECTL_SOCKET": str(shared.socket), "CACHECTL_TOKEN": TOKEN},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (1, "")
    sentence = "cachectl: ns/data/gone is not in the Dataset's current snapshot\n"
    assert result.stderr == sentence
