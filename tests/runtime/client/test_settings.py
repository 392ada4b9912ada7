"""Options, the environment, and a token that is never shown."""

import json
import logging
import pickle

import fsspec
import pytest

from runtime.client.failures import AccessRefused, SettingWrong
from runtime.client.filesystem import CacheFileSystem
from runtime.client.settings import ClientSettings
from runtime.contract import protocol
from tests.support.client_agent import DATASET, TOKEN

PATH = f"{DATASET}/readme.md"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in ("CACHECTL_SOCKET", "CACHECTL_TOKEN", "CACHECTL_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)


def test_without_options_the_defaults_hold():
    settings = ClientSettings.resolve()
    assert settings.socket == protocol.DEFAULT_SOCKET
    assert (settings.verify, settings.read_token()) == ("FirstRead", "")


def test_the_environment_stands_in_for_options(shared, monkeypatch, tmp_path):
    monkeypatch.setenv("CACHECTL_SOCKET", str(shared.socket))
    monkeypatch.setenv("CACHECTL_TOKEN", TOKEN)
    assert fsspec.filesystem("cachectl").cat(PATH) == shared.files["readme.md"]
    monkeypatch.delenv("CACHECTL_TOKEN")
    (tmp_path / "token").write_text(TOKEN + "\n")
    monkeypatch.setenv("CACHECTL_TOKEN_FILE", str(tmp_path / "token"))
    assert fsspec.filesystem("cachectl").cat(PATH) == shared.files["readme.md"]


def test_a_changed_environment_makes_another_instance(shared, monkeypatch):
    monkeypatch.setenv("CACHECTL_SOCKET", "/nowhere/agent.sock")
    first = fsspec.filesystem("cachectl", token=TOKEN)
    monkeypatch.setenv("CACHECTL_SOCKET", str(shared.socket))
    second = fsspec.filesystem("cachectl", token=TOKEN)
    assert first is not second
    assert second.cat(PATH) == shared.files["readme.md"]
    assert fsspec.filesystem("cachectl", token=TOKEN) is second


def test_options_stand_above_the_environment(shared, monkeypatch):
    monkeypatch.setenv("CACHECTL_SOCKET", "/nowhere/agent.sock")
    monkeypatch.setenv("CACHECTL_TOKEN", "wrong")
    fs = CacheFileSystem(**shared.options)
    assert fs.cat(PATH) == shared.files["readme.md"]


def test_a_token_file_is_read_again_when_the_token_is_refused(shared, tmp_path):
    file = tmp_path / "token"
    file.write_text("old")
    fs = CacheFileSystem(socket=str(shared.socket), token_file=str(file))
    with pytest.raises(AccessRefused):
        fs.cat(PATH)
    file.write_text(TOKEN)
    assert fs.cat(PATH) == shared.files["readme.md"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"verify": "Always"}, "verify is 'Always'; it must be one of FirstRead, EveryRead"),
        ({"timeout": 0}, "timeout is 0; it must be a number of seconds above 0"),
        ({"timeout": "5"}, "timeout is '5'; it must be a number"),
        ({"token_file": "/nowhere/token"}, "the token file /nowhere/token is unusable: No such"),
    ],
)
def test_a_wrong_option_is_named(options, sentence):
    with pytest.raises(SettingWrong, match=sentence):
        CacheFileSystem(**options)


def test_a_token_with_a_line_break_is_refused_and_not_repeated():
    with pytest.raises(SettingWrong, match="token holds characters") as error:
        CacheFileSystem(token="abc\r\nX: y")
    assert "abc" not in str(error.value)


def test_the_token_is_shown_nowhere(shared, caplog):
    caplog.set_level(logging.DEBUG)
    fs = CacheFileSystem(socket=str(shared.socket), token="very-secret")
    with pytest.raises(AccessRefused) as refused:
        fs.cat(PATH)
    shown = [repr(fs), str(fs), str(refused.value), repr(refused.value), caplog.text]
    shown += [repr(fs._settings), fs.to_json(include_password=False), fs._fs_token]
    assert not [text for text in shown if "very-secret" in text]


def test_a_pickle_and_json_carry_the_token_for_workers(shared):
    fs = CacheFileSystem(**shared.options)
    again = pickle.loads(pickle.dumps(fs))
    assert again.cat(PATH) == shared.files["readme.md"]
    assert json.loads(fs.to_json())["token"] == TOKEN
    assert CacheFileSystem.from_json(fs.to_json()).cat(PATH) == shared.files["readme.md"]
