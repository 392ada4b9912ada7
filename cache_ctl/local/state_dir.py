"""Where a local cluster keeps what outlives its process.

::

    objects.yaml                 every object but Secrets, plans and Events
    plans/<namespace>.<plan>.json   the plans in force
    keys/<namespace>.<name>      a runtime's master key
    tokens/<namespace>_<name>    a token that reads this Dataset on every node
    nodes/<node>/                an agent's own folder, and beside what it makes there:
        settings.json keys.json agent.log agent.sock secrets/<namespace>.<secret>/<key>
        follow.json              a link to the plan that this node follows
    control.sock                 commands to the process that runs the cluster
    up.log                       its output, where it runs detached
    lock                         held by it
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cache_ctl.errors import ControlError, Unreadable
from cache_ctl.local.files import PRIVATE_MODE, replace

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST_SOCKET: Final = 107
"""Bytes of a Unix socket's path: sun_path has 108 with its closing zero."""


class StateInUse(ControlError):
    """Another process runs a cluster in this state directory."""


class StateDir:
    """The paths of a state directory. Made on ``locked``."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._sockets: Path | None = None
        self._numbers: dict[str, int] = {}

    @property
    def objects(self) -> Path:
        """The file of objects."""
        return self.root / "objects.yaml"

    @property
    def plans(self) -> Path:
        """The folder of plans."""
        return self.root / "plans"

    def plan(self, namespace: str, name: str) -> Path:
        """The file of one plan. A namespace has no dot, so no two plans share a file."""
        return self.plans / f"{namespace}.{name}.json"

    @property
    def tokens(self) -> Path:
        """The folder of readers' tokens."""
        return self.root / "tokens"

    def token(self, dataset: str) -> Path:
        """The file of the token for the Dataset ``namespace/name``. Neither has an underscore."""
        return self.tokens / dataset.replace("/", "_", 1)

    def node(self, name: str) -> Path:
        """The folder of a node's agent."""
        return self.root / "nodes" / name

    def socket(self, node: str) -> Path:
        """The Unix socket of a node's agent.

        Where the path would be too long for one, it lies in a short folder that goes on closing.
        """
        path = self.node(node) / "agent.sock"
        if len(os.fsencode(path)) <= _LONGEST_SOCKET:
            return path
        if self._sockets is None:
            self._sockets = Path(tempfile.mkdtemp(prefix="cachectl-"))
        # Nodes are numbered: a node's name alone may be longer than a socket's path.
        number = self._numbers.setdefault(node, len(self._numbers))
        return self._sockets / f"{number}.sock"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folders and keep others out.

        Raises:
            StateInUse: another process holds the lock.
            Unreadable: the folder cannot be made or written.
        """
        try:
            # Options in objects and plans may be credentials, so a folder made here is private.
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in ("plans", "keys", "tokens", "nodes"):
                (self.root / name).mkdir(exist_ok=True)
            for name in ("keys", "tokens"):
                (self.root / name).chmod(0o700)
            lock = (self.root / "lock").open("ab")
        except OSError as error:
            raise Unreadable(
                f"state directory {self.root}: {error.strerror}; choose another one"
            ) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise StateInUse(
                    f"another process runs a cluster in {self.root}; stop it (cachectl down), or "
                    "choose another state directory"
                ) from error
            try:
                yield
            finally:
                if self._sockets is not None:
                    shutil.rmtree(self._sockets, ignore_errors=True)
                    self._sockets = None

    def in_use(self) -> bool:
        """Tell whether a process runs a cluster here at this moment."""
        try:
            lock = (self.root / "lock").open("rb")
        except OSError:
            return False
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return True
        return False

    def master_key(self, runtime: str) -> bytes:
        """Return the master key of the runtime ``namespace/name``, made on first use."""
        path = self.root / "keys" / runtime.replace("/", ".", 1)
        with contextlib.suppress(FileNotFoundError):
            return bytes.fromhex(path.read_text())
        key = secrets.token_bytes(32)
        replace(path, key.hex().encode(), mode=PRIVATE_MODE)
        return key
