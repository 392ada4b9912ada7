"""Warm reads of a large object on the node, beside caches that are mounted as file systems."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator
from contextlib import ExitStack

from tests.perf.bench.local import MIB, Local, warm_agent, write_random
from tests.perf.bench.mounts import cases
from tests.perf.bench.origins import origin_folder
from tests.perf.bench.peers import juicefs, minio, nginx, present, rclone, s3fs
from tests.perf.bench.peers.install import Unavailable
from tests.perf.bench.peers.running import MountPeer
from tests.perf.bench.row import Case, Context, Gap

NAME = "local-mounts"
WORK = "warm, same node: a large object, ours through fsspec beside caches that are mounted"
OBJECT = "large.bin"
BUCKET = "files"


def run(context: Context) -> Generator[Case, None, None]:
    write_random(origin_folder(context) / OBJECT, context.sized(256 * MIB, 64 * MIB))
    with warm_agent(context) as local:
        system = local.system()
        for peer in _mounts(context, local):
            if isinstance(peer, Gap):
                yield peer
            else:
                yield from cases(local, system, peer, OBJECT, quick=context.quick)


def _mounts(context: Context, local: Local) -> Iterator[MountPeer | Gap]:
    """Start the mounts one after the other; each ends when the next is asked for."""
    with ExitStack() as stack:
        yield _rclone(context, stack, local)
    if context.quick:
        yield Gap("every case", "s3fs, JuiceFS", "left out of a quick run")
        return
    with ExitStack() as stack:
        try:
            bucket = stack.enter_context(minio.minio(local.scratch / "minio"))
            bucket.fill(BUCKET, local.files)
        except Unavailable as why:
            yield Gap("every case", "s3fs, JuiceFS", f"MinIO: {why}")
            return
        context.versions["MinIO"] = bucket.version
        with ExitStack() as one:
            mount = s3fs.mount(local.scratch / "s3fs", bucket, BUCKET)
            yield present.start(one, context, "s3fs", mount)
        with ExitStack() as one:
            yield _juicefs(context, one, local, bucket)


def _rclone(context: Context, stack: ExitStack, local: Local) -> MountPeer | Gap:
    served = nginx.static(local.scratch / "listing", local.files)
    origin = present.start(stack, context, "rclone mount", served)
    if isinstance(origin, Gap):
        return origin
    mount = rclone.mount(local.scratch / "rclone", origin.url)
    return present.start(stack, context, "rclone mount", mount)


def _juicefs(
    context: Context, stack: ExitStack, local: Local, bucket: minio.S3Origin
) -> MountPeer | Gap:
    try:
        volume = stack.enter_context(juicefs.volume(local.scratch / "juicefs", bucket))
    except Unavailable as why:
        return Gap("every case", "JuiceFS", str(why))
    mount = volume.mount(local.scratch / "jfs")
    peer = present.start(stack, context, "JuiceFS", mount)
    if not isinstance(peer, Gap):
        shutil.copyfile(local.files / OBJECT, peer.folder / OBJECT)
    return peer
