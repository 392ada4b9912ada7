"""Places where the pages of the documentation run: folders and addresses of a test's own."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from tests.support.client_fixtures import write_samples
from tests.support.command import cachectl
from tests.support.pages import Page, Shell, blocks, shell
from tests.support.reading_files import write_reading_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FACES = """
apiVersion: cachectl.dev/v1alpha1
kind: Dataset
metadata: {{name: faces, namespace: vision}}
spec:
  runtimeRef: {{name: edge-cache, namespace: cache-system}}
  mounts:
  - {{name: faces, path: /, source: "{}"}}
"""
STATE = ".local/state/cachectl/local"
UP = "cachectl up -f nodes.yaml -f runtime.yaml -f dataset.yaml"


class Place:
    """A home of its own below ``folder``, and a port of its own for the origin."""

    def __init__(self, folder: Path, shell: Shell) -> None:
        self.folder = folder
        self.shell = shell
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.port = taken.getsockname()[1]

    def fill(self, text: str) -> str:
        """Put this place's addresses and folders where the pages have theirs."""
        text = re.sub(r"/tmp/|/home/me/", f"{self.folder}/", text)
        text = re.sub(r"(127\.0\.0\.1:|--port )8000\b", rf"\g<1>{self.port}", text)
        text = text.replace("/run/cachectl/agent.sock", str(self.socket("cloud-1")))
        return text.replace("/run/secrets/faces", str(self.token("vision/faces")))

    def socket(self, node: str) -> Path:
        return self.folder / STATE / f"nodes/{node}/agent.sock"

    def token(self, dataset: str) -> Path:
        return self.folder / STATE / "tokens" / dataset.replace("/", "_")

    def page(self, name: str, others: Mapping[str, str] = MappingProxyType({})) -> Page:
        """Return a page to run here; ``others`` are more words of it and what stands for them."""

        def fill(text: str) -> str:
            for word, instead in others.items():
                text = text.replace(word, instead)
            return self.fill(text)

        return Page(name, self.shell, fill)

    def run(self, command: str) -> str:
        """Run a command that must succeed."""
        printed, code = self.shell.run(command)
        assert code == 0, printed
        return printed


@contextlib.contextmanager
def place(folder: Path) -> Iterator[Place]:
    """Open a place for the time of the block; whatever cluster runs there then ends with it."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not on this machine")
    with shell(folder, HOME=str(folder)) as opened:
        try:
            yield Place(folder, opened)
        finally:
            cachectl("down", "--state-dir", folder / STATE)


@contextlib.contextmanager
def tutorial_cluster(folder: Path) -> Iterator[Place]:
    """Run the tutorial's cluster, warm, with ``vision/faces`` beside its own Dataset."""
    with place(folder) as opened:
        faces = folder / "faces"
        (faces / "train").mkdir(parents=True)
        write_samples(faces)
        write_reading_files(faces / "train")
        write_tutorial(opened)
        dataset = FACES.format(faces.as_uri())
        (folder / "tutorial/faces.yaml").write_text(dataset)
        opened.run(f"{UP} -f faces.yaml -f prewarm.yaml --detach")
        yield opened


def write_tutorial(opened: Place) -> None:
    """Write the tutorial's files, start its origin, and go to its folder."""
    [files, serve] = [block for block in blocks("tutorial.md") if block.runs][:2]
    opened.run(opened.fill(files.text))
    for block in blocks("tutorial.md"):
        if block.file:
            (opened.folder / "tutorial" / block.file).write_text(opened.fill(block.text))
    opened.run(opened.fill(serve.text))
