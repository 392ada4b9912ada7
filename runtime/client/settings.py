"""Options of the file system, and the environment that stands in for them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, get_args

from runtime.client.failures import SettingWrong
from runtime.contract import protocol

Verify = Literal["FirstRead", "EveryRead", "OnFill"]
"""When bytes are compared with their checksums: the first time a handle touches each 64 KiB
(small objects: at each open), at every read, or only by the agent when it fills and scrubs."""

SOCKET_VARIABLE: Final = "CACHECTL_SOCKET"
TOKEN_VARIABLE: Final = "CACHECTL_TOKEN"  # noqa: S105 - the variable's name
TOKEN_FILE_VARIABLE: Final = "CACHECTL_TOKEN_FILE"  # noqa: S105 - the variable's name
DEFAULT_TIMEOUT: Final = 60.0


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How one client reads. Two file systems with equal settings share one session.

    ``timeout`` is how many seconds a question to the agent may go unanswered, retries included; an
    answer that arrives may take longer, but never pause for so long. A token that came from
    ``token_file`` is read again when the agent refuses it, as files of secrets are replaced.
    """

    socket: str
    token: str = field(repr=False)
    token_file: str
    verify: Verify
    timeout: float

    @staticmethod
    def resolve(
        *,
        socket: str | None = None,
        token: str | None = None,
        token_file: str | None = None,
        verify: str = "FirstRead",
        timeout: float = DEFAULT_TIMEOUT,
    ) -> ClientSettings:
        """Return the settings for these options, with the environment for those not given.

        Raises:
            SettingWrong: an option is not usable; the sentence names it.
        """
        if verify not in get_args(Verify):
            choices = ", ".join(get_args(Verify))
            raise SettingWrong(f"verify is {verify!r}; it must be one of {choices}")
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0:
            raise SettingWrong(f"timeout is {timeout!r}; it must be a number of seconds above 0")
        environ = os.environ
        file = token_file or ""
        if token is None and not file:
            token = environ.get(TOKEN_VARIABLE)
            file = "" if token else environ.get(TOKEN_FILE_VARIABLE, "")
        return ClientSettings(
            socket=str(socket or environ.get(SOCKET_VARIABLE) or protocol.DEFAULT_SOCKET),
            token=_checked(token or "", "token"),
            token_file=str(file),
            verify=verify,  # type: ignore[arg-type]  # tested above
            timeout=float(timeout),
        )

    def read_token(self) -> str:
        """Return the token, from its file when it has one; an empty string when there is none.

        Raises:
            SettingWrong: the file cannot be read.
        """
        if not self.token_file:
            return self.token
        try:
            text = Path(self.token_file).read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise SettingWrong(f"the token file {self.token_file} is unusable: {reason}") from error
        return _checked(text, f"the token in {self.token_file}")


def _checked(token: str, what: str) -> str:
    # A line break would end the header that carries it. The value is not repeated: it is a secret.
    if not token.isascii() or any(not character.isprintable() for character in token):
        raise SettingWrong(f"{what} holds characters that no token has; copy it again")
    return token


class Environment:
    """The variables that settings depend on, as a class attribute for fsspec's instance cache."""

    def __get__(self, instance: object, owner: type) -> tuple[str | None, ...]:
        names = (SOCKET_VARIABLE, TOKEN_VARIABLE, TOKEN_FILE_VARIABLE)
        return tuple(os.environ.get(name) for name in names)
