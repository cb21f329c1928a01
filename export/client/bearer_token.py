"""A bearer token that a proxy in front of the server demands; needs the standard library alone."""

import re
from collections.abc import Callable
from typing import Any

# Of RFC 6750.
_ALLOWED = re.compile(r"[A-Za-z0-9._~+/-]+=*")


class BearerToken:
    """A token, or a function that is asked for one before each request. It shows in no error and no `repr`.

    Args:
        source: the token or the function; None: no token is sent.

    >>> BearerToken("abc")
    BearerToken(<hidden>)
    >>> BearerToken("two words").header(BearerToken("two words").asked())
    Traceback (most recent call last):
    ValueError: token must hold letters, digits and -._~+/ alone, = at its end. Received: 9 characters of others
    """

    def __init__(self, source: str | Callable[[], Any] | None) -> None:
        if not (source is None or isinstance(source, str) or callable(source)):
            raise ValueError(f"token must be a string or a function. Received: {type(source).__name__}")
        self._source = source

    def __repr__(self) -> str:
        return "BearerToken(<hidden>)"

    def asked(self) -> Any:
        """The token, or what the function returns: a token, or under asyncio an awaitable of one."""
        return self._source() if callable(self._source) else self._source

    @staticmethod
    def header(token: Any) -> dict[str, str]:
        """The header of a request with this token, or none.

        Raises:
            ValueError: something else than a token.
        """
        if token is None:
            return {}
        if not isinstance(token, str):
            raise ValueError(f"token must be a string. Received: {type(token).__name__}")
        if not _ALLOWED.fullmatch(token):
            rule = "letters, digits and -._~+/ alone, = at its end"
            raise ValueError(f"token must hold {rule}. Received: {len(token)} characters of others")
        return {"authorization": f"Bearer {token}"}
