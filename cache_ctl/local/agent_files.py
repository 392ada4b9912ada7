"""The files that an agent is started with. Keys and secrets are for its own user alone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from cache_ctl.local.files import PRIVATE_MODE, link, replace
from runtime.contract import codec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cache_ctl.local.assignments import AgentSpec


def settings_file(spec: AgentSpec) -> Path:
    """Return where an agent's settings lie."""
    return Path(spec.settings.state_dir) / "settings.json"


def log_file(spec: AgentSpec) -> Path:
    """Return where an agent's output goes."""
    return Path(spec.settings.state_dir) / "agent.log"


def write_agent_files(spec: AgentSpec) -> None:
    """Write what an agent reads, the link to its plan last: by that it notices the others."""
    folder = Path(spec.settings.state_dir)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    _write_secrets(Path(spec.settings.secrets_dir), spec.secrets)
    replace(settings_file(spec), codec.dumps(spec.settings).encode())
    replace(Path(spec.settings.keys_file), spec.keys.encode().encode(), mode=PRIVATE_MODE)
    link(Path(spec.settings.plan_file), spec.plan)


def _write_secrets(folder: Path, secrets: Mapping[str, Mapping[str, bytes]]) -> None:
    """Bring a folder to one sub-folder a secret, with a file per key, and nothing else."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o700)
    for old in folder.iterdir():
        if old.name not in secrets:
            shutil.rmtree(old)
    for name, values in secrets.items():
        place = folder / name
        place.mkdir(exist_ok=True)
        for old in place.iterdir():
            if old.name not in values:
                old.unlink()
        for key, value in values.items():
            replace(place / key, value, mode=PRIVATE_MODE)
