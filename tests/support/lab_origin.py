"""The origin of a lab: files to serve, what was asked of them, faults on request."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path
from typing import Any

from tests.support.origin import OriginProcess, running_origin


class LabOrigin:
    """A running origin over ``folder``, with counts since the last ``reset``."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self._stack = contextlib.ExitStack()
        self._process: OriginProcess = self._stack.enter_context(
            running_origin(folder, "--manifest", *options)
        )
        self.source = f"{self._process.url}/"
        self._asked: Counter[str] = Counter()
        self._bytes = 0

    def stop(self) -> None:
        self._stack.close()

    def fault(self, kind: str, **more: Any) -> None:
        self._process.fault(kind, **more)

    def heal(self) -> None:
        self._process.fault()

    def requests(self, path: str) -> int:
        """Return how often the bytes of a file were asked for."""
        for head in self._process.heads():
            if head["method"] == "GET":
                self._asked[head["path"].lstrip("/")] += 1
        return self._asked[path]

    def body_bytes(self) -> int:
        """Return how many bytes of files were sent."""
        return sum(client["bytes"] for client in self._process.sent().values()) - self._bytes

    def reset(self) -> None:
        """Count anew."""
        self._process.heads()
        self._asked.clear()
        self._bytes += self.body_bytes()

    def replace(self, path: str, data: bytes) -> None:
        """Put another version in place, at once."""
        target = self.folder / path
        scratch = self.folder.parent / "scratch"
        scratch.write_bytes(data)
        scratch.replace(target)
