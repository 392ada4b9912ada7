"""Bearer tokens: a scope and a keyed digest of it.

``cct1.reader.<ns>/<dataset>.<mac>`` lets a reader read one Dataset on its own node's agent;
``cct1.peer.<ns>/<runtime>.<mac>`` lets an agent ask the members of its own domain. Readers' and
peers' tokens are made with different keys, and only members of a distributed domain hold the
peer key of that domain: a LocalOnly node could not make one.
Tokens do not expire by a clock, as edge clocks are not to be trusted; a key is replaced instead.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.errors import ConfigError, TokenInvalid

if TYPE_CHECKING:
    from typing import Self

_PREFIX = "cct1"


@dataclass(frozen=True, slots=True)
class Keys:
    """The secrets of one agent. ``peer`` is empty on a LocalOnly node."""

    reader: bytes
    peer: bytes = b""

    def __repr__(self) -> str:
        return "Keys(...)"

    @classmethod
    def derive(cls, master: bytes, domain: str | None) -> Self:
        """Derive an agent's keys from the runtime's master key and the agent's domain."""
        peer = b"" if domain is None else _mac(master, f"peer-key\0{domain}").encode()
        return cls(reader=_mac(master, "reader-key").encode(), peer=peer)

    def encode(self) -> str:
        """Return the JSON that an agent's key file holds."""
        return json.dumps({"reader": self.reader.decode(), "peer": self.peer.decode()})

    @classmethod
    def decode(cls, text: str) -> Self:
        """Read a key file.

        Raises:
            ConfigError: the text is not such a file.
        """
        try:
            document = json.loads(text)
            return cls(document["reader"].encode(), document["peer"].encode())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError("the key file is not a JSON object with reader and peer") from error


def _mac(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def reader_token(keys: Keys, dataset: str) -> str:
    """Return the token that reads the Dataset ``ns/name``."""
    return _sign(keys.reader, f"reader.{dataset}")


def peer_token(keys: Keys, runtime: str) -> str:
    """Return the token by which agents of the runtime ``ns/name`` ask each other."""
    return _sign(keys.peer, f"peer.{runtime}")


def _sign(key: bytes, scope: str) -> str:
    return f"{_PREFIX}.{scope}.{_mac(key, scope)}"


def check(keys: Keys, token: str) -> tuple[str, str]:
    """Return ``("reader", "ns/dataset")`` or ``("peer", "ns/runtime")``.

    Raises:
        TokenInvalid: the token was not made with one of these keys.
    """
    prefix, _, rest = token.partition(".")
    scope, _, mac = rest.rpartition(".")
    kind, _, name = scope.partition(".")
    key = {"reader": keys.reader, "peer": keys.peer}.get(kind, b"")
    if (
        prefix != _PREFIX
        or not key
        or not hmac.compare_digest(_mac(key, scope).encode(), mac.encode())
    ):
        raise TokenInvalid("the token is not valid here; ask for one of this runtime and Dataset")
    return kind, name


def identity_proof(keys: Keys, nonce: str, node: str, domain: str) -> str:
    """Return the proof by which an agent shows that it is ``node`` of ``domain``."""
    return _mac(keys.peer, f"identity\0{nonce}\0{node}\0{domain}")
