"""The other end of the control socket: what commands ask of the process that runs the cluster.

Of the standard library alone, so that commands start fast.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import socket
import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlencode

from cache_ctl.errors import ControlError
from cache_ctl.local.control_socket import SOCKET, short_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cache_ctl.api.kinds import Kind, Resource

ANSWER_SECONDS: Final = 90.0
STOP_SECONDS: Final = 60.0
_PEER_CREDENTIALS: Final = struct.Struct("3i")


class NotRunning(ControlError):
    """No process runs a cluster that could be asked in this state directory."""


class Refused(ControlError):
    """The running cluster does not do what was asked; the sentence is its own."""


class Result(NamedTuple):
    """What became of an applied object: ``dataset.cachectl.dev/images``, ``created``."""

    object: str
    outcome: str


class Control:
    """The cluster that runs in a state directory. Each call connects anew.

    Raises:
        NotRunning: none does; from every method.
        Refused: it does not do what was asked; from every method.
    """

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir.expanduser().absolute()

    def overview(self) -> dict[str, Any]:
        """Return what ``cachectl status -o json`` prints."""
        found: dict[str, Any] = self._ask("GET", "/overview")
        return found

    def objects(self, kind: Kind, namespace: str = "") -> list[Resource]:
        """Return the objects of a kind, of one namespace or of all."""
        query = urlencode({"namespace": namespace})
        found: list[Resource] = self._ask("GET", f"/objects/{kind.plural}?{query}")
        return found

    def apply(self, objects: Sequence[Resource]) -> tuple[list[Result], str | None]:
        """Apply objects; return what became of each, and the sentence that ended it early."""
        answer = self._ask("POST", "/apply", {"objects": list(objects)})
        return [Result(**item) for item in answer["results"]], answer["error"]

    def delete(self, kind: Kind, name: str, namespace: str = "") -> bool:
        """Delete an object and wait until it is gone; False where there is none."""
        asked = {"kind": kind.plural, "name": name, "namespace": namespace}
        return bool(self._ask("POST", "/delete", asked)["found"])

    def stop(self) -> None:
        """End the cluster and wait until its process is gone."""
        with contextlib.closing(self._connect()) as connection:
            try:
                process = os.pidfd_open(_server(connection.sock))
            except ProcessLookupError:
                return
            try:
                connection.request("POST", "/stop")
                with contextlib.suppress(OSError, http.client.HTTPException):
                    connection.getresponse().read()  # it may end before it has answered
                if not select.select([process], [], [], STOP_SECONDS)[0]:
                    raise Refused(
                        f"the cluster in {self._folder} still runs {STOP_SECONDS:g} s after it "
                        "was asked to stop"
                    )
            finally:
                os.close(process)

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        with contextlib.closing(self._connect()) as connection:
            try:
                connection.request(method, path, None if body is None else json.dumps(body))
                answer = connection.getresponse()
                found = json.loads(answer.read())
            except TimeoutError as error:
                raise Refused(f"the cluster in {self._folder} does not answer") from error
            except (OSError, ValueError, http.client.HTTPException) as error:
                raise NotRunning(f"the cluster in {self._folder} has just ended") from error
        if answer.status != http.client.OK:
            raise Refused(found["error"])
        return found

    def _connect(self) -> http.client.HTTPConnection:
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        peer.settimeout(ANSWER_SECONDS)
        try:
            with short_path(self._folder, SOCKET) as path:
                peer.connect(path)
        except PermissionError as error:
            peer.close()
            raise Refused(f"{self._folder / SOCKET} belongs to another user") from error
        except OSError as error:
            peer.close()
            raise NotRunning(
                f"no cluster runs in {self._folder}; start one with cachectl up -f FILE, or name "
                "another state directory with --state-dir"
            ) from error
        connection = http.client.HTTPConnection("localhost")
        connection.sock = peer
        return connection


def _server(connected: socket.socket) -> int:
    """Return the process id of who listens at the other end."""
    raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
    pid: int = _PEER_CREDENTIALS.unpack(raw)[0]
    return pid
