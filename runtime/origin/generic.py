"""Origins on any other file system that fsspec knows; ``file://`` for one.

These file systems cannot be asked for a version. The version is compared before a read opens the
file and again before it yields the last block, so bytes of two versions never pass for one. A file
that is overwritten within one tick of its clock cannot be told apart from what it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any

import fsspec
from fsspec.asyn import AsyncFileSystem
from fsspec.core import url_to_fs
from fsspec.registry import known_implementations
from fsspec.spec import AbstractFileSystem

from runtime.errors import (
    CacheError,
    ConfigError,
    NoSuchPath,
    OriginLied,
    OriginRefused,
    OriginUnavailable,
    StaleVersion,
)
from runtime.origin.base import BLOCK, Found, title
from runtime.origin.gate import Gate
from runtime.origin.globs import selector
from runtime.origin.resume import Interrupted, Retries
from runtime.origin.version import from_etag

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping
    from typing import Self

    from runtime.contract.plan import MountPlan
    from runtime.origin.base import Timeouts

_ETAGS = ("ETag", "etag", "e_tag")
_TIMES = ("mtime", "LastModified", "last_modified", "modified", "updated", "created")


class GenericOrigin:
    """Files below an fsspec URL; the mount's options and secret go to its file system."""

    def __init__(
        self,
        mount: MountPlan,
        filesystem: Any,
        root: str,
        *,
        timeouts: Timeouts,
    ) -> None:
        self._name = title(mount)
        self._filesystem = filesystem
        self._root = root.rstrip("/") or root[:1]  # to the local file system, no path is its own
        self._selects = selector(mount.include, mount.exclude)
        self._spares = selector((), mount.exclude)
        self._timeouts = timeouts
        self._retries = Retries(timeouts)
        self._gate = Gate(timeouts.connections)
        # As many as the gate lets in, so that no call waits for a thread while its clock runs.
        self._threads = ThreadPoolExecutor(timeouts.connections, thread_name_prefix="origin")

    @classmethod
    def open(cls, mount: MountPlan, secret: Mapping[str, str], *, timeouts: Timeouts) -> Self:
        """Return the origin of a mount, see ``base.open_origin``."""
        options: dict[str, Any] = {**mount.options, **secret, "use_listings_cache": False}
        protocol = (fsspec.core.split_protocol(mount.source)[0] or "file").partition("::")[0]
        if protocol == "memory":
            raise ConfigError(
                f"{title(mount)} lies in the memory of one process, where no agent can read it; "
                "name a folder or an object store"
            )
        try:
            if fsspec.get_filesystem_class(protocol).async_impl:
                options |= {"asynchronous": True, "skip_instance_cache": True}
            filesystem, root = url_to_fs(mount.source, **options)
        except ImportError as error:
            needs = known_implementations.get(protocol, {}).get("err", error.name)
            raise ConfigError(
                f"{title(mount)} cannot be opened, as a package is missing for {protocol}://; on "
                f"this agent's Python: {needs}"
            ) from None
        except Exception as error:  # noqa: BLE001 - each file system has errors of its own
            # The error's text may repeat options, and with them the secret.
            raise ConfigError(
                f"{title(mount)} cannot be opened by fsspec ({type(error).__name__}); check its "
                "scheme, the mount's options and the keys of its secret"
            ) from None
        return cls(mount, filesystem, root, timeouts=timeouts)

    async def close(self) -> None:
        """Close for good, and the file system's session if it keeps one that it lets us close."""
        self._gate.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        session = getattr(self._filesystem, "_session", None)
        if session is not None and self._filesystem.async_impl:
            await session.close()

    async def list(self) -> list[Found]:
        """Return all files that the mount includes, see ``base.Origin.list``."""
        told = await self._retries.call(self._told)
        found = []
        for place, listed in told.items():
            path = place.removeprefix(self._root).lstrip("/")
            if not path or not self._selects(path):
                continue
            info = await self._target(place) if listed.get("islink") else listed
            if info.get("type") == "file":
                found.append(Found(path, info["size"], self._version(path, info)))
        return sorted(found)

    async def _target(self, place: str) -> Mapping[str, Any]:
        """Return what a link leads to; nothing when that is gone."""
        try:
            with _translated(self._name, missing=NoSuchPath(place)):
                async with self._gate.held(self._name), self._gate.waiting(self._name, None):
                    info: dict[str, Any] = await self._run("info", place)
                    return info
        except NoSuchPath:
            return {}

    async def _told(self) -> Mapping[str, Any]:
        gone = NoSuchPath(f"{self._name} does not exist; check the mount's source")
        with _translated(self._name, missing=gone):
            async with self._gate.held(self._name), self._gate.waiting(self._name, None):
                if not await self._run("exists", self._root):
                    raise gone
                if await self._run("isfile", self._root):
                    raise NoSuchPath(
                        f"{self._name} is one file; name its folder, and the file in include"
                    )
                if self._finds_itself:
                    told: dict[str, Any] = await self._run("find", self._root, detail=True)
                    return told
                return await self._walk()

    async def _walk(self) -> Mapping[str, Any]:
        """Return what lies in all folders; fsspec's own walk leaves out what it may not read."""
        found: dict[str, Any] = {}
        folders = [self._root]
        while folders:
            folder = folders.pop()
            try:
                items = await self._run("ls", folder, detail=True)
            except OSError as error:
                self._missed(error)
                continue
            for info in items:
                place = info["name"].rstrip("/")
                if info["type"] != "directory":
                    found[place] = info
                elif place != folder.rstrip("/"):  # some list the folder itself, too
                    folders.append(place)
        return found

    @property
    def _finds_itself(self) -> bool:
        """Tell whether the file system lists in its own way, not by walking its folders."""
        kind = type(self._filesystem)
        if self._filesystem.async_impl:
            return kind._find is not AsyncFileSystem._find  # noqa: SLF001 - what it overrides
        return kind.find is not AbstractFileSystem.find

    def read(
        self, path: str, *, size: int, version: str, start: int, stop: int
    ) -> AsyncGenerator[bytes, None]:
        """Yield a range of a version, see ``base.Origin.read``."""
        place, name = f"{self._root}/{path}", f"{path!r} of {self._name}"

        async def check() -> None:
            info = await self._soon(name, "info", place)
            if (info.get("size"), self._version(path, info)) != (size, version):
                raise StaleVersion(f"{name}: the file changed since the snapshot was taken")

        async def attempt(first: int, last: int) -> AsyncGenerator[bytes, None]:
            await check()
            while first < last:
                until = min(last, first + BLOCK)
                block: bytes = await self._soon(name, "cat_file", place, start=first, end=until)
                if until == last or len(block) != until - first:
                    await check()
                if len(block) != until - first:
                    raise OriginLied(f"{name}: {len(block)} bytes came for {until - first}")
                first = until
                yield block

        return self._retries.read(attempt, start, stop)

    def _missed(self, error: Exception) -> None:
        """End a walk at a folder that cannot be read: left out, its files would silently miss."""
        if isinstance(error, FileNotFoundError):  # it was removed meanwhile
            return
        place = getattr(error, "filename", None)
        if isinstance(place, str) and place.startswith(f"{self._root}/"):
            path = place.removeprefix(self._root).strip("/")
            if not self._spares(f"{path}/any"):
                return
        raise error

    def _version(self, path: str, info: Mapping[str, Any]) -> str:
        for key in _ETAGS:
            if info.get(key):
                return from_etag(str(info[key]))
        for key in _TIMES:
            if info.get(key) is not None:
                parts = [_time_text(info[key]), str(info.get("size"))]
                return "-".join([*parts, str(info["ino"])] if "ino" in info else parts)
        raise ConfigError(
            f"{path!r} of {self._name}: the file system tells neither an etag nor a time of "
            "change, so that versions could not be told apart; use another kind of source"
        )

    async def _run(self, method: str, *arguments: Any, **options: Any) -> Any:
        if self._filesystem.async_impl:
            return await getattr(self._filesystem, f"_{method}")(*arguments, **options)
        call = functools.partial(getattr(self._filesystem, method), *arguments, **options)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def _soon(self, name: str, method: str, *arguments: Any, **options: Any) -> Any:
        """Run a call within the time that a block may take."""
        gone = StaleVersion(f"{name}: the file is gone from the origin")
        with _translated(name, missing=gone):
            async with (
                self._gate.held(name),
                self._gate.waiting(name, self._timeouts.stall_seconds),
            ):
                return await self._run(method, *arguments, **options)


def _time_text(told: object) -> str:
    """Return a time's one spelling: listings may tell a number where ``info`` tells a datetime."""
    if isinstance(told, datetime):
        told = told.timestamp()
    return f"{told:.6f}" if isinstance(told, (int, float)) else str(told)


def _refusal(error: PermissionError) -> str:
    """Say what may not be read; only a local file's error is known to name just that."""
    if error.errno and isinstance(error.filename, str):
        return (
            f"{error.filename!r} may not be read; let the agent's user read it, or name it in the "
            "mount's exclude, a folder with /** at its end"
        )
    return "the origin refuses access; check the mount's secret and what it may read"


@contextlib.contextmanager
def _translated(name: str, *, missing: CacheError) -> Iterator[None]:
    """Turn what a file system raises into our errors; each has errors of its own."""
    try:
        yield
    except (CacheError, asyncio.CancelledError):
        raise
    except FileNotFoundError as error:
        raise missing from error
    except PermissionError as error:
        raise OriginRefused(f"{name}: {_refusal(error)}") from error
    except TimeoutError as error:
        raise OriginUnavailable(
            f"{name}: the origin does not answer in time; check that this node can reach it"
        ) from error
    except Exception as error:
        # Only a local file's error is known to say no more than that.
        what = type(error).__name__
        if isinstance(error, OSError) and isinstance(error.filename, str):
            what = error.strerror or what
        failed = OriginUnavailable(
            f"{name}: the origin failed: {what}; check that this node can reach it"
        )
        raise Interrupted(failed) from error
