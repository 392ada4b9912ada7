"""A reader in another process: it has descriptors and a map, and neither leases nor checksums.

Run as ``python -m tests.support.store_reader SOCKET_FD SEED``. It asks for descriptors over the
socket, and reads cells by nothing but their words until it is told to stop; then it prints what it
counted as JSON.
"""

from __future__ import annotations

import json
import os
import random
import socket
import sys

from runtime.contract.cellmap import PRESENT, CellMap
from runtime.contract.layout import Layout
from tests.support.store import KIB, a_pack, an_object, content

LAYOUTS: list[Layout] = [
    an_object(1, cells=6, chunk=256 * KIB),
    an_object(2, cells=4, chunk=64 * KIB, short=11),
    a_pack(3, [9_000, 100, 30_000, 4_096, 12_345, 7_777, 20_000, 50_000], per_group=4),
]
FILES = 2
"""Descriptors of one pair."""


class View:
    """One blob's files in one tier, as they were passed."""

    def __init__(self, layout: Layout, data: int, cells: int) -> None:
        self.layout = layout
        self.data = data
        self.map = CellMap(cells)
        os.close(cells)
        self.content = [content(layout, cell) for cell in range(layout.cells)]

    def read(self, cell: int) -> bytes | None:
        """Return the cell's bytes, None to ask again."""
        word = self.map.words[cell]
        if not word & PRESENT:
            return None
        start, stop = self.layout.cell_range(cell)
        data = os.pread(self.data, stop - start, start)
        return data if self.map.words[cell] == word else None

    def close(self) -> None:
        self.map.close()
        os.close(self.data)


def ask(server: socket.socket, index: int) -> View | None:
    """Ask for a blob's files; None if it has none, EOFError when it is time to stop."""
    server.sendall(bytes([index]))
    answer, descriptors, _, _ = socket.recv_fds(server, 1, FILES)
    if not answer:
        raise EOFError
    return View(LAYOUTS[index], *descriptors) if descriptors else None


def main(fd: int, seed: int) -> dict[str, int]:
    server = socket.socket(fileno=fd)
    choice = random.Random(seed)
    views: list[View | None] = [None] * len(LAYOUTS)
    counts = {"right": 0, "again": 0, "changed": 0, "wrong": 0, "opened": 0}
    try:
        while True:
            index = choice.randrange(len(LAYOUTS))
            view = views[index]
            if view is None or choice.random() < 0.002:
                if view is not None:
                    view.close()
                views[index] = view = ask(server, index)
                counts["opened"] += view is not None
            if view is None:
                continue
            cell = choice.randrange(view.layout.cells)
            was_there = view.map.present(cell)
            data = view.read(cell)
            if data is None:
                counts["changed" if was_there else "again"] += 1
                if choice.random() < 0.05:
                    view.close()
                    views[index] = None
            else:
                counts["right" if data == view.content[cell] else "wrong"] += 1
    except (EOFError, ConnectionError):
        return counts


if __name__ == "__main__":
    json.dump(main(int(sys.argv[1]), int(sys.argv[2])), sys.stdout)
