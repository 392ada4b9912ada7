"""The origins behind a Dataset's mounts: opened once each, kept while their mount stays as it is.

An origin is identified by its mount as a whole, so that editing one mount of a Dataset leaves the
connections to the others alone. Mounts that were edited away are remembered as ``former`` while a
snapshot from before may be read: bytes of that snapshot are at the old place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import xxhash

from runtime.contract import codec
from runtime.contract.plan import Endpoints, MountPlan, NetworkClass
from runtime.errors import CacheError, ConfigError, SecretMissing
from runtime.origin import digest
from runtime.origin.base import Origin, open_origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from runtime.catalog.records import FileRecord
    from runtime.origin.base import Found

_MARK: Final = 8
"""Hexadecimal digits, so that versions which are hexadecimal stay so."""


def source_mark(mount: MountPlan) -> str:
    """Return what tells a mount's source from others.

    Endpoints, secrets and selections are ways to the same bytes and do not count.
    """
    plain = replace(mount, name="", endpoints=Endpoints(), secret="", include=(), exclude=())
    return xxhash.xxh3_64_hexdigest(codec.dumps(plain).encode())[:_MARK]


def bound_version(found: Found, source: str) -> str:
    """Return the version under which a snapshot knows an object; ``source`` is its mount's mark.

    An origin's token tells versions of one object apart, and says nothing of an object of the same
    path at another origin. So it is bound to the source, and to a digest that the listing tells
    besides; a token that is itself the content's md5 needs neither.
    """
    if _tells_content(found.version, found.digest):
        return found.version
    return found.version + _mark(source, found.digest)


def origin_version(record: FileRecord) -> str:
    """Return the version as the origin knows it."""
    if _tells_content(record.version, record.digest):
        return record.version
    return record.version[:-_MARK]


def _tells_content(version: str, told: str) -> bool:
    return bool(told) and digest.from_etag(version) == told


def _mark(source: str, told: str) -> str:
    return xxhash.xxh3_64_hexdigest(f"{source}\0{told}".encode())[:_MARK] if told else source


@dataclass(slots=True)
class _Opened:
    """An origin, and what it was opened with."""

    mount: MountPlan
    network_class: NetworkClass
    keys: Mapping[str, str]
    origin: Origin


class Mounts:
    """The origins of one Dataset.

    Args:
        secret: returns the keys of a named secret.
        source_address: where connections to the origin start from.
    """

    def __init__(
        self, secret: Callable[[str], Mapping[str, str]], *, source_address: str | None
    ) -> None:
        self._secret = secret
        self._source_address = source_address
        self._opened: list[_Opened] = []
        self._former: tuple[MountPlan, ...] = ()

    def follow(
        self, before: Sequence[MountPlan], now: Sequence[MountPlan], network_class: NetworkClass
    ) -> list[Origin]:
        """Turn to edited mounts; return the origins that are no longer used, to be closed."""
        gone = [mount for mount in before if mount not in now]
        kept = [mount for mount in self._former if mount not in now and mount not in gone]
        self._former = (*gone, *kept)
        return self._drop(lambda one: one.network_class != network_class)

    def forget_former(self, now: Sequence[MountPlan]) -> list[Origin]:
        """Forget mounts of before; return their origins, to be closed."""
        self._former = ()
        return self._drop(lambda one: one.mount not in now)

    def forget_origins(self) -> list[Origin]:
        """Drop all open origins and return them, to be closed."""
        return self._drop(lambda _: True)

    def reread_secrets(self) -> list[Origin]:
        """Drop the origins whose secret has other keys now; return them, to be closed.

        Raises:
            CacheError: a secret cannot be read any more; its origin stays as it is.
        """
        failure: CacheError | None = None
        stale = []
        for one in self._opened:
            try:
                if one.mount.secret and self._keys_of(one.mount) != one.keys:
                    stale.append(one)
            except CacheError as error:
                failure = failure or error
        found = self._drop(lambda one: one in stale)
        if failure is not None and not found:
            raise failure
        return found

    def _drop(self, unwanted: Callable[[_Opened], bool]) -> list[Origin]:
        found = [one for one in self._opened if unwanted(one)]
        self._opened = [one for one in self._opened if one not in found]
        return [one.origin for one in found]

    def origin(self, mount: MountPlan, network_class: NetworkClass) -> Origin:
        """Return the origin behind a mount, opened for this node's class.

        Raises:
            ConfigError: the source or an option cannot be used.
            SecretMissing: its secret cannot be read.
        """
        for one in self._opened:
            if one.mount == mount and one.network_class == network_class:
                return one.origin
        keys = self._keys_of(mount)
        origin = open_origin(mount, network_class, keys, source_address=self._source_address)
        self._opened.append(_Opened(mount, network_class, keys, origin))
        return origin

    def _keys_of(self, mount: MountPlan) -> Mapping[str, str]:
        name = mount.secret
        if not name:
            return {}
        try:
            return self._secret(name)
        except OSError as error:
            raise SecretMissing(f"secret {name!r} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError:  # the error quotes the secret, so it ends here
            raise ConfigError(f"secret {name!r} has a key that is not UTF-8 text") from None

    def of(self, record: FileRecord, now: Sequence[MountPlan]) -> Iterator[tuple[MountPlan, str]]:
        """Yield the mounts that a snapshot's object may come from, and its path below each.

        The mount is found by its name, which the path begins with: the snapshot's mounts may have
        been others, or in another order, than they are now.
        """
        for mounts in (now, self._former):
            for mount, path in _named(record.path, mounts):
                mark = _mark(source_mark(mount), record.digest)
                if _tells_content(record.version, record.digest) or record.version.endswith(mark):
                    yield mount, path


def _named(path: str, mounts: Iterable[MountPlan]) -> Iterator[tuple[MountPlan, str]]:
    """Yield the mounts whose name the path begins with, or those at the root."""
    roots = []
    found = False
    for mount in mounts:
        if not mount.name:
            roots.append(mount)
        elif path.startswith(f"{mount.name}/"):
            found = True
            yield mount, path[len(mount.name) + 1 :]
    if not found:
        for mount in roots:
            yield mount, path
