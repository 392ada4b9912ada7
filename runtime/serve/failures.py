"""Errors as answers: a status, the class's name, one sentence."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from runtime import errors
from runtime.contract import protocol
from runtime.serve.message import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)

STATUS: Final[Mapping[type[Exception], int]] = {
    errors.ConfigError: 400,
    errors.TokenInvalid: 401,
    errors.AccessDenied: 403,
    errors.RefusedByPolicy: 403,
    errors.NoSuchPath: 404,
    errors.PeerMissing: 404,
    errors.StaleVersion: 409,
    errors.NotCached: 503,
    errors.NoRoom: 507,
    errors.OriginRefused: 502,
    errors.OriginLied: 502,
    errors.OriginUnavailable: 504,
    errors.PeerMismatch: 421,
}


def answer_of(error: Exception) -> Answer:
    """Return the answer that tells of an error; one that is not ours is logged, not shown."""
    if isinstance(error, errors.CacheError):
        kind = type(error)
        answer = sentence(STATUS.get(kind, 502), str(error), kind.__name__)
        if answer.status == 401:
            answer.headers += (("WWW-Authenticate", "Bearer"),)
        return answer
    log.error("a request failed: %s", error, exc_info=error)
    return sentence(500, "the agent failed at this request; its log says more", "CacheError")


def sentence(status: int, text: str, kind: str = "") -> Answer:
    """Return an answer whose body is one sentence."""
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "text/plain; charset=utf-8"),)
    if kind:
        headers += ((protocol.CODE_HEADER, kind),)
    return Answer(status, headers, (text.encode() + b"\n",))
