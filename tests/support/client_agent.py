"""An agent of the client's protocol in one small process, for the client's tests.

It serves a folder as the Dataset ``ns/data``: real catalogs, blobs as files with real cell maps,
descriptors over a real socket. ``POST /test`` tells it what to do wrong; ``GET /test`` what it saw.
Run as ``python -m tests.support.client_agent ORIGIN STATE SOCKET``; it prints a line when it
listens. It keeps its files in STATE, so that a second run finds what a first one cached.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import socketserver
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from runtime.catalog.build import build
from runtime.catalog.read import Catalog, Entry
from runtime.contract import protocol
from runtime.contract.cellmap import CellMap
from runtime.contract.layout import Layout, PackLayout
from runtime.contract.units import SEGMENT, checksum

DATASET = "ns/data"
TOKEN = "cct1.reader.ns/data.secret"
CHUNK = 256 << 10
PACK_BELOW = 64 << 10
PUNCH = 0x03
"""FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE."""


class Blob:
    """One blob's two files and the cells that were filled in them."""

    def __init__(self, folder: Path, layout: Layout, contents) -> None:
        self.layout = layout
        self.contents = contents
        self.paths = folder / f"{layout.key}.data", folder / f"{layout.key}.map"
        self._open()

    def _open(self) -> None:
        data, cells = self.paths
        if not cells.exists():
            data.write_bytes(b"")
            os.truncate(data, self.layout.size)
            header = self.layout.header
            cells.write_bytes(header.encode())
            os.truncate(cells, header.file_size)
        self.data = os.open(data, os.O_RDWR)
        self.cells = os.open(cells, os.O_RDWR)
        self.map = CellMap(self.cells, writable=True)

    def fill(self, cell: int) -> None:
        if self.map.present(cell):
            return
        start, stop = self.layout.cell_range(cell)
        data = self.contents(start, stop)
        os.pwrite(self.data, data, start)
        self.map.sums[cell] = checksum(data)
        per_cell = self.map.header.segments_per_cell
        for index in range(-(-len(data) // SEGMENT) if per_cell else 0):
            segment = data[index * SEGMENT : (index + 1) * SEGMENT]
            self.map.segments[cell * per_cell + index] = checksum(segment)
        self.map.words[cell] = (self.map.words[cell] >> 1) + 1 << 1 | 1

    def take(self, cell: int) -> None:
        if not self.map.present(cell):
            return
        self.map.words[cell] = (self.map.words[cell] >> 1) + 1 << 1
        start, stop = self.layout.cell_range(cell)
        libc = ctypes.CDLL(None, use_errno=True)
        offset, length = ctypes.c_long(start), ctypes.c_long(stop - start)
        libc.fallocate(self.data, PUNCH, offset, length)

    def drop(self) -> None:
        for cell in range(self.layout.cells):
            self.take(cell)
        for path in self.paths:
            path.unlink()
        self._open()

    def flip(self, offset: int) -> None:
        byte = os.pread(self.data, 1, offset)[0]
        os.pwrite(self.data, bytes([byte ^ 0xFF]), offset)

    def verify(self, cell: int) -> bool:
        start, stop = self.layout.cell_range(cell)
        return checksum(os.pread(self.data, stop - start, start)) == self.map.sums[cell]


class World:
    """What the process serves: snapshots, blobs, counters, and orders from the test."""

    def __init__(self, origin: Path, state: Path) -> None:
        self.origin = origin
        self.state = state
        self.lock = threading.RLock()
        self.catalogs: dict[str, Catalog] = {}
        self.files: dict[str, bytes] = {}
        self.blobs: dict[str, Blob] = {}
        self.pins: list[str] = []
        self.counts: dict[str, int] = {}
        self.orders: dict[str, object] = {}
        self.asked: list[str] = []
        self.catalog: Catalog | None = None
        self.remade = False
        self.head = state / "head"
        if not self.head.exists():
            self.head.write_bytes(protocol.DATASET_HEAD.pack(0, 0))
        self.publish()

    def publish(self) -> None:
        entries = []
        for path in sorted(p for p in self.origin.rglob("*") if p.is_file()):
            data = path.read_bytes()
            version = f"{checksum(data):016x}"
            self.files[version] = data
            entries.append(Entry(str(path.relative_to(self.origin)), len(data), version))
        file = self.state / f"new-{time.monotonic_ns()}.sqlite"
        meta = build(
            file,
            dataset=DATASET,
            entries=entries,
            chunk_size=CHUNK,
            pack_below=PACK_BELOW,
            previous=self.catalog,
        )
        kept = self.state / f"{meta.snapshot}.sqlite"
        if not kept.exists():
            file.replace(kept)
        self.catalog = self.catalogs[meta.snapshot] = Catalog(kept)
        with self.head.open("r+b") as head:
            (sequence,) = struct.unpack("<Q", head.read(8))
            head.seek(0)
            head.write(struct.pack("<Q", sequence + 1))

    def remake(self) -> None:
        """Forget all snapshots and the head file that clients map, without a word to them."""
        self.catalogs.clear()
        self.catalog = None
        self.remade = True
        self.head.unlink()
        self.head.write_bytes(protocol.DATASET_HEAD.pack(0, 0))

    def sequence(self) -> int:
        return struct.unpack("<Q", self.head.read_bytes()[:8])[0]

    def blob(self, query: dict[str, str]) -> Blob:
        catalog = self.catalogs[query["snapshot"]]
        if "path" in query:
            record = catalog.find(query["path"])
            layout = catalog.layout(record)
            data = self.files[record.version]
        else:
            pack = catalog.pack_by_key(query["pack"])
            layout = catalog.pack_layout(pack)
            data = None if layout.key in self.blobs else self.pack_bytes(catalog, pack)
        if layout.key not in self.blobs:
            self.blobs[layout.key] = Blob(self.state, layout, lambda start, stop: data[start:stop])
        return self.blobs[layout.key]

    def pack_bytes(self, catalog: Catalog, pack: int) -> bytes:
        layout = catalog.pack_layout(pack)
        whole = bytearray(layout.size)
        for unit in range(layout.units):
            for record in catalog.members(pack, unit):
                if record is not None:
                    end = record.offset + record.size
                    whole[record.offset : end] = self.files[record.version]
        return bytes(whole)

    def count(self, what: str) -> None:
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    world: World

    def log_message(self, *_) -> None:
        pass

    def finish(self) -> None:
        with self.world.lock:
            for snapshot in getattr(self, "pinned", ()):
                self.world.pins.remove(snapshot)
        super().finish()

    def reply(self, status, body=b"", *, headers=(), fds=()) -> None:
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers, "", ""]
        data = "\r\n".join(lines).encode() + body
        if fds:
            sent = socket.send_fds(self.connection, [data], fds)
            data = data[sent:]
        self.connection.sendall(data)

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def answer(self) -> None:
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if url.path == "/test":
            self.obey(body)
            return
        self.world.count(url.path if url.path.startswith(("/v1", "/batch")) else "GET")
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.fail(403, "AccessDenied", "the token is not valid here")
            return
        if wrong := self.world.orders.get("fail", {}).get(url.path):
            self.fail(*wrong)
            return
        with self.world.lock:
            self.route(url.path, query, body)

    def fail(self, status, name, sentence) -> None:
        self.reply(status, sentence.encode(), headers=(f"{protocol.CODE_HEADER}: {name}",))

    def route(self, path, query, body) -> None:
        if path == protocol.BATCH:
            self.batch(json.loads(body))
        elif path.startswith(f"/{DATASET}/"):
            if query["snapshot"] not in self.world.catalogs:
                self.fail(503, "NotCached", "there is no such snapshot here")
                return
            self.read_through(unquote(path[len(DATASET) + 2 :]), query)
        elif query["dataset"] != DATASET:
            self.fail(404, "NoSuchPath", f"there is no Dataset {query['dataset']}")
        elif path == protocol.OPEN_CATALOG:
            self.open_catalog()
        elif query["snapshot"] not in self.world.catalogs:
            if self.world.remade:
                self.fail(503, "NotCached", "there is no such snapshot here")
            else:
                self.fail(409, "StaleVersion", "this snapshot is gone")
        else:
            self.ask_blob(path, query)

    def ask_blob(self, path, query) -> None:
        world = self.world
        blob = world.blob(query)
        cells = [int(cell) for cell in query.get("cells", "").split(",") if cell]
        if path == protocol.OPEN_BLOB:
            document = {"key": blob.layout.key, "tiers": [0]}
            self.reply(200, json.dumps(document).encode(), fds=(blob.data, blob.cells))
        elif path == protocol.WANT:
            self.want(blob, cells, int(query.get("ahead", 0)), query)
        elif path == "/v1/suspect":
            for cell in cells:
                if not blob.verify(cell):
                    blob.take(cell)
                    world.count("dropped")
            self.reply(200, b"{}")

    def open_catalog(self) -> None:
        world = self.world
        snapshot = world.catalog.meta.snapshot
        self.pinned = [*getattr(self, "pinned", ()), snapshot]
        world.pins.append(snapshot)
        document = {"dataset": DATASET, "snapshot": snapshot, "sequence": world.sequence()}
        head = os.open(world.head, os.O_RDONLY)
        self.reply(200, json.dumps(document).encode(), fds=(world.catalog.fileno(), head))
        os.close(head)

    def want(self, blob, cells, ahead, query) -> None:
        self.world.asked.append(f"{query.get('path', 'pack')} {query['cells']} {ahead}")
        if not self.world.orders.get("admit", True):
            self.reply(200, b'{"present": false}')
            return
        for cell in cells:
            blob.fill(cell)
        for cell in range(cells[-1] + 1, min(cells[-1] + 1 + ahead, blob.layout.cells)):
            blob.fill(cell)
        if self.world.orders.get("evict"):
            for cell in cells:
                blob.take(cell)
        self.reply(200, b'{"present": true, "tiers": [0]}')

    def read_through(self, path, query) -> None:
        record = self.world.catalogs[query["snapshot"]].find(path)
        if record is None:
            self.fail(404, "NoSuchPath", f"the snapshot has no {path}")
            return
        data = self.world.files[record.version]
        first, last = self.headers["Range"].removeprefix("bytes=").split("-")
        part = data[int(first) : int(last) + 1]
        lie = self.world.orders.get("lie")
        if lie == "short":
            part = part[:-1]
        etag = "other" if lie == "etag" else record.version
        status = 200 if lie == "status" else 206
        self.reply(status, part, headers=(f'ETag: "{etag}"',))

    def batch(self, document) -> None:
        catalog = self.world.catalogs[document["snapshot"]]
        parts = []
        for path in document["paths"]:
            data = self.world.files[catalog.find(path).version]
            if self.world.orders.get("lie") == "short":
                data = data[:-1]
            parts += [protocol.BATCH_ITEM.pack(200, len(data)), data]
        self.reply(200, b"".join(parts))

    def obey(self, body) -> None:
        world = self.world
        order = json.loads(body) if body else {}
        with world.lock:
            world.orders.update(order.get("set", {}))
            if order.get("remake"):
                world.remake()
            if order.get("publish"):
                world.publish()
            for version in order.get("forget", ()):
                world.catalogs.pop(version)
            for path, what, number in order.get("blob", ()):
                record = world.catalog.find(path)
                layout = world.catalog.layout(record)
                blob = world.blobs[layout.key]
                if what == "flip":
                    blob.flip(record.offset + number)
                elif what == "drop":
                    blob.drop()
                elif what == "take":
                    blob.take(record.ordinal if isinstance(layout, PackLayout) else number)
                else:
                    raise ValueError(what)
            seen = {
                "counts": world.counts,
                "pins": world.pins,
                "asked": world.asked,
                "snapshot": world.catalog.meta.snapshot,
            }
            self.reply(200, json.dumps(seen).encode())
            if order.get("reset"):
                world.counts.clear()
                world.asked.clear()


class Server(socketserver.ThreadingUnixStreamServer):
    """A thread a connection."""

    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*_)


def main() -> None:
    origin, state, path = map(Path, sys.argv[1:])
    Handler.world = World(origin, state)
    path.unlink(missing_ok=True)
    with Server(str(path), Handler) as server:
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main()
