"""``cachectl ls | cat | cp | du``: a Dataset's files, through the agent on this node.

Sources are ``cachectl://namespace/dataset/path`` or ``namespace/dataset/path``, and may be
patterns (``*``, ``**``, ``?``, ``[...]``).
"""

from __future__ import annotations

import sys
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from glob import has_magic
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click
from fsspec.callbacks import Callback

from cache_ctl.domain.quantity import short_bytes
from cache_ctl.errors import InvalidInput, Unreadable
from runtime.client.failures import Failure, PathIsDirectory, PathMissing
from runtime.client.filesystem import CacheFileSystem
from runtime.client.names import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_BLOCK: Final = 4 << 20
_COPIES_AT_ONCE: Final = 4
_LONG_COPY: Final = 16 << 20
"""A copy of fewer bytes shows no progress bar."""


def _agent_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which agent is asked and with which token."""
    for option in (
        click.option(
            "--token-file",
            type=click.Path(),
            help="File with a reader's token. [default: CACHECTL_TOKEN or CACHECTL_TOKEN_FILE]",
        ),
        click.option(
            "--socket",
            type=click.Path(),
            help="The agent's Unix socket. [default: CACHECTL_SOCKET or /run/cachectl/agent.sock]",
        ),
    ):
        command = option(command)
    return command


def _filesystem(socket: str | None, token_file: str | None) -> CacheFileSystem:
    return CacheFileSystem(socket=socket, token_file=token_file)


def _expand(filesystem: CacheFileSystem, sources: Sequence[str]) -> list[str]:
    """Return the paths that the sources name, patterns expanded.

    Raises:
        PathMissing: a pattern matches nothing.
    """
    paths: list[str] = []
    for source in sources:
        path = source.removeprefix(PREFIX).strip("/")
        if not has_magic(path) or filesystem.exists(path):
            paths.append(path)
            continue
        matches = filesystem.glob(path)
        if not matches:
            raise PathMissing(f"nothing in the Dataset's current snapshot matches {source}", path)
        paths += matches
    return paths


@click.command("ls")
@click.argument("paths", nargs=-1, required=True)
@click.option("-l", "long", is_flag=True, help="Show size and version too.")
@click.option("-R", "recursive", is_flag=True, help="List everything below.")
@_agent_options
def ls(
    *,
    paths: tuple[str, ...],
    long: bool,
    recursive: bool,
    socket: str | None,
    token_file: str | None,
) -> None:
    """List files and directories of a Dataset's current snapshot."""
    filesystem = _filesystem(socket, token_file)
    for path in _expand(filesystem, paths):
        if recursive:
            entries = list(filesystem.find(path, detail=True).values())
            if not entries:
                filesystem.info(path)  # says that there is no such path
        else:
            entries = filesystem.ls(path, detail=True)
        for entry in entries:
            click.echo(_line(entry, path, long=long))


def _line(entry: dict[str, Any], listed: str, *, long: bool) -> str:
    name: str = entry["name"].removeprefix(f"{listed}/")
    if entry["type"] == "directory":
        name += "/"
    if not long:
        return name
    size = "-" if entry["type"] == "directory" else str(entry["size"])
    return f"{size:>14}  {entry.get('version', '-'):<34}  {name}"


@click.command("cat")
@click.argument("paths", nargs=-1, required=True)
@_agent_options
def cat(*, paths: tuple[str, ...], socket: str | None, token_file: str | None) -> None:
    """Write the bytes of files, one after the other, to standard output."""
    filesystem = _filesystem(socket, token_file)
    output = sys.stdout.buffer
    for path in _expand(filesystem, paths):
        with filesystem.open(path) as file:
            while block := file.read(_BLOCK):
                output.write(block)
    output.flush()


@click.command("du")
@click.argument("paths", nargs=-1, required=True)
@click.option("-s", "summary", is_flag=True, help="One line for each path given.")
@click.option("-h", "human", is_flag=True, help="Sizes such as 1.5Gi.")
@_agent_options
def du(
    *,
    paths: tuple[str, ...],
    summary: bool,
    human: bool,
    socket: str | None,
    token_file: str | None,
) -> None:
    """Show how many bytes lie at and below each directory, at their full size."""
    filesystem = _filesystem(socket, token_file)
    for path in _expand(filesystem, paths):
        filesystem.info(path)  # says that there is no such path
        for name, size in sorted(_sizes(filesystem, path, summary=summary).items()):
            click.echo(f"{short_bytes(size) if human else size}\t{name}")


def _sizes(filesystem: CacheFileSystem, path: str, *, summary: bool) -> dict[str, int]:
    if summary:
        return {path: filesystem.du(path)}
    sizes = {path: 0}
    for name, size in filesystem.du(path, total=False).items():
        folder = name if name == path else name.rpartition("/")[0]
        while True:
            sizes[folder] = sizes.get(folder, 0) + size
            if len(folder) <= len(path):
                break
            folder = folder.rpartition("/")[0]
    return sizes


class _Copy(NamedTuple):
    source: str
    target: Path
    size: int


@click.command("cp")
@click.argument("sources", nargs=-1, required=True)
@click.argument("target")
@click.option("-r", "recursive", is_flag=True, help="Copy directories with all that is in them.")
@_agent_options
def cp(
    *,
    sources: tuple[str, ...],
    target: str,
    recursive: bool,
    socket: str | None,
    token_file: str | None,
) -> None:
    """Copy files to a local path.

    Each file appears whole or not at all. The target is a directory when it exists as one, when
    its name ends with a slash, or when there are several sources.
    """
    if target.startswith(PREFIX):
        raise InvalidInput(f"the target {target} is not a local path; cachectl:// is read-only")
    filesystem = _filesystem(socket, token_file)
    paths = _expand(filesystem, sources)
    local = Path(target)
    into = target.endswith("/") or local.is_dir() or len(paths) > 1
    copies: list[_Copy] = []
    for path in paths:
        root = local / PurePosixPath(path).name if into else local
        copies += _plan(filesystem, path, root, recursive=recursive)
    _refuse_doubles(copies)
    with _progress(sum(copy.size for copy in copies)) as advance:
        _run(filesystem, copies, advance)


def _plan(
    filesystem: CacheFileSystem, path: str, root: Path, *, recursive: bool
) -> Iterator[_Copy]:
    """Yield the copies for one source.

    Raises:
        PathMissing, PathIsDirectory: there is nothing to copy, or it is a directory without -r.
    """
    info = filesystem.info(path)
    if info["type"] == "file":
        yield _Copy(path, root, info["size"])
        return
    if not recursive:
        raise PathIsDirectory(f"{path} is a directory; give -r to copy all that is in it", path)
    for name, entry in filesystem.find(path, detail=True).items():
        yield _Copy(name, root / name[len(path) + 1 :], entry["size"])


def _refuse_doubles(copies: Sequence[_Copy]) -> None:
    sources: dict[Path, str] = {}
    for copy in copies:
        other = sources.setdefault(copy.target, copy.source)
        if other != copy.source:
            raise InvalidInput(
                f"{other} and {copy.source} would both be copied to {copy.target}; copy them one "
                "by one"
            )


def _run(
    filesystem: CacheFileSystem, copies: Sequence[_Copy], advance: Callable[[int], None]
) -> None:
    """Copy several files at a time; the first failure ends it."""
    pool = ThreadPoolExecutor(_COPIES_AT_ONCE)
    try:
        running = [pool.submit(_copy, filesystem, copy, advance) for copy in copies]
        done, _ = wait(running, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _copy(filesystem: CacheFileSystem, copy: _Copy, advance: Callable[[int], None]) -> None:
    try:
        filesystem.get_file(copy.source, copy.target, callback=_Counted(advance))
    except Failure:
        raise
    except OSError as error:
        raise Unreadable(f"{copy.target} cannot be written: {error.strerror}") from error


class _Counted(Callback):  # type: ignore[misc]  # fsspec is not typed
    """Hands on how many bytes of a file were copied."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        super().__init__()
        self._advance = advance

    def relative_update(self, inc: int = 1) -> None:
        """Count bytes."""
        self._advance(inc)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Give a function that counts bytes; it moves a bar for a long copy in a terminal."""
    if total < _LONG_COPY or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich import progress  # noqa: PLC0415 - rich is slow to import
    from rich.console import Console  # noqa: PLC0415 - as above

    with progress.Progress(
        progress.BarColumn(),
        progress.DownloadColumn(binary_units=True),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as bar:
        task = bar.add_task("copy", total=total)
        yield lambda count: bar.advance(task, count)
