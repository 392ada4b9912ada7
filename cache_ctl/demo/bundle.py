"""The YAML that the demo applies, filled in for this machine and kept beside its state."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

import yaml

NAMES = ("nodes.yaml", "runtime.yaml", "dataset.yaml", "prewarm.yaml")


@dataclass(frozen=True, slots=True)
class DemoFiles:
    """The four files as written to ``folder``, with their texts by name."""

    folder: Path
    texts: dict[str, str]

    @property
    def nodes_summary(self) -> str:
        """Return what ``nodes.yaml`` holds, in words."""
        kinds = Counter(body["kind"] for body in yaml.safe_load_all(self.texts["nodes.yaml"]))
        return ", ".join(f"{kind} ({count})" for kind, count in sorted(kinds.items()))

    def short_forms(self) -> list[tuple[str, str]]:
        """Return name and text of the files that a user writes, without their comments."""
        return [
            (name, "\n".join(_without_comments(self.texts[name])))
            for name in NAMES
            if name != "nodes.yaml"
        ]


def _without_comments(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


def write_files(folder: Path, *, state: Path, origin_port: int, agent_port: int) -> DemoFiles:
    """Fill the bundled files in and write them to ``folder``.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = {"state": str(state), "originPort": str(origin_port), "agentPort": str(agent_port)}
    bundled = resources.files("cache_ctl.demo") / "files"
    texts = {}
    for name in NAMES:
        texts[name] = Template((bundled / name).read_text()).substitute(values)
        (folder / name).write_text(texts[name])
    return DemoFiles(folder, texts)
