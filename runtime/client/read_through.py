"""Bytes that are not in the store's files: asked from the agent, which verifies them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from runtime.client.agent_socket import Answer, Question
from runtime.client.failures import AgentMisspoke, Failure, from_answer
from runtime.contract import protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.catalog.read import FileRecord
    from runtime.client.snapshots import DatasetView, Snapshot

_BATCH_BYTES: Final = 32 << 20
_OK: Final = 200


def read_range(
    view: DatasetView, snapshot: Snapshot, record: FileRecord, into: memoryview, start: int
) -> None:
    """Fill ``into`` with the file's bytes from ``start`` on, of the version in the record.

    Raises:
        Failure: see ``AgentSocket.ask``; ``AgentMisspoke`` when the answer is of another version
            or length. ``into`` then holds nothing to rely on.
    """
    path = quote(record.path, safe="/")
    answer = view.agent.ask(
        Question(
            "GET",
            f"/{view.quoted}/{path}?snapshot={snapshot.name}",
            headers=f"Range: bytes={start}-{start + len(into) - 1}\r\n",
            into=into,
            path=record.path,
        )
    )
    _check(answer, record)


def _check(answer: Answer, record: FileRecord) -> None:
    etag = answer.headers.get("etag", "")
    if answer.status != 206 or etag != f'"{record.version}"':
        raise AgentMisspoke(
            f"the agent answered a range of {record.path} with status {answer.status} and ETag "
            f"{etag or 'none'}; the snapshot has version {record.version!r}",
            record.path,
        )


def read_batch(
    view: DatasetView, snapshot: Snapshot, records: Sequence[FileRecord]
) -> list[bytes | Failure]:
    """Return the bytes of many small files in the order asked, or why one has none.

    Raises:
        Failure: a whole question failed.
    """
    results: list[bytes | Failure] = []
    batch: list[FileRecord] = []
    size = 0
    for record in records:
        if batch and (len(batch) == protocol.BATCH_PATHS or size + record.size > _BATCH_BYTES):
            results += _ask_batch(view, snapshot, batch)
            batch, size = [], 0
        batch.append(record)
        size += record.size
    return results + _ask_batch(view, snapshot, batch)


def _ask_batch(
    view: DatasetView, snapshot: Snapshot, records: Sequence[FileRecord]
) -> list[bytes | Failure]:
    document = {
        "dataset": view.dataset,
        "snapshot": snapshot.name,
        "paths": [record.path for record in records],
    }
    body = view.agent.ask(Question("POST", protocol.BATCH, json.dumps(document).encode())).body
    results: list[bytes | Failure] = []
    at = 0
    for record in records:
        if at + protocol.BATCH_ITEM.size > len(body):
            raise AgentMisspoke("the agent's answer to a batch is cut off", record.path)
        status, length = protocol.BATCH_ITEM.unpack_from(body, at)
        at += protocol.BATCH_ITEM.size
        data = body[at : at + length]
        at += length
        if status != _OK:
            results.append(from_answer(status, "", data.decode("utf-8", "replace"), record.path))
        elif len(data) != record.size:
            raise AgentMisspoke(
                f"the agent sent {len(data)} bytes of {record.path}, which has {record.size}",
                record.path,
            )
        else:
            results.append(data)
    return results
