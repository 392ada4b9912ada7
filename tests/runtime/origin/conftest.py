import pytest

from tests.support.origin import running_origin


@pytest.fixture(scope="module")
def _origin(tmp_path_factory):
    with running_origin(tmp_path_factory.mktemp("origin"), "--manifest") as origin:
        yield origin


@pytest.fixture
def origin(_origin):
    """A running origin without faults over an empty folder."""
    for path in sorted(_origin.root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    _origin.fault()
    _origin.heads()
    return _origin
