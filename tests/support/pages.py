"""The pages of the documentation: their blocks of code, and a shell that runs them.

Every fence of a page names its language:

- ``sh``: commands that must succeed; what they print is not looked at.
- ``console``: commands behind ``$`` (``>`` goes on with one) and what they print. Lines that begin
  with ``cachectl:`` are an error's, and the exit code must be 1 then, else 0.
- ``python``: the blocks of a page are one program, run in the environment of its shell.
- ``yaml``: objects; a first line like ``# nodes.yaml`` names the file for the commands after it.
- ``json``, ``text``: nothing that runs.

``<!-- not run: reason -->`` on the line before a fence says that it cannot run in a test, and
``<!-- not compared: reason -->`` that it runs, and prints something else each time.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).parents[2]
LANGUAGES = {"sh", "console", "python", "yaml", "json", "text"}
_FENCE = re.compile(
    r"(?:<!-- (not run|not compared): (.+) -->\n)?```(\w*)\n((?:(?!```).*\n)*)```\n"
)
_FILE = re.compile(r"# ([\w-]+\.yaml)\n")
_MASKED = re.compile(r"(?<![\w-])(?:\d[\w.:%-]*|[0-9a-f]{16,}[\w.-]*)")
_ALL = re.compile(r"\b(\d+) of \1\b")
_LOOKS = re.compile(r"cachectl (status|get|describe|explain|ls|cat)\b")
"""Commands that change nothing, so that they can be asked again until the state is there."""
_END = "\x1e"
SECONDS = 60


@dataclass(frozen=True)
class Block:
    """A block of code: the page's name, the fence's line, and the marker before it."""

    page: str
    line: int
    language: str
    text: str
    marker: str
    reason: str

    @property
    def runs(self) -> bool:
        return self.marker != "not run"

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str | None:
        """The name of the file that a block of YAML is, if it tells one."""
        named = _FILE.match(self.text)
        return named.group(1) if named and self.language == "yaml" else None

    def commands(self) -> list[tuple[str, str]]:
        """Return the commands of a console and what each prints."""
        found: list[tuple[str, str]] = []
        for line in self.text.splitlines(keepends=True):
            if line.startswith("$ "):
                found.append((line[2:], ""))
            elif line.startswith("> ") and not found[-1][1]:
                found[-1] = (found[-1][0] + line[2:], "")
            else:
                command, output = found[-1]
                found[-1] = (command, output + line)
        return found


def pages() -> dict[str, Path]:
    """Return every page by its name."""
    found = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
    return {path.name: path for path in found}


def blocks(name: str) -> list[Block]:
    """Return the blocks of a page, in their order."""
    text = pages()[name].read_text("utf-8")
    found = []
    for match in _FENCE.finditer(text):
        marker, reason, language, body = match.groups(default="")
        line = text.count("\n", 0, match.start(4))
        found.append(Block(name, line, language, body, marker, reason))
    return found


def alike(shown: str, printed: str) -> bool:
    """Tell whether a page shows what was printed, but for numbers, widths and identities.

    That it is all (``5 of 5``) is no number. A line ``...`` on the page stands for any lines.
    """
    if shown.startswith(("{", "[")):
        wanted = json.loads(re.sub(r"(?m)^( *)\.\.\.$", r'\1"..."', shown))
        with contextlib.suppress(json.JSONDecodeError):
            return _same_shape(wanted, json.loads(printed))
        return False
    lines = ("(?:.*\n)*" if line == "..." else re.escape(line) + "\n" for line in _masked(shown))
    return (
        re.fullmatch("".join(lines), "".join(f"{line}\n" for line in _masked(printed))) is not None
    )


def _masked(text: str) -> list[str]:
    return [_MASKED.sub("#", _ALL.sub("all", " ".join(line.split()))) for line in text.splitlines()]


def _same_shape(shown: Any, printed: Any) -> bool:
    match shown, printed:
        case dict(), dict():
            return shown.keys() == printed.keys() and all(
                _same_shape(value, printed[key]) for key, value in shown.items()
            )
        case list(), list():
            cut = shown[-1:] == ["..."]
            wanted = shown[:-1] if cut else shown
            return (len(wanted) <= len(printed) if cut else len(wanted) == len(printed)) and all(
                map(_same_shape, wanted, printed)
            )
        case str(), str():
            return _masked(shown) == _masked(printed)
        case (bool(), bool()) | (None, None):
            return bool(shown == printed)
        case int() | float(), int() | float():
            return not isinstance(shown, bool) and not isinstance(printed, bool)
    return False


class Shell:
    """A shell that keeps its folder and its variables from one command to the next."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        kept = {key: value for key, value in os.environ.items() if not key.startswith("CACHECTL_")}
        self._child = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env={**kept, "NO_COLOR": "1", **environment, "PATH": path},
            start_new_session=True,
        )

    def run(self, command: str) -> tuple[str, int]:
        """Run commands; return what they print, and the code of the last that failed, or 0."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(
            "code=0; trap 'code=$?' ERR\n"
            f"{{\n{command}\n}} < /dev/null\n"
            f"trap - ERR; printf '{_END}%d\\n' $code\n"
        )
        self._child.stdin.flush()
        printed = []
        for line in self._child.stdout:
            before, end, code = line.partition(_END)
            printed.append(before)
            if end:
                return "".join(printed), int(code)
        raise AssertionError(f"the shell has ended: {''.join(printed)}")

    def environment(self) -> dict[str, str]:
        """Return the variables that commands see now."""
        printed, _ = self.run("env -0 | tr '\\n\\0' '\\0\\n'")
        lines = (line.replace("\0", "\n") for line in printed.split("\n"))
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def folder(self) -> str:
        """Return the folder that it is in."""
        return self.run("pwd")[0].rstrip("\n")

    def close(self) -> None:
        """End it, and what it left running in the background."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.communicate()


@contextlib.contextmanager
def shell(folder: Path, **environment: str) -> Iterator[Shell]:
    """Run a shell in a folder for the time of the block."""
    opened = Shell(folder, environment)
    try:
        yield opened
    finally:
        opened.close()


class Page:
    """A page that is run in a shell; ``fill`` puts a test's own addresses and paths into it."""

    def __init__(self, name: str, shell: Shell, fill: Callable[[str], str]) -> None:
        self.name = name
        self.names: dict[str, Any] = {}
        self.outputs: list[str] = []
        self._shell = shell
        self._fill = fill

    def run(self, monkeypatch: Any) -> None:
        """Run all blocks in their order."""
        for block in blocks(self.name):
            if block.runs:
                self._run(block, monkeypatch)

    def _run(self, block: Block, monkeypatch: Any) -> None:
        text = self._fill(block.text)
        if block.file:
            Path(self._shell.folder(), block.file).write_text(text)
        elif block.language == "sh":
            self._script(block, text)
        elif block.language == "console":
            for command, shown in block.commands():
                self._command(block, self._fill(command), shown)
        elif block.language == "python":
            with monkeypatch.context() as patch:
                for key, value in self._shell.environment().items():
                    patch.setenv(key, value)
                patch.chdir(self._shell.folder())
                exec(compile(text, block.place, "exec"), self.names)

    def _script(self, block: Block, text: str) -> None:
        printed, code = self._shell.run(text)
        self.outputs.append(printed)
        assert code == 0, f"{block.place} ends with {code}:\n{printed}"

    def _command(self, block: Block, command: str, shown: str) -> None:
        wanted = 1 if re.search(r"(?m)^cachectl: ", shown) else 0
        deadline = time.monotonic() + SECONDS
        while True:
            printed, code = self._shell.run(command)
            said = block.marker == "not compared" or alike(self._fill(shown), printed)
            if code == wanted and said:
                self.outputs.append(printed)
                return
            if time.monotonic() > deadline or not _LOOKS.match(command):
                break
        raise AssertionError(
            f"{block.place} `{command.strip()}` ends with {code} and prints\n{printed}\n"
            f"where the page has {wanted} and\n{shown}"
        )
