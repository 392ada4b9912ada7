"""Listeners over TCP and Unix sockets that share one handler, its limits and its counters."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runtime.errors import ConfigError
from runtime.serve.connection import Connection
from runtime.serve.descriptors import peer_uid
from runtime.serve.service import Counters, Limits, Service

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.serve.message import Answer, Handler

BACKLOG: Final = 1024
ACCEPTS: Final = 64
"""Connections accepted in one wake-up."""
REFUSALS: Final = 64
"""Connections above the limit that are told so; those above this are closed unheard."""
GRACE: Final = 5.0


class Listener:
    """One listening socket and the connections that it accepted."""

    def __init__(
        self,
        sock: socket.socket,
        service: Service,
        *,
        on_accept: Callable[[str], bool] | None,
        unlink: tuple[Path, int] | None = None,
    ) -> None:
        self._sock = sock
        self._service = service
        self._on_accept = on_accept
        self._unlink = unlink
        self._retry: asyncio.TimerHandle | None = None
        self._open = True
        self._listen()

    @property
    def port(self) -> int:
        """The bound TCP port."""
        return int(self._sock.getsockname()[1])

    def sweep(self, now: float) -> None:
        """End what has passed its deadline."""
        for connection in [c for c in self._service.connections if c.deadline <= now]:
            connection.expire()

    async def close(self, *, grace: float) -> None:
        """Stop accepting, finish the answers under way for at most ``grace`` seconds, then cut."""
        self._stop()
        connections = self._service.connections
        gone = asyncio.Event()
        for connection in list(connections):
            connection.on_close(lambda: None if connections else gone.set())
            connection.finish()
        if connections and grace > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(gone.wait(), grace)
        for connection in list(connections):
            connection.close()

    def _listen(self) -> None:
        self._retry = None
        self._service.loop.add_reader(self._sock.fileno(), self._accept)

    def _stop(self) -> None:
        if not self._open:
            return
        self._open = False
        if self._retry is not None:
            self._retry.cancel()
        self._service.loop.remove_reader(self._sock.fileno())
        self._sock.close()
        if self._unlink is not None:
            path, inode = self._unlink
            with contextlib.suppress(FileNotFoundError):
                # Another server may have taken the path since.
                if path.lstat().st_ino == inode:
                    path.unlink()

    def _accept(self) -> None:
        for _ in range(ACCEPTS):
            try:
                sock, address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                # No descriptor or memory is left: the socket stays readable, so look away a while.
                self._service.loop.remove_reader(self._sock.fileno())
                self._retry = self._service.loop.call_later(1.0, self._listen)
                return
            try:
                self._take(sock, address)
            except OSError:
                # The client has gone between accept and now.
                sock.close()

    def _take(self, sock: socket.socket, address: object) -> None:
        counters = self._service.counters
        peer: str | None = None
        uid: int | None = None
        if isinstance(address, tuple):
            peer = str(address[0])
            if self._on_accept is not None and not self._on_accept(peer):
                counters.refused_connections += 1
                sock.close()
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            uid = peer_uid(sock)
        sock.settimeout(0)
        surplus = counters.open_connections - self._service.limits.connections
        if surplus >= REFUSALS:
            counters.refused_connections += 1
            sock.close()
            return
        connection = Connection(sock, self._service, peer, uid)
        if surplus >= 0:
            counters.refused_connections += 1
            connection.refuse(503, "this agent has too many connections open; try again later")


class HttpServer:
    """The server of one agent. It listens on nothing until asked to.

    ``on_error`` turns an exception of the handler into an answer. ``remembered`` is asked for the
    bytes of what may be a whole request, and gives its answer's head and body, or None for it to
    be read and handled. ``counters`` may be read at any time.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        on_error: Callable[[Exception], Answer],
        limits: Limits | None = None,
        remembered: Callable[[bytes], tuple[bytes, bytes] | None] = lambda _: None,
    ) -> None:
        self.counters = Counters()
        self._handler = handler
        self._on_error = on_error
        self._limits = limits or Limits()
        self._remembered = remembered
        self._tcp: dict[int, Listener] = {}
        self._unix: dict[str, Listener] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    async def listen_tcp(
        self, host: str, port: int, *, on_accept: Callable[[str], bool] | None = None
    ) -> int:
        """Listen on an IP address; return the port, which the system chooses for 0.

        ``on_accept`` is told the address of each caller before anything is read from it, and
        refuses it by returning False.

        Raises:
            ConfigError: the address is not one of this machine's, or is taken.
        """
        sock = _bound_tcp(host, port)
        listener = Listener(sock, self._service(), on_accept=on_accept)
        self._tcp[listener.port] = listener
        self._start_sweeping()
        return listener.port

    async def listen_unix(self, path: str, *, mode: int = 0o666) -> None:
        """Listen on a Unix socket. A socket file that nobody answers on any more is replaced.

        Raises:
            ConfigError: another process answers there, or the path cannot be used.
        """
        sock = _bound_unix(Path(path), mode)
        unlink = (Path(path), Path(path).lstat().st_ino)
        self._unix[path] = Listener(sock, self._service(), on_accept=None, unlink=unlink)
        self._start_sweeping()

    async def close_tcp(self, port: int | None = None, *, grace: float = GRACE) -> None:
        """Close the listener on ``port``, or all on TCP, and their connections."""
        ports = list(self._tcp) if port is None else [port]
        await _close([self._tcp.pop(p) for p in ports if p in self._tcp], grace)

    async def close(self, *, grace: float = GRACE) -> None:
        """Close every listener and its connections."""
        listeners = [*self._tcp.values(), *self._unix.values()]
        self._tcp.clear()
        self._unix.clear()
        await _close(listeners, grace)
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    def _service(self) -> Service:
        return Service(
            asyncio.get_running_loop(),
            self._handler,
            self._on_error,
            self._limits,
            self.counters,
            self._remembered,
        )

    def _start_sweeping(self) -> None:
        if self._sweeper is None:
            self._sweep()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        for listener in [*self._tcp.values(), *self._unix.values()]:
            listener.sweep(loop.time())
        limits = self._limits
        shortest = min(
            limits.request_seconds,
            limits.idle_seconds,
            limits.stalled_seconds,
            limits.linger_seconds,
        )
        self._sweeper = loop.call_later(min(1.0, max(0.01, shortest / 4)), self._sweep)


async def _close(listeners: list[Listener], grace: float) -> None:
    await asyncio.gather(*(listener.close(grace=grace) for listener in listeners))


def _bound_tcp(host: str, port: int) -> socket.socket:
    try:
        version = ipaddress.ip_address(host).version
    except ValueError as error:
        raise ConfigError(
            f"the address to listen on is {host!r}; it must be an IP address"
        ) from error
    sock = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
        sock.settimeout(0)
    except OSError as error:
        sock.close()
        raise ConfigError(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return sock


def _bound_unix(path: Path, mode: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        sock.bind(str(path))
        # Before listen, while nobody can connect yet.
        path.chmod(mode)
        sock.listen(BACKLOG)
        sock.settimeout(0)
    except OSError as error:
        sock.close()
        raise ConfigError(f"cannot listen on {path}: {error.strerror or error}") from error
    except ConfigError:
        sock.close()
        raise
    return sock


def _remove_stale(path: Path) -> None:
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise ConfigError(f"{path} exists and is not a socket; remove it or name another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            # Its backlog is full, so it lives.
            pass
    raise ConfigError(f"another process answers on {path}; stop it or name another path")
