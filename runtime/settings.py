"""The agent's own settings: one JSON file, read once at the start.

What may change while the agent runs is in the plan, not here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.contract import codec, protocol
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Where one agent lives.

    ``address`` is the node's InternalIP; the agent listens there and binds its outgoing
    connections to it, on ``port``, and only while its plan is Distributed. ``secrets_dir`` holds a
    folder per secret with a file per key. ``tier_subfolder`` is appended to each tier's path, so
    that several agents may share one machine. ``trust_same_uid`` lets processes of the agent's own
    user read over the Unix socket without a token, for a machine with one user.
    """

    node: str
    uid: str
    address: str
    state_dir: str
    plan_file: str
    keys_file: str
    port: int = protocol.DEFAULT_PORT
    socket: str = protocol.DEFAULT_SOCKET
    secrets_dir: str = ""
    tier_subfolder: str = ""
    trust_same_uid: bool = False
    log_level: str = "INFO"

    @staticmethod
    def load(path: Path) -> AgentSettings:
        """Read the settings file.

        Raises:
            ConfigError: the file is missing or not usable; the message names it.
        """
        try:
            return codec.loads(AgentSettings, path.read_bytes())
        except OSError as error:
            raise ConfigError(f"settings file {path}: {error.strerror}") from error
        except ConfigError as error:
            raise ConfigError(f"settings file {path}: {error}") from error
