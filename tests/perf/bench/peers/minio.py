"""MinIO, the S3 origin of the peers that read buckets."""

from __future__ import annotations

import contextlib
import secrets
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.perf.bench.peers import rclone
from tests.perf.bench.peers.install import go
from tests.perf.bench.peers.running import LOOPBACK, free_port, started

MODULE = "github.com/minio/minio"


@dataclass(frozen=True, slots=True)
class S3Origin:
    """A running S3 server.

    Attributes:
        url: its endpoint.
        secrets: the variables by which S3 clients are given the keys.
        pids: its process.
        version: of the server.
    """

    url: str
    secrets: Mapping[str, str]
    pids: tuple[int, ...]
    version: str

    def fill(self, bucket: str, source: Path) -> None:
        """Make a bucket and put the files below ``source`` into it."""
        rclone.copy_to_bucket(source, bucket, self.url, self.secrets)


@contextlib.contextmanager
def minio(folder: Path) -> Iterator[S3Origin]:
    """Serve buckets that are kept below ``folder``.

    Raises:
        Unavailable: it cannot be built or does not start.
    """
    installed = go(MODULE)
    port, console = free_port(), free_port()
    key, secret = secrets.token_hex(8), secrets.token_hex(16)
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    command = (
        *(installed.program("minio"), "server", str(data), "--quiet"),
        *("--address", f"{LOOPBACK}:{port}", "--console-address", f"{LOOPBACK}:{console}"),
    )
    environment = {
        "MINIO_ROOT_USER": key,
        "MINIO_ROOT_PASSWORD": secret,
        "MINIO_UPDATE": "off",
        "MINIO_BROWSER": "off",
        "HOME": str(folder),
    }
    url = f"http://{LOOPBACK}:{port}"

    def ready() -> bool:
        try:
            with urllib.request.urlopen(f"{url}/minio/health/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    with started(command, folder, ready, environment=environment) as pid:
        keys = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
        yield S3Origin(url, keys, (pid,), installed.versions["minio"])
