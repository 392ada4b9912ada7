"""One real agent with the client's sample files, for tests that only read from it."""

from __future__ import annotations

from pathlib import Path

from runtime.contract.plan import DatasetPlan, MountPlan
from tests.support.client_agent import CHUNK, DATASET, PACK_BELOW
from tests.support.client_fixtures import write_samples
from tests.support.lab import MIB, Lab
from tests.support.lab_origin import LabOrigin

LONG = "val/long.bin"
"""Large enough that copying it shows progress."""


class RealAgent:
    """A LocalOnly agent that asks for tokens: its origin, its files by path, how to reach it."""

    def __init__(self, folder: Path) -> None:
        served = folder / "origin"
        served.mkdir()
        self.files = write_samples(served)
        self.files["val/readme.md"] = b"another"
        self.files[LONG] = bytes(range(256)) * (17 * MIB // 256)
        for path in ("val/readme.md", LONG):
            (served / path).write_bytes(self.files[path])
        self.origin = LabOrigin(served)
        self.lab = Lab(folder / "lab")
        self.node = self.lab.add("n0", domain=None)
        mount = MountPlan("", self.origin.source, options={"manifest": "manifest.jsonl"})
        namespace, name = DATASET.split("/")
        dataset = DatasetPlan(
            namespace, name, "ds-1", (mount,), chunk_size=CHUNK, pack_below=PACK_BELOW
        )
        self.lab.plan(None, datasets=(dataset,))
        self.token = self.lab.token(DATASET)
        self.socket = self.node.socket
        self.options: dict[str, object] = {"socket": self.socket, "token": self.token}

    def start(self) -> None:
        self.lab.start(trust=False)
        self.lab.until_ready()

    def stop(self) -> None:
        self.lab.stop()
        self.origin.stop()
