"""Two agents of one domain that ask for tokens, over a folder of files, and how to read there."""

from __future__ import annotations

from pathlib import Path

from tests.support.lab import Lab, Node
from tests.support.lab_origin import LabOrigin

ROOT = "team/images/train"
"""The mount that has the folder's files."""


class ReadingWorld:
    """The cloud nodes ``n0`` and ``n1``; ``files`` are the origin's, which must be made before."""

    def __init__(self, folder: Path, files: Path) -> None:
        self.files = files
        self.origin = LabOrigin(files)
        self.lab = Lab(folder / "lab")
        self.nodes = [self.lab.add(f"n{number}") for number in range(2)]
        self.lab.plan("cloud", datasets=(self.lab.dataset(self.origin.source),))
        self.token = self.lab.token()

    def start(self) -> None:
        self.lab.start(trust=False)
        self.lab.until_ready()

    def stop(self) -> None:
        self.lab.stop()
        self.origin.stop()

    @property
    def node(self) -> Node:
        return self.nodes[0]

    @property
    def options(self) -> dict[str, object]:
        """What a reader on the first node sets."""
        return {"socket": self.node.socket, "token": self.token}

    def data(self, path: str) -> bytes:
        """Return the origin's bytes of a file."""
        return (self.files / path).read_bytes()

    def paths(self) -> list[str]:
        """Return every file of the origin, below the mount."""
        return sorted(
            file.relative_to(self.files).as_posix()
            for file in self.files.rglob("*")
            if file.is_file()
        )


def url(path: str) -> str:
    """Return the URL of a file of the mount."""
    return f"cachectl://{ROOT}/{path}"
