"""REST's way of questions and answers, by the standard library."""

import contextlib
import http.client
import json
import ssl
import time
import urllib.error
from typing import Any

from export.client.bearer_token import BearerToken
from export.client.rest_messages import Page
from export.client.server_errors import HTTP_CODES, UNTRUSTED, Failure
from export.client.timed_http import TimedRequest, make_opener
from export.client.tls import TLS

# Of a refusal, and of one that is no JSON, such as a proxy's.
_MOST_BYTES, _MOST_CHARACTERS = 1 << 20, 500
# Where a proxy would send the request, and when it would take another.
_TELLING = ("Location", "Retry-After")


class RestTransport:
    """Asks pages of one address.

    Args:
        server: "host:port", or an address with "http://" or "https://" and possibly a path.
        token: sent with each question.
        tls: certificates; None: those that Python trusts, for "https://" alone.

    Raises:
        ValueError: an address with "http://" and certificates.
    """

    def __init__(self, server: str, token: BearerToken, tls: TLS | None) -> None:
        if tls is not None and server.startswith("http://"):
            raise ValueError(f"server must not begin with http:// under tls. Received: server={server}")
        scheme = "http://" if tls is None else "https://"
        self._address = (server if server.startswith(("http://", "https://")) else f"{scheme}{server}").rstrip("/")
        self._token, self._opener = token, make_opener(None if tls is None else tls.context())

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    async def send(self, page: Page, timeout: float) -> Any:
        """The JSON of a page."""
        request = TimedRequest(self._address + page.path, page.body, {"Content-Type": "application/json"})
        token = self._token.asked()
        for name, value in BearerToken.header(token).items():
            request.add_unredirected_header(name, value)
        try:
            with request.within(timeout), self._opener.open(request, timeout=timeout) as answer:
                # The stock server writes a text's bytes unchanged.
                return json.loads(answer.read().decode("utf-8", errors="replace"))
        except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
            # A connection that is cut may fail in any way.
            failure = Failure("DEADLINE_EXCEEDED", "") if request.is_over else _failure_of(error)
        raise Failure(failure.code, failure.message.replace(token, "<token>") if token else failure.message)


def _failure_of(error: Exception) -> Failure:
    if isinstance(error, urllib.error.HTTPError):
        with error, contextlib.suppress(OSError, http.client.HTTPException):
            return Failure(HTTP_CODES.get(error.code, f"HTTP status {error.code}"), _reason(error))
        return Failure("UNAVAILABLE", f"HTTP status {error.code}, and it did not end its answer")
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return Failure("DEADLINE_EXCEEDED", "")
    if isinstance(cause, ssl.SSLError):
        return Failure(UNTRUSTED, str(cause))
    if isinstance(error, OSError | http.client.HTTPException):
        return Failure("UNAVAILABLE", str(error))
    return Failure("UNAVAILABLE", "it did not answer in JSON")


def _reason(answer: urllib.error.HTTPError) -> str:
    """What a refusal says, in its headers too."""
    text = answer.read(_MOST_BYTES).decode("utf-8", errors="replace")
    try:
        text = str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError, RecursionError):
        text = text[:_MOST_CHARACTERS]
    told = {name: answer.headers.get(name) for name in _TELLING}
    return " ".join([text, *(f"({name}: {value:.{_MOST_CHARACTERS}})" for name, value in told.items() if value)])
