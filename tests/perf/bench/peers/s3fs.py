"""s3fs-fuse: a bucket as a mount, with whole files kept on disk."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.perf.bench.peers.install import debian
from tests.perf.bench.peers.minio import S3Origin
from tests.perf.bench.peers.running import MountPeer, mounted


@contextlib.contextmanager
def mount(folder: Path, origin: S3Origin, bucket: str) -> Iterator[MountPeer]:
    """Mount a bucket, with whole files kept below ``folder``.

    Raises:
        Unavailable: it cannot be installed or does not start.
    """
    installed = debian("s3fs")
    cache = folder / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    options = (
        f"url={origin.url}",
        "use_path_request_style",
        f"use_cache={cache}",
        # Its manual's knobs for throughput.
        "parallel_count=16",
        "multipart_size=16",
        "max_stat_cache_size=1000000",
        "stat_cache_expire=3600",
        "enable_noobj_cache",
        "kernel_cache",
        "umask=022",
    )
    words = [word for option in options for word in ("-o", option)]
    command = (installed.program("s3fs"), bucket, "{mount}", "-f", *words)
    environment = {**installed.environment, **origin.secrets}
    with mounted(command, folder, environment=environment) as (point, pid):
        yield MountPeer("s3fs", point, (pid,), installed.versions["s3fs"])
