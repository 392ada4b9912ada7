"""Real agents, and the files that people's libraries read through them."""

import fsspec
import pytest

from runtime.client.filesystem import CacheFileSystem
from runtime.client.settings import SOCKET_VARIABLE, TOKEN_VARIABLE
from tests.support.reading_files import write_reading_files
from tests.support.reading_world import ReadingWorld


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """The origin's folder; no test changes it."""
    folder = tmp_path_factory.mktemp("files")
    write_reading_files(folder)
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory, files):
    """Two agents of a domain over the files."""
    world = ReadingWorld(tmp_path_factory.mktemp("world"), files)
    try:
        world.start()
        yield world
        for node in world.nodes:
            assert "Traceback" not in node.log(), node.log()
    finally:
        world.stop()


@pytest.fixture
def options(world):
    """Storage options of a reader."""
    return world.options


@pytest.fixture
def fs(options):
    yield fsspec.filesystem("cachectl", **options)
    CacheFileSystem.clear_instance_cache()


@pytest.fixture
def environment(world, monkeypatch):
    """The variables of a pod whose readers give no options."""
    monkeypatch.setenv(SOCKET_VARIABLE, world.node.socket)
    monkeypatch.setenv(TOKEN_VARIABLE, world.token)
    yield
    CacheFileSystem.clear_instance_cache()
