"""The origin of the local rows: nginx where it can be had, the tests' own server otherwise."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from tests.perf.bench.peers import nginx
from tests.perf.bench.peers.install import Unavailable
from tests.perf.bench.row import Context
from tests.support.origin import running_origin

MANIFEST = "manifest.jsonl"


def origin_folder(context: Context) -> Path:
    """Return the folder of a row whose files are its origin's."""
    folder = Path(context.folder) / "o"
    folder.mkdir(exist_ok=True)
    return folder


@contextlib.contextmanager
def running(context: Context) -> Iterator[str]:
    """Serve ``origin_folder`` with a manifest; gives the URL, which ends without a slash.

    The files must be there before; a manifest that is there already is served as it is.
    """
    root = origin_folder(context)
    try:
        with nginx.static(Path(context.folder) / "nginx", root) as server:
            write_manifest(root)
            context.versions["nginx"] = server.version
            yield server.url
    except Unavailable:
        listing = () if (root / MANIFEST).exists() else ("--manifest",)
        with running_origin(root, *listing) as origin:
            yield origin.url


def write_manifest(root: Path) -> None:
    """List the files of a folder for agents, with the etags that nginx gives them."""
    path = root / MANIFEST
    if path.exists():
        return
    lines = []
    for place in sorted(root.rglob("*")):
        if place.is_file():
            status = place.stat()
            lines.append(
                manifest_line(str(place.relative_to(root)), status.st_size, int(status.st_mtime))
            )
    path.write_text("".join(lines))


def manifest_line(path: str, size: int, modified: int) -> str:
    """Return a file's line of a manifest; ``modified`` in whole seconds."""
    return json.dumps({"path": path, "size": size, "etag": f'"{modified:x}-{size:x}"'}) + "\n"
