"""The command line's entry: lazy, and orderly when it is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from cache_ctl.__main__ import COMMANDS
from tests.support.command import FLEET, cachectl


def test_help_names_every_command_and_imports_nothing_heavy():
    code = (
        "import sys; from cache_ctl.__main__ import run; run(['--help']); "
        "heavy = {'networkx', 'matplotlib', 'rich', 'yaml', 'pydantic', 'kopf'}; "
        "sys.exit(', '.join(heavy & set(sys.modules)) or None)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name):
    done = cachectl(name, "--help")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: cachectl {name} ")


def test_ls_imports_nothing_of_the_controller():
    code = (
        "import sys; from cache_ctl.__main__ import run; run(['ls', '--help']); "
        "heavy = {'networkx', 'matplotlib', 'yaml', 'pydantic', 'kopf', 'kubernetes'}; "
        "sys.exit(', '.join(heavy & set(sys.modules)) or None)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_classify_does_not_import_networkx_or_matplotlib():
    code = (
        "import sys; from cache_ctl.__main__ import run; "
        f"run(['classify', '-o', 'json', '-f', {str(FLEET)!r}]); "
        "sys.exit(', '.join({'networkx', 'matplotlib', 'rich'} & set(sys.modules)) or None)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_goes_away_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "cache_ctl", "classify", "-f", str(FLEET)],
            stdout=pipe,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )

    assert done.stderr == b""
    assert done.returncode == 1


def test_an_interrupt_ends_with_130_and_no_traceback():
    with subprocess.Popen(
        [sys.executable, "-m", "cache_ctl", "classify", "-f", "-"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        # More than a pipe holds: once it is written, the command is reading.
        process.stdin.write(b"#" * 200_000)
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)

    assert process.returncode == 130
    assert b"Traceback" not in errors


def test_version_is_printed():
    assert cachectl("--version").stdout.startswith("cachectl, version ")
