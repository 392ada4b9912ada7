"""Agents and file systems for the client's tests."""

import pytest

from runtime.client.filesystem import CacheFileSystem
from tests.support.client_fixtures import AgentProcess, write_samples
from tests.support.lab_client import RealAgent


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """An agent with the sample Dataset that the tests of a module only read from."""
    agent = AgentProcess(tmp_path_factory.mktemp("shared"))
    agent.files = write_samples(agent.origin)
    agent.start()
    yield agent
    agent.stop()


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A real agent with the sample Dataset that the tests of a module only read from."""
    agent = RealAgent(tmp_path_factory.mktemp("real"))
    try:
        agent.start()
        yield agent
        assert "Traceback" not in agent.node.log(), agent.node.log()
    finally:
        agent.stop()


@pytest.fixture
def agent(tmp_path):
    """An agent of the test's own, with the sample Dataset."""
    agent = AgentProcess(tmp_path)
    agent.files = write_samples(agent.origin)
    agent.start()
    yield agent
    agent.stop()


@pytest.fixture
def make():
    """Build a file system that no other test shares, by an agent and options."""

    def build(agent, **options):
        return CacheFileSystem(**{**agent.options, **options}, skip_instance_cache=True)

    return build


@pytest.fixture
def fs(agent, make):
    return make(agent)


@pytest.fixture(autouse=True)
def _no_instances_left():
    yield
    CacheFileSystem.clear_instance_cache()
