"""What is shipped, what it drags in, and what a fresh clone relies on."""

import email
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONTROL_ONLY = {"kopf", "kubernetes", "matplotlib", "networkx", "pydantic", "pyyaml"}
COMMAND_LINE = {"click", "rich"}
LOCKS = ("requirements-build.lock", "requirements-dev.lock")


def run(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    run(sys.executable, *build, "--wheel-dir", str(folder), str(ROOT))
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        yield archive


@pytest.fixture(scope="module")
def metadata(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(wheel.read(name))


def requirements(metadata, extra):
    """The names that an install with this extra asks for, without what other extras name."""
    found = set()
    for line in metadata.get_all("Requires-Dist"):
        name = re.match(r"[A-Za-z0-9-]+", line).group()
        marker = re.search(r"extra == ['\"](\w+)['\"]", line)
        if (marker.group(1) if marker else None) == extra:
            found.add(name.lower())
    return found


def test_the_wheel_holds_both_packages_and_the_demo_files(wheel):
    names = set(wheel.namelist())
    assert {"runtime/contract/plan.py", "cache_ctl/demo/files/nodes.yaml"} <= names
    assert {name.split("/")[0] for name in names if "dist-info" not in name} == {
        "cache_ctl",
        "runtime",
    }


def test_the_wheel_offers_the_command_and_the_protocol(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    entry_points = wheel.read(name).decode()
    assert "cachectl = cache_ctl.__main__:main" in entry_points
    assert "cachectl = runtime.client.filesystem:CacheFileSystem" in entry_points


@pytest.mark.parametrize("extra", [None, "agent"])
def test_the_data_plane_asks_for_nothing_of_the_control_plane(metadata, extra):
    asked = requirements(metadata, extra)
    assert asked
    assert not asked & CONTROL_ONLY


def test_the_base_install_is_the_client_alone(metadata):
    assert requirements(metadata, None) == {"click", "fsspec", "rich", "xxhash"}


@pytest.mark.parametrize(
    "module", ["runtime.__main__", "runtime.client.filesystem"], ids=["agent", "client"]
)
def test_importing_the_data_plane_loads_nothing_of_the_control_plane(module):
    script = f"import {module}, sys; print(*sorted({{n.split('.')[0] for n in sys.modules}}))"
    loaded = set(run(sys.executable, "-c", script, cwd=ROOT).split())
    assert "runtime" in loaded
    assert not loaded & (CONTROL_ONLY | COMMAND_LINE | {"cache_ctl", "yaml"})


def test_importing_the_client_does_not_load_what_only_the_agent_needs():
    script = "import runtime.client.filesystem, sys; print(*sys.modules)"
    loaded = set(run(sys.executable, "-c", script, cwd=ROOT).split())
    assert not loaded & {"aiohttp", "aiofiles", "ossfs"}


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_hashes_and_no_address(name):
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert "--index-url" not in text
    assert "--find-links" not in text
    entries = re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).strip())
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9.-]+==\S+", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


def pins(name):
    return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))


def test_both_locks_agree():
    build, dev = map(pins, LOCKS)
    assert build.items() <= dev.items()


def test_every_declared_dependency_is_locked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = [*project["project"]["dependencies"]]
    for extra in project["project"]["optional-dependencies"].values():
        declared += extra
    for group in project["dependency-groups"].values():
        declared += [item for item in group if isinstance(item, str)]
    names = {re.match(r"[A-Za-z0-9-]+", item).group().lower() for item in declared} - {"cachectl"}
    assert names <= pins(LOCKS[1]).keys()
