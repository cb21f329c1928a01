"""HTTP that is over when its time is, and goes nowhere but where it was sent; by the standard library.

`urllib` bounds the time of each byte, not of an answer: a server that sends one now and then is never late. It also
follows redirects to whatever host and scheme a server names.
"""

import contextlib
import http.client
import socket
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any


class TimedRequest(urllib.request.Request):
    """A request whose connections can be cut, at any point of its way."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.is_over = False
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()

    def opened(self, connection: socket.socket) -> None:
        """Note a connection; `TimeoutError` when the time is over."""
        with self._lock:
            if self.is_over:
                raise TimeoutError
            # Under TLS the object loses its connection to another one.
            self._sockets.append(connection.dup())

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Cut the connections when so many seconds are over, unless the block has ended."""
        timer = threading.Timer(seconds, self._end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            for connection in self._sockets:
                connection.close()

    def _end(self) -> None:
        with self._lock:
            self.is_over = True
            for connection in self._sockets:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Connection(http.client.HTTPConnection):
    request_of: TimedRequest

    def connect(self) -> None:
        super().connect()
        self.request_of.opened(self.sock)


class _TLSConnection(http.client.HTTPSConnection, _Connection):
    """Notes its connection before the handshake."""


class _Handler(urllib.request.HTTPSHandler, urllib.request.HTTPHandler):
    def do_open(self, http_class: Any, req: Any, **http_conn_args: Any) -> Any:
        kind = _TLSConnection if http_class is http.client.HTTPSConnection else _Connection

        def opened(*arguments: Any, **options: Any) -> http.client.HTTPConnection:
            connection = kind(*arguments, **options)
            connection.request_of = req
            return connection

        return super().do_open(opened, req, **http_conn_args)  # type: ignore[arg-type]


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any, **options: Any) -> None:
        """None: the redirect is the answer, and an error."""
        return None


def make_opener(context: ssl.SSLContext | None) -> urllib.request.OpenerDirector:
    """What opens `TimedRequest`s, for any number of threads.

    Args:
        context: certificates; None: those that Python trusts.
    """
    return urllib.request.build_opener(_Handler(context=context or ssl.create_default_context()), _NoRedirects())
