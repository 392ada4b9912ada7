"""A lab: real agents as processes on loopback addresses, following plans that a test writes."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runtime.contract import codec
from runtime.contract.plan import DatasetPlan, Member, MountPlan, Plan, PrewarmPlan, TierPlan
from runtime.contract.protocol import BATCH_ITEM
from runtime.contract.report import NodeReport
from runtime.contract.token import Keys, reader_token
from runtime.contract.units import Unit, object_key
from tests.support.sockets import of_network

MIB = 1 << 20
RUNTIME = "cache-system/edge-cache"
_networks = itertools.count(random.randrange(1000))


def free_network() -> tuple[int, socket.socket]:
    """Return N of a network 127.N.0.0/16 of one's own, and what keeps others out while open.

    Other test processes run beside this one, and closed connections stay listed for a minute, so
    one is taken in which the kernel lists nothing.
    """
    for turn in itertools.islice(_networks, 230):
        number = 16 + turn % 230
        claim = socket.socket()
        try:
            claim.bind((f"127.{number}.255.1", 19599))
            claim.listen()
        except OSError:
            claim.close()
            continue
        if len(of_network(number)) == 1:
            return number, claim
        claim.close()
    raise AssertionError("every network 127.N is in use; wait a minute and try again")


@dataclass
class Node:
    """One agent process and where it lives."""

    name: str
    uid: str
    address: str
    port: int
    folder: Path
    domain: str | None = None
    process: subprocess.Popen[bytes] | None = None
    prefix: tuple[str, ...] = ()  # before the agent's command, such as: ip netns exec NAME
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def socket(self) -> str:
        return str(self.folder / "a.sock")

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    def log(self) -> str:
        return (self.folder / "agent.log").read_text()


class UnixConnection(http.client.HTTPConnection):
    """http.client over a Unix socket."""

    def __init__(self, path: str, timeout: float = 30) -> None:
        super().__init__("agent", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Lab:
    """Nodes, the plans they follow, and questions to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.network, self._claim = free_network()
        self.master = secrets.token_bytes(32)
        self.nodes: dict[str, Node] = {}
        self.generation = 0
        self._threads = ThreadPoolExecutor(16)

    # -- making ---------------------------------------------------------------------------

    def add(self, name: str, *, domain: str | None = "cloud", address: str = "") -> Node:
        number = len(self.nodes) + 1
        folder = self.folder / name
        folder.mkdir(parents=True)
        address = address or f"127.{self.network}.0.{number}"
        node = Node(name, f"uid-{name}", address, 19600, folder, domain=domain)
        self.nodes[name] = node
        return node

    def tier(self, quota: int = 256 * MIB) -> TierPlan:
        return TierPlan("SSD", str(self.folder / "tiers"), quota)

    def dataset(self, source: str, **changes: Any) -> DatasetPlan:
        mount = MountPlan("train", source, options={"manifest": "manifest.jsonl"})
        return replace(DatasetPlan("team", "images", "ds-1", (mount,)), **changes)

    def plan(self, domain: str | None, *, keys: bool = True, **changes: Any) -> Plan:
        """Write the next plan for the nodes of a domain (None: the LocalOnly ones)."""
        self.generation += 1
        nodes = [node for node in self.nodes.values() if node.domain == domain]
        members = self.members(domain) if domain else ()
        plan = Plan(
            generation=self.generation,
            runtime=RUNTIME,
            network_class="Cloud" if domain else "Basic",
            mode="Distributed" if domain else "LocalOnly",
            domain=domain,
            members=members,
            tiers=(self.tier(),),
        )
        plan = replace(plan, **changes)
        for node in nodes:
            self.give(node, plan, keys=keys)
        return plan

    def members(self, domain: str) -> tuple[Member, ...]:
        """Return the nodes of a domain as the members of its plan."""
        return tuple(
            Member(node.uid, node.name, node.address, node.port)
            for node in self.nodes.values()
            if node.domain == domain
        )

    def give_keys(self, node: Node, domain: str | None) -> None:
        """Put the keys of a domain before one node."""
        (node.folder / "keys.json").write_text(Keys.derive(self.master, domain).encode())

    def give(self, node: Node, plan: Plan, *, keys: bool = True) -> None:
        """Put a plan before one node, with the keys that go with it."""
        if keys:
            self.give_keys(node, plan.domain)
        scratch = node.folder / "plan.new"
        scratch.write_text(codec.dumps(plan))
        scratch.replace(node.folder / "plan.json")

    def start(self, *nodes: Node, trust: bool = True) -> None:
        for node in nodes or self.nodes.values():
            settings = {
                "node": node.name,
                "uid": node.uid,
                "address": node.address,
                "port": node.port,
                "socket": node.socket,
                "stateDir": str(node.folder / "state"),
                "planFile": str(node.folder / "plan.json"),
                "keysFile": str(node.folder / "keys.json"),
                "secretsDir": str(node.folder / "secrets"),
                "tierSubfolder": node.name,
                "trustSameUid": trust,
                "logLevel": "INFO",
            }
            path = node.folder / "settings.json"
            path.write_text(json.dumps(settings))
            with (node.folder / "agent.log").open("ab") as log:
                command = [sys.executable, "-W", "default", "-m", "runtime", "--settings", path]
                node.process = subprocess.Popen(
                    [*node.prefix, *command],
                    stderr=log,
                    env=os.environ | node.environment,
                )

    def stop(self) -> None:
        self._claim.close()
        running = [n.process for n in self.nodes.values() if n.process is not None]
        for process in running:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    # -- asking ---------------------------------------------------------------------------

    def ask(
        self,
        node: Node,
        method: str,
        target: str,
        *,
        body: bytes = b"",
        timeout: float = 30,
        **headers: str,
    ) -> tuple[int, dict[str, str], bytes]:
        """Ask over the node's Unix socket."""
        connection = UnixConnection(node.socket, timeout)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, target, body=body or None, headers=named)
            answer = connection.getresponse()
            lowered = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, lowered, answer.read()
        finally:
            connection.close()

    def read(self, node: Node, path: str, **headers: str) -> bytes:
        """Read an object of the Dataset and insist on success."""
        status, _, body = self.ask(node, "GET", f"/team/images/{path}", **headers)
        assert status in (200, 206), (status, body)
        return body

    def attempt(self, node: Node, path: str, timeout: float) -> bytes | None:
        """Read an object; None when that ends in an error or a short body, as it may."""
        try:
            status, headers, body = self.ask(node, "GET", f"/team/images/{path}", timeout=timeout)
        except (http.client.IncompleteRead, ConnectionError):
            return None
        assert status != 200 or len(body) == int(headers["content-length"])
        return body if status == 200 else None

    def start_read(self, node: Node, path: str) -> Callable[[], tuple[int, bytes]]:
        """Begin to read in a thread; the result waits for the end."""
        future = self._threads.submit(self.ask, node, "GET", f"/team/images/{path}", timeout=60)

        def result() -> tuple[int, bytes]:
            status, _, body = future.result(60)
            return status, body

        return result

    def batch(self, node: Node, paths: list[str]) -> list[tuple[int, bytes]]:
        """Ask for a batch and take its answer apart."""
        body = json.dumps({"dataset": "team/images", "paths": paths}).encode()
        status, _, answer = self.ask(node, "POST", "/batch", body=body)
        assert status == 200, answer
        items, at = [], 0
        while at < len(answer):
            code, length = BATCH_ITEM.unpack_from(answer, at)
            at += BATCH_ITEM.size
            items.append((code, answer[at : at + length]))
            at += length
        return items

    def unit(self, node: Node, path: str, size: int, index: int = 0) -> str:
        """Return the name of a large object's unit; its version is asked from a node."""
        _, headers, _ = self.ask(node, "HEAD", f"/team/images/{path}")
        version = headers["etag"].strip('"')
        return str(Unit(object_key("team/images", path, size, version, 4 * MIB), index))

    def settled(self, node: Node) -> bool:
        """Tell whether nothing was fetched or written for a moment."""
        first = self._progress(node)
        time.sleep(0.3)
        return first == self._progress(node)

    def _progress(self, node: Node) -> tuple[Any, ...]:
        """Return what moves while units do: not what asking and listening count by themselves."""
        report = self.report(node)
        moving = {
            name: count
            for name, count in report.counters.items()
            if not name.startswith(("server_", "summaries_"))
        }
        return report.tiers, moving

    def answers(self, node: Node, target: str) -> int:
        """Return the status of a GET, 0 while nothing answers."""
        try:
            return self.ask(node, "GET", target)[0]
        except (OSError, http.client.HTTPException):
            return 0

    def report(self, node: Node) -> NodeReport:
        status, _, body = self.ask(node, "GET", "/report")
        assert status == 200, body
        return codec.loads(NodeReport, body)

    def token(self, dataset: str = "team/images") -> str:
        return reader_token(Keys.derive(self.master, None), dataset)

    def count(self, name: str, *nodes: Node) -> int:
        """Sum a counter over nodes."""
        return sum(self.report(node).counters[name] for node in nodes or self.nodes.values())

    def until_ready(self, *nodes: Node, timeout: float = 30) -> None:
        """Wait until nodes have their snapshot."""
        for node in nodes or tuple(self.nodes.values()):
            self.until(lambda node=node: self._has_snapshot(node), timeout, f"{node.name} ready")

    def _has_snapshot(self, node: Node) -> bool:
        assert node.process is not None
        assert node.process.poll() is None, node.log()
        try:
            report = self.report(node)
        except (OSError, http.client.HTTPException, AssertionError):
            return False
        running = {n.uid for n in self.nodes.values() if n.process and n.process.poll() is None}
        alone = report.members_down and len(running) == len(self.nodes)
        return (
            not alone
            and bool(report.datasets)
            and all(dataset.snapshot for dataset in report.datasets)
        )

    def is_warm(self, node: Node) -> bool:
        """Tell whether a node follows a plan with prewarms, and has ended its share of each."""
        shares = self.report(node).prewarms
        return bool(shares) and all(share.state == "Complete" for share in shares)

    def until(self, condition: Any, timeout: float = 20, what: str = "a condition") -> None:
        """Wait until ``condition()`` is true; polls, as a person would."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                logs = "\n".join(f"--- {n.name}\n{n.log()[-2000:]}" for n in self.nodes.values())
                raise AssertionError(f"{what} did not come true in {timeout} s\n{logs}")
            time.sleep(0.05)

    async def read_async(self, node: Node, path: str, **headers: str) -> bytes:
        return await asyncio.to_thread(self.read, node, path, **headers)


def prewarm(dataset: str = "team/images", **changes: Any) -> PrewarmPlan:
    return replace(PrewarmPlan("team", "warm", "pw-1", dataset), **changes)


def make_files(folder: Path, *, large: int = 4, small: int = 40, seed: int = 1) -> dict[str, bytes]:
    """Make files of mixed sizes below ``folder``; return their contents by path."""
    source = random.Random(seed)
    made: dict[str, bytes] = {}
    for number in range(large):
        made[f"shards/{number:03}.tar"] = source.randbytes(source.randrange(5 * MIB, 13 * MIB))
    for number in range(small):
        made[f"images/{number % 4}/{number:04}.jpg"] = source.randbytes(
            source.randrange(1, 120_000)
        )
    made["empty.txt"] = b""
    for path, data in made.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return made
