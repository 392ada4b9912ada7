"""Peers from package sources, unpacked into a cache of the suite's own: nothing enters the system.

The cache is ``$XDG_CACHE_HOME/cachectl-bench`` (``~/.cache/cachectl-bench``); removing it is
always safe. Each tool asks the package source that the machine has set up for it. What was
installed once is used again, so that later runs need no network.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MINUTES = 60


class Unavailable(Exception):
    """A peer cannot be had here; the message is the reason, for the report's gap."""


@dataclass(frozen=True, slots=True)
class Installed:
    """One peer's files: where they lie and how they are run."""

    root: Path
    versions: Mapping[str, str] = field(default_factory=dict)

    def program(self, name: str) -> str:
        """Return the path of one of its programs.

        Raises:
            Unavailable: the package does not have it.
        """
        found = shutil.which(name, path=self.environment["PATH"])
        if found is None:
            raise Unavailable(f"neither the packages in {self.root} nor the system have {name}")
        return found

    @property
    def environment(self) -> dict[str, str]:
        """The variables that let its programs find each other and their libraries."""
        folders = [self.root / name for name in ("bin", "sbin", "usr/bin", "usr/sbin")]
        paths = [str(folder) for folder in folders if folder.is_dir()]
        found = {"PATH": os.pathsep.join([*paths, os.environ.get("PATH", os.defpath)])}
        libraries = {str(path.parent) for path in self.root.glob("**/lib*.so.*")}
        if libraries:  # an empty one would stand for the current folder
            found["LD_LIBRARY_PATH"] = os.pathsep.join(sorted(libraries))
        return found


def cache() -> Path:
    """Return the suite's cache folder; made when it is not there."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "cachectl-bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def debian(*packages: str) -> Installed:
    """Unpack Debian packages and those of their dependencies that this machine lacks.

    Raises:
        Unavailable: there is no ``apt-get``, or it does not give the packages.
    """
    with _place("debian", packages) as (root, done):
        if not done:
            _need("apt-get", "dpkg-deb")
            state = cache() / "apt"
            options = _apt_options(state)
            _run("apt-get", *options, "-q", "update", minutes=10)
            archives = root / "archives"
            (archives / "partial").mkdir(parents=True)
            wanted = ("-q", "-y", "--no-install-recommends", "--download-only", "install")
            where = ("-o", f"Dir::Cache::archives={archives}")
            _run("apt-get", *options, *where, *wanted, *packages, minutes=10)
            versions = {}
            for archive in sorted(archives.glob("*.deb")):
                _run("dpkg-deb", "-x", str(archive), str(root))
                shown = ("--showformat=${Package} ${Version}", "-W", str(archive))
                name, version = _run("dpkg-deb", *shown).split()
                versions[name] = version
            if missing := set(packages) - versions.keys():
                # apt downloads nothing for what the system has; its own programs serve as well.
                versions |= {name: _system_version(name) for name in missing}
            shutil.rmtree(archives)
            _finish(root, versions)
    return _found(root)


def wheels(*packages: str) -> Installed:
    """Install wheels into a virtual environment of their own; nothing is built from source.

    Raises:
        Unavailable: pip does not find them.
    """
    with _place("wheels", packages) as (root, done):
        if not done:
            _run(sys.executable, "-m", "venv", str(root), minutes=5)
            python = str(root / "bin" / "python")
            options = ("--disable-pip-version-check", "--quiet", "--only-binary", ":all:")
            _run(python, "-m", "pip", "install", *options, *packages, minutes=10)
            listed = json.loads(_run(python, "-m", "pip", "list", "--format", "json"))
            found = {package["name"]: package["version"] for package in listed}
            _finish(root, {name: found[name] for name in packages})
    return _found(root)


def go(module: str, version: str = "latest") -> Installed:
    """Build a Go program of a module; takes minutes the first time.

    Raises:
        Unavailable: there is no Go, or the module does not build.
    """
    with _place("go", (module, version)) as (root, done):
        if not done:
            _need("go")
            where = {"GOBIN": str(root / "bin"), "CGO_ENABLED": "0"}
            _run("go", "install", f"{module}@{version}", minutes=20, environment=where)
            name = Path(module).name
            about = _run("go", "version", "-m", str(root / "bin" / name))
            lines = [line.split() for line in about.splitlines()]
            found = next(line[2] for line in lines if line[:1] == ["mod"])
            _finish(root, {name: found})
    return _found(root)


def maven(*coordinates: str) -> Installed:
    """Fetch Maven artifacts (``group:artifact:version``) and all they need, as ``jars/*.jar``.

    Raises:
        Unavailable: there is no Maven or Java, or an artifact is not found.
    """
    with _place("maven", coordinates) as (root, done):
        if not done:
            _need("mvn", "java")
            root.mkdir(parents=True)
            pom = root / "pom.xml"
            pom.write_text(_pom(coordinates))
            goal = "org.apache.maven.plugins:maven-dependency-plugin:copy-dependencies"
            where = f"-DoutputDirectory={root / 'jars'}"
            _run("mvn", "-B", "-q", "-f", str(pom), goal, where, minutes=20)
            _finish(root, {name.split(":")[1]: name.split(":")[2] for name in coordinates})
    return _found(root)


def _pom(coordinates: Sequence[str]) -> str:
    one = "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version>"
    listed = "\n".join(f"{one.format(*name.split(':'))}</dependency>" for name in coordinates)
    return (
        "<project><modelVersion>4.0.0</modelVersion>"
        "<groupId>bench</groupId><artifactId>peer</artifactId><version>1</version>"
        f"<dependencies>\n{listed}\n</dependencies></project>\n"
    )


def _apt_options(state: Path) -> list[str]:
    """Let apt keep its lists in a folder of ours, and take no lock of the system's."""
    for folder in ("lists/partial", "cache"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    return [
        "-o", f"Dir::State::lists={state / 'lists'}",
        "-o", f"Dir::Cache={state / 'cache'}",
        "-o", "Debug::NoLocking=1",
    ]  # fmt: skip


def _system_version(package: str) -> str:
    return _run("dpkg-query", "--show", "--showformat=${Version}", package)


@contextlib.contextmanager
def _place(kind: str, names: Sequence[str]) -> Iterator[tuple[Path, bool]]:
    """Give the folder of these packages and whether it is complete; one process at a time."""
    name = "+".join(name.rpartition("/")[2].replace(":", "_") for name in names)
    root = cache() / kind / name
    root.parent.mkdir(exist_ok=True)
    with (root.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = (root / "versions.json").exists()
        if not done and root.exists():  # an earlier run was stopped half way
            shutil.rmtree(root)
        yield root, done


def _finish(root: Path, versions: Mapping[str, str]) -> None:
    (root / "versions.json").write_text(json.dumps(versions, indent=1))


def _found(root: Path) -> Installed:
    return Installed(root, json.loads((root / "versions.json").read_text()))


def _need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            raise Unavailable(f"{program} is not on this machine")


def _run(*command: str, minutes: float = 1, environment: Mapping[str, str] | None = None) -> str:
    """Run a command and return what it printed.

    Raises:
        Unavailable: it failed, or took too long; with the last line of what it said.
    """
    try:
        ended = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=minutes * MINUTES,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{command[0]} took more than {minutes} minutes") from None
    if ended.returncode:
        said = (ended.stderr.strip() or ended.stdout.strip() or "nothing").splitlines()
        raise Unavailable(f"{Path(command[0]).name} failed: {said[-1]}")
    return ended.stdout
