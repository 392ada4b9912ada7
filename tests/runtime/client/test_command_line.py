"""``cachectl ls | cat | cp | du`` over a real agent."""

import os
import pty
import subprocess
import sys

import pytest
from click.testing import CliRunner

from cache_ctl.cli import files
from cache_ctl.errors import ControlError
from runtime.errors import CacheError
from tests.support.client_agent import DATASET
from tests.support.client_fixtures import ROOT
from tests.support.lab_client import LONG


@pytest.fixture
def run(real, tmp_path):
    token = tmp_path / "token"
    token.write_text(real.token)

    def invoke(command, *arguments):
        options = ["--socket", str(real.socket), "--token-file", str(token)]
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
    assert len({line.split()[1] for line in lines}) == 4, "each has its version"


def test_ls_takes_patterns(run):
    assert run(files.ls, f"{DATASET}/train/*.bin").output.split() == [
        f"{DATASET}/train/empty.bin",
        f"{DATASET}/train/large.bin",
    ]


def test_cat_writes_bytes(run, real):
    result = run(files.cat, f"{DATASET}/train/large.bin", f"{DATASET}/readme.md")
    assert result.stdout_bytes == real.files["train/large.bin"] + real.files["readme.md"]


def test_du_sums_directories(run, real):
    train = sum(len(data) for path, data in real.files.items() if path.startswith("train/"))
    assert run(files.du, "-s", f"{DATASET}/train").output == f"{train}\t{DATASET}/train\n"
    lines = run(files.du, f"{DATASET}/train").output.splitlines()
    assert f"300\t{DATASET}/train/a/deep" in lines
    assert f"{train}\t{DATASET}/train" in lines
    assert run(files.du, "-sh", f"{DATASET}/train").output.startswith("2.8Mi\t")


def test_cp_copies_a_file(run, real, tmp_path):
    run(files.cp, f"{DATASET}/readme.md", str(tmp_path / "copy.md"))
    assert (tmp_path / "copy.md").read_bytes() == real.files["readme.md"]


def test_cp_copies_trees_and_many_into_a_directory(run, real, tmp_path):
    run(files.cp, "-r", f"{DATASET}/train", f"{DATASET}/readme.md", str(tmp_path / "into"))
    copied = {
        str(path.relative_to(tmp_path / "into")): path.read_bytes()
        for path in (tmp_path / "into").rglob("*")
        if path.is_file()
    }
    assert copied == {
        path: data for path, data in real.files.items() if not path.startswith("val/")
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


def test_cp_refuses_two_sources_for_one_target(real, tmp_path):
    sources = [f"{DATASET}/readme.md", f"{DATASET}/val/readme.md"]
    result = CliRunner().invoke(
        files.cp,
        [*sources, str(tmp_path / "into"), "--socket", str(real.socket)],
        env={"CACHECTL_TOKEN": real.token},
    )
    assert f"would both be copied to {tmp_path}/into/readme.md" in str(result.exception)
    assert not (tmp_path / "into").exists()


def test_the_program_ends_with_one_sentence_and_code_1(real):
    result = subprocess.run(
        [sys.executable, "-m", "cache_ctl", "cat", f"{DATASET}/gone"],
        env={**os.environ, "CACHECTL_SOCKET": str(real.socket), "CACHECTL_TOKEN": real.token},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (1, "")
    sentence = "cachectl: ns/data/gone is not in the Dataset's current snapshot\n"
    assert result.stderr == sentence


def copying(real, target, **pipes):
    """Start ``cachectl cp`` of the long file in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "cache_ctl", "cp", f"{DATASET}/{LONG}", str(target)],
        env={
            **os.environ,
            "CACHECTL_SOCKET": real.socket,
            "CACHECTL_TOKEN": real.token,
            "TERM": "xterm",
            "COLUMNS": "100",
        },
        cwd=ROOT,
        **pipes,
    )


def test_a_long_copy_shows_its_progress_on_a_terminal(real, tmp_path):
    terminal, end = pty.openpty()
    shown = b""
    with copying(real, tmp_path / "copy", stdout=subprocess.PIPE, stderr=end) as process:
        os.close(end)
        try:
            while block := os.read(terminal, 1 << 16):
                shown += block
        except OSError:  # what the end of a terminal looks like
            pass
        finally:
            os.close(terminal)
        assert process.stdout.read() == b""
        assert process.wait(20) == 0
    assert b"17.0/17.0 MiB" in shown
    assert "\u2501".encode() in shown, "a bar"
    assert (tmp_path / "copy").read_bytes() == real.files[LONG]


def test_a_long_copy_says_nothing_where_nobody_looks(real, tmp_path):
    pipe = subprocess.PIPE
    with copying(real, tmp_path / "copy", stdout=pipe, stderr=pipe) as process:
        assert process.communicate(timeout=30) == (b"", b"")
        assert process.returncode == 0
    assert (tmp_path / "copy").read_bytes() == real.files[LONG]
