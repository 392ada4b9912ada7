"""What can go wrong in the data plane.

::

    CacheError
    ├── ConfigError          a setting or a plan is not usable
    │   └── SecretMissing    a secret that a mount names is not on this node
    ├── AccessDenied         the token is of another scope
    │   └── TokenInvalid        it is missing, or was not made here
    ├── NoSuchPath           the snapshot has no such path
    ├── StaleVersion         the object changed at the origin; this version can no longer be had
    ├── RefusedByPolicy      the Dataset refuses reads on LocalOnly nodes
    ├── NotCached            the bytes are not here and cannot be fetched now
    ├── NoRoom               the store may not admit these bytes
    ├── OriginError
    │   ├── OriginUnavailable   no connection, 5xx, or too slow
    │   ├── OriginRefused       401, 403, or a wrong key
    │   ├── OriginLied          short body, wrong range, changed etag, wrong digest
    │   └── NothingMatches      a listing without an object
    └── PeerError
        ├── PeerUnavailable     no connection, or too slow
        ├── PeerBrokeOff        the member that another pointed at stopped midway
        ├── PeerMissing         the peer does not hold the unit
        ├── PeerMismatch        another node, or another domain, answers at that address
        └── PeerLied            the bytes do not match their checksum

Every message is one sentence for a person. No message carries a secret.
"""


class CacheError(Exception):
    """The root of all errors of the data plane."""


class ConfigError(CacheError):
    """A setting or a plan is not usable."""


class SecretMissing(ConfigError):
    """A secret that a mount names is not on this node."""


class AccessDenied(CacheError):
    """The token is of another scope."""


class TokenInvalid(AccessDenied):
    """The token is missing, or was not made with the keys of this runtime."""


class NoSuchPath(CacheError):
    """The snapshot has no such path."""


class StaleVersion(CacheError):
    """The object changed at the origin; the version asked for can no longer be had."""


class RefusedByPolicy(CacheError):
    """The Dataset refuses reads on LocalOnly nodes."""


class NotCached(CacheError):
    """The bytes are not on this node and cannot be fetched now."""


class NoRoom(CacheError):
    """The store may not admit these bytes."""


class OriginError(CacheError):
    """The origin did not give what was asked for."""


class OriginUnavailable(OriginError):
    """The origin cannot be reached, answers 5xx, or is too slow."""


class OriginRefused(OriginError):
    """The origin refuses these credentials."""


class OriginLied(OriginError):
    """The origin's answer contradicts its own headers, the snapshot or a digest."""


class NothingMatches(OriginError):
    """The origin has no object that the Dataset's mounts select."""


class PeerError(CacheError):
    """A peer did not give what was asked for."""


class PeerUnavailable(PeerError):
    """The peer cannot be reached, or is too slow."""


class PeerBrokeOff(PeerError):
    """The member that another pointed at stopped midway; the one that was asked may be fine."""


class PeerMissing(PeerError):
    """The peer does not hold the unit."""


class PeerMismatch(PeerError):
    """Another node, or a node of another domain, answers at the peer's address."""


class PeerLied(PeerError):
    """The peer's bytes do not match their checksum."""
