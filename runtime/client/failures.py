"""Errors of the client: each is one of ``runtime.errors`` and the ``OSError`` that fits.

Ordinary code catches ``FileNotFoundError`` or looks at ``errno``; code that knows this cache
catches the class of ``runtime.errors``. ``str()`` of each is one sentence.
"""

from __future__ import annotations

import errno
from typing import ClassVar

from runtime import errors


class Failure(OSError):
    """The base: ``errno`` by class, the sentence, and the path it is about if any."""

    code: ClassVar[int] = errno.EIO

    def __init__(self, sentence: str, path: str | None = None) -> None:
        super().__init__(self.code, sentence, path)

    def __str__(self) -> str:
        return str(self.strerror)

    def __reduce__(self) -> tuple[type[Failure], tuple[str, str | None]]:
        return type(self), (str(self), self.filename)


class PathMissing(Failure, errors.NoSuchPath, FileNotFoundError):
    """The snapshot has no such file or directory."""

    code = errno.ENOENT


class PathIsDirectory(Failure, errors.NoSuchPath, IsADirectoryError):
    """The path is a directory where a file is needed."""

    code = errno.EISDIR


class AccessRefused(Failure, errors.AccessDenied, PermissionError):
    """The token is missing, forged or of another Dataset."""

    code = errno.EACCES


class NotListable(Failure, errors.AccessDenied, PermissionError):
    """A reader's token is for one Dataset: Datasets and namespaces cannot be listed."""

    code = errno.EACCES


class PolicyRefused(Failure, errors.RefusedByPolicy, PermissionError):
    """The Dataset refuses reads on this node."""

    code = errno.EPERM


class StaleFile(Failure, errors.StaleVersion):
    """The object changed at the origin, and this version can no longer be had."""

    code = errno.ESTALE


class BytesUnavailable(Failure, errors.NotCached):
    """The bytes are not on this node and cannot be fetched now."""


class AgentUnreachable(Failure, errors.NotCached, ConnectionError):
    """No agent answers at the socket."""

    code = errno.ECONNREFUSED


class AgentTooSlow(Failure, errors.NotCached, TimeoutError):
    """The agent did not answer within ``timeout``."""

    code = errno.ETIMEDOUT


class AgentMisspoke(Failure, errors.CacheError):
    """The agent's answer contradicts the catalog or the protocol; nothing of it was used."""

    code = errno.EPROTO


class StoreFull(Failure, errors.NoRoom):
    """The store may not admit these bytes."""

    code = errno.ENOSPC


class OriginUnreachable(Failure, errors.OriginUnavailable):
    """The origin cannot be reached, answers 5xx, or is too slow."""

    code = errno.EHOSTUNREACH


class OriginRefusal(Failure, errors.OriginRefused, PermissionError):
    """The origin refuses the Dataset's credentials."""

    code = errno.EACCES


class OriginMisspoke(Failure, errors.OriginLied):
    """The origin's answer contradicts the snapshot."""


class SettingWrong(Failure, errors.ConfigError):
    """An option, a question or a file of the cache is not usable."""

    code = errno.EINVAL


class PositionWrong(Failure, errors.ConfigError, ValueError):
    """A file was to be moved before its start; files of fsspec say so by ValueError."""

    code = errno.EINVAL


class ReadOnly(Failure, errors.CacheError):
    """A call that writes, on a file system that only reads."""

    code = errno.EROFS


_BY_NAME: dict[str, type[Failure]] = {
    "NoSuchPath": PathMissing,
    "AccessDenied": AccessRefused,
    "TokenInvalid": AccessRefused,
    "RefusedByPolicy": PolicyRefused,
    "StaleVersion": StaleFile,
    "NotCached": BytesUnavailable,
    "NoRoom": StoreFull,
    "OriginUnavailable": OriginUnreachable,
    "OriginRefused": OriginRefusal,
    "OriginLied": OriginMisspoke,
    "ConfigError": SettingWrong,
}
_BY_STATUS: dict[int, type[Failure]] = {
    401: AccessRefused,
    403: AccessRefused,
    404: PathMissing,
    409: StaleFile,
    412: StaleFile,
    502: OriginMisspoke,
    503: BytesUnavailable,
    504: OriginUnreachable,
    507: StoreFull,
}


def from_answer(status: int, name: str, sentence: str, path: str | None = None) -> Failure:
    """Return the failure that an agent's error answer stands for.

    ``name`` is the class in ``runtime.errors`` from the answer's header, ``sentence`` its body.
    """
    kind = _BY_NAME.get(name) or _BY_STATUS.get(status, AgentMisspoke)
    return kind(sentence or f"the agent answered with status {status} and no reason", path)
