"""What an origin can do, how patient we are with it, and which driver serves which source."""

from __future__ import annotations

import contextlib
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol
from urllib.parse import urlsplit, urlunsplit

from runtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Mapping

    from runtime.contract.plan import MountPlan, NetworkClass

BLOCK = 1 << 20
"""No read yields, or holds, more bytes at once."""


class Found(NamedTuple):
    """One object that a listing found: its path below the source, and what identifies its bytes.

    ``version`` is opaque; ``digest`` is ``md5:hex`` or ``sha256:hex`` of the content when the
    origin tells it, else empty.
    """

    path: str
    size: int
    version: str
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How patient a driver is. Seconds, bytes and counts.

    An answer must begin, and each block follow, within ``stall_seconds``; while we wait for it, a
    body must come at ``floor_bytes_per_second`` or more, taken over ``window_seconds`` of waiting.
    A reader that takes its time, and the wait for one of the ``connections`` that are used at
    once, are not the origin's fault and do not count. An interrupted read
    is resumed ``tries - 1`` times, after a pause of ``backoff_seconds``, doubled each time; one
    that fell silent or came too slowly only ``stall_tries - 1`` times, on a connection of its own.
    """

    connect_seconds: float = 5.0
    stall_seconds: float = 10.0
    window_seconds: float = 15.0
    floor_bytes_per_second: int = 16 * 1024
    tries: int = 3
    stall_tries: int = 2
    backoff_seconds: float = 0.1
    connections: int = 32


class Origin(Protocol):
    """A source of objects. Safe for concurrent use within one event loop."""

    async def list(self) -> list[Found]:
        """Return all objects that the mount includes, sorted by path.

        Raises:
            OriginUnavailable, OriginRefused, OriginLied: the listing could not be had, or makes
                no sense. NoSuchPath: the source does not exist.
        """
        ...

    def read(
        self, path: str, *, size: int, version: str, start: int, stop: int
    ) -> AsyncGenerator[bytes, None]:
        """Yield the bytes ``start`` to ``stop`` of exactly this version, in blocks.

        ``size`` is the whole object's. Close the iterator (``contextlib.aclosing``) when it is
        left early. Blocks may have come when it raises.

        Raises:
            StaleVersion: the origin no longer has this version.
            OriginUnavailable: no connection, 5xx, or too slow, also after the retries.
            OriginRefused: 401 or 403.
            OriginLied: the answer contradicts what was asked, the version or its own headers.
        """
        ...

    async def close(self) -> None:
        """Close for good: reads and listings under way, and later ones, raise OriginUnavailable."""
        ...


_DRIVERS: Final = {"http": "http", "https": "http", "oss": "oss", "s3": "s3", "s3a": "s3"}
"""The module of a scheme's driver; every other scheme has the generic one."""


def _driver(source: str) -> str:
    return _DRIVERS.get(urlsplit(source).scheme.lower(), "generic")


def load_driver(source: str) -> None:
    """Import what the driver of a source needs, so that opening its origin is quick.

    Client libraries take up to a second of processor time: call this in a thread. What cannot be
    imported is told by ``open_origin``.
    """
    with contextlib.suppress(ImportError):
        importlib.import_module(f"runtime.origin.{_driver(source)}")


def open_origin(
    mount: MountPlan,
    network_class: NetworkClass,
    secret: Mapping[str, str],
    *,
    timeouts: Timeouts | None = None,
    source_address: str | None = None,
) -> Origin:
    """Return the driver for a mount's source, without connecting yet; call it in the event loop.

    ``secret`` holds the keys of the mount's secret. ``source_address`` is the local address that
    connections leave from, for drivers over HTTP.

    Raises:
        ConfigError: the source or an option cannot be used.
    """
    # The drivers import this module, and each its own client library: only the one in use is.
    driver = _driver(mount.source)
    patience = timeouts or Timeouts()
    if driver == "http":
        from runtime.origin.http import HttpOrigin  # noqa: PLC0415 - see above

        return HttpOrigin.open(
            mount, network_class, secret, timeouts=patience, source_address=source_address
        )
    if driver == "oss":
        from runtime.origin.oss import OssOrigin  # noqa: PLC0415 - see above

        return OssOrigin.open(
            mount, network_class, secret, timeouts=patience, source_address=source_address
        )
    if driver == "s3":
        return _open_s3(
            mount, network_class, secret, timeouts=patience, source_address=source_address
        )
    from runtime.origin.generic import GenericOrigin  # noqa: PLC0415 - see above

    return GenericOrigin.open(mount, secret, timeouts=patience)


def _open_s3(
    mount: MountPlan,
    network_class: NetworkClass,
    secret: Mapping[str, str],
    *,
    timeouts: Timeouts,
    source_address: str | None,
) -> Origin:
    try:
        from runtime.origin.s3 import S3Origin  # noqa: PLC0415 - its library may be missing
    except ImportError as error:
        raise ConfigError(
            f"{title(mount)} needs the package s3fs, which this agent's Python lacks "
            f"({error.name}); install s3fs there"
        ) from None
    return S3Origin.open(
        mount, network_class, secret, timeouts=timeouts, source_address=source_address
    )


def check_known(
    mount: MountPlan,
    secret: Mapping[str, str],
    *,
    kind: str,
    options: Collection[str],
    secrets: Collection[str],
    login: str,
) -> None:
    """Refuse options and keys of a secret that a driver does not know, by name.

    ``kind`` names the driver and ``login`` says which keys its secret takes, for the sentences.

    Raises:
        ConfigError: one of them is unknown.
    """
    if unknown := sorted(mount.options.keys() - options):
        raise ConfigError(
            f"the mount {mount.name!r} has the option {unknown[0]!r}, which {kind} sources do "
            f"not know; they know {', '.join(sorted(options))}"
        )
    if unknown := sorted(secret.keys() - secrets):
        raise ConfigError(
            f"the secret of the mount {mount.name!r} has the key {unknown[0]!r}; {kind} sources "
            f"take {login}"
        )


def check_bucket(mount: MountPlan, secret: Mapping[str, str]) -> None:
    """Refuse an object store's source without a bucket or with keys in it, and half a pair of keys.

    Raises:
        ConfigError: the sentence says which.
    """
    bucket = urlsplit(mount.source).netloc
    if not bucket:
        raise ConfigError(f"the mount {mount.name!r} has a source without a bucket")
    if "@" in bucket:
        raise ConfigError(
            f"the mount {mount.name!r} has keys in its source; put them into a Secret, and name "
            "that in secretRef"
        )
    if bool(secret.get("key")) != bool(secret.get("secret")):
        raise ConfigError(
            f"the secret of the mount {mount.name!r} has only one of key and secret; set both, "
            "or neither for anonymous access"
        )


def title(mount: MountPlan) -> str:
    """Return what a mount is called in messages: its name and its source.

    Raises:
        ConfigError: its source is not a URL.
    """
    return f"the mount {mount.name or '/'!r} ({shown(mount.source)})"


def shown(source: str) -> str:
    """Return a source for messages: without credentials, query or fragment.

    Raises:
        ConfigError: it is not a URL.
    """
    if "::" in source:  # fsspec's chains: each link may have credentials of its own
        return "::".join(shown(link) if ":" in link else link for link in source.split("::"))
    try:
        parts = urlsplit(source)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError as error:
        raise ConfigError("a mount's source is not a URL that can be read") from error
    return urlunsplit((parts.scheme, host + port, parts.path, "", ""))
