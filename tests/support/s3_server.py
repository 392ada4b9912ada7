"""Moto's S3 as a process of its own, which checks who asks, at two addresses.

::

    with running_s3("bucket") as s3:
        s3.put("train/a.bin", b"...")
        s3.url, s3.other_url, s3.key, s3.secret
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

REPOSITORY = Path(__file__).parents[2]
COUNTS = "/_counts"
PUT = "/_put/"
LISTINGS = "listings"
PAGE = 20
CHECKS_AFTER = "INITIAL_NO_AUTH_ACTION_COUNT"
ACL = "public-read" if os.environ.get(CHECKS_AFTER) == "inf" else "private"
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
REGION = "us-east-1"
MAY_ALL = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}],
}


class S3Process:
    """A running server with one bucket, and the keys that may read it."""

    def __init__(self, url: str, other_url: str, key: str, secret: str) -> None:
        self.url = url
        self.other_url = other_url
        self.key = key
        self.secret = secret

    def put(self, path: str, data: bytes) -> None:
        request = urllib.request.Request(f"{self.url}{PUT}{quote(path)}", data=data, method="PUT")
        urllib.request.urlopen(request).close()

    def put_tree(self, root: Path) -> None:
        """Put every file below a folder."""
        for path in root.rglob("*"):
            if path.is_file():
                self.put(path.relative_to(root).as_posix(), path.read_bytes())

    def counts(self) -> dict[str, int]:
        """Return how many objects each address was asked for since the last call, and listings."""
        with urllib.request.urlopen(self.url + COUNTS) as answer:
            counts: dict[str, int] = json.load(answer)
        return counts

    def reads(self) -> dict[str, int]:
        """Return the same without listings."""
        return {url: count for url, count in self.counts().items() if url != LISTINGS}


@contextlib.contextmanager
def running_s3(bucket: str, *, anyone: bool = False) -> Iterator[S3Process]:
    """Run a server with a bucket for the time of the block; ``anyone`` may ask if that is said."""
    reader, writer = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.support.s3_server", bucket, str(writer)],
        pass_fds=[writer],
        cwd=REPOSITORY,
        # The three that make the user; whoever asks later must be allowed to.
        env={
            **os.environ,
            CHECKS_AFTER: "inf" if anyone else "3",
            "MOTO_S3_DEFAULT_MAX_KEYS": str(PAGE),
        },
    )
    os.close(writer)
    try:
        with os.fdopen(reader) as ready:
            told = ready.readline().split()
        assert told, f"the server ended with {child.wait()}"
        yield S3Process(*told)
    finally:
        child.terminate()
        child.wait(10)


class _Served:
    """Moto's application, with counts and with objects put by whoever runs it."""

    def __init__(self, moto: Any, bucket: str) -> None:
        self._moto = moto
        self._bucket = bucket
        self._counts: Counter[str] = Counter()
        self.client: Any = None

    def __call__(self, environ: dict[str, Any], start: Any) -> Any:
        path = environ["PATH_INFO"].encode("latin-1").decode()
        if path == COUNTS:
            counts, self._counts = self._counts, Counter()
            start("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(counts).encode()]
        if path.startswith(PUT):
            data = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            self.client.put_object(
                Bucket=self._bucket, Key=path.removeprefix(PUT), Body=data, ACL=ACL
            )
            start("204 No Content", [])
            return []
        if ACL == "private" and "HTTP_AUTHORIZATION" not in environ:
            start("403 Forbidden", [("Content-Type", "application/xml")])  # moto itself fails here
            return [DENIED]
        if environ["REQUEST_METHOD"] == "GET":
            url = f"http://{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
            self._counts[url if path.count("/") > 1 else LISTINGS] += 1
        return self._moto(environ, start)


def _main(bucket: str, ready_fd: int) -> None:
    import boto3  # noqa: PLC0415 - in the child only
    from moto.server import DomainDispatcherApplication, create_backend_app  # noqa: PLC0415
    from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: PLC0415

    class Quiet(WSGIRequestHandler):
        def log(self, *_: object) -> None:
            """Say nothing."""

    app = _Served(DomainDispatcherApplication(create_backend_app), bucket)
    urls = []
    for _ in range(2):
        server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        urls.append(f"http://127.0.0.1:{server.server_port}")

    def client(kind: str, key: str, secret: str) -> Any:
        return boto3.client(
            kind,
            endpoint_url=urls[0],
            region_name=REGION,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )

    iam = client("iam", "any", "any")
    iam.create_user(UserName="reader")
    made = iam.create_access_key(UserName="reader")["AccessKey"]
    iam.put_user_policy(UserName="reader", PolicyName="all", PolicyDocument=json.dumps(MAY_ALL))
    login = made["AccessKeyId"], made["SecretAccessKey"]
    app.client = client("s3", *login)
    app.client.create_bucket(Bucket=bucket, ACL=ACL)
    with os.fdopen(ready_fd, "w") as ready:
        print(*urls, *login, file=ready)
    threading.Event().wait()


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
