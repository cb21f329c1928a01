"""Ask a model that TensorFlow Serving serves, over gRPC or REST, by clients with the same methods.

Neither keras nor tfmodels is imported here. The REST client needs NumPy alone. The gRPC client needs
`tensorflow-serving-api` (`pip install tfmodels[serve]`) and with it TensorFlow, which imports keras by itself
if it is installed; `export.client.saved_model_client.import_server_libraries` keeps it out.
"""

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np

from export.client.bearer_token import BearerToken
from export.client.exchange import Exchange, finished
from export.client.grpc_messages import GrpcMessages
from export.client.grpc_transport import GrpcTransport
from export.client.rest_messages import RestMessages
from export.client.rest_transport import RestTransport
from export.client.retries import Retries
from export.client.served_model import DEFAULT_NAME, ServedModel
from export.client.signature import Signature
from export.client.tls import TLS

__all__ = ["DEFAULT_NAME", "TLS", "Client", "GrpcClient", "RestClient", "Retries"]

Token = str | Callable[[], str] | None


class Client:
    """Base class of the blocking clients; use `GrpcClient` or `RestClient`. Several threads may share one.

    The first call asks the server for its signatures, once: inputs are checked before they are sent.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __call__(self, signature: str = "serving_default", **inputs: Any) -> dict[str, np.ndarray]:
        """Return the answers to a batch, by output; strings as `str` in arrays of objects.

        Args:
            signature: a signature's name, such as "serving_default", "summarize", "generate", "classify" or "answer".
            **inputs: lists or arrays, one row per document.

        Raises:
            ValueError: other inputs than the signature's, inputs that the server refuses, or a name, version, label or
                signature that it does not serve.
            ConnectionError: a server that is absent, takes no requests now, failed, or is not trusted under TLS.
            PermissionError: a token that is refused, or is missing.
            TimeoutError: no answer in time.
        """
        return finished(self._exchange.call(signature, inputs))

    def ask_unchecked(self, signature: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """As a call, with arrays (strings as bytes) that the server alone checks."""
        return finished(self._exchange.predict(signature, self.signatures()[signature], arrays))

    def signatures(self) -> dict[str, Signature]:
        """Inputs and outputs of each served signature; errors as in a call."""
        return finished(self._exchange.signatures())

    def close(self) -> None:
        """Give the connection back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class GrpcClient(Client):
    """Client that asks over gRPC (the server's `--port`, 8500 by convention), with no limit to the size of a message.

    Args:
        server: "host:port".
        name: the model's name on the server.
        version: its version; None: the label's, or the server's choice, normally the highest.
        timeout: seconds to wait for an answer, further tries included. It is the request's deadline, at which the
            server stops too.
        credentials: `grpc.ChannelCredentials`, in place of `tls`.
        label: a version's name in the server's `models.config`, such as "stable", in place of its number.
        token: sent as `authorization: Bearer`, or a function that is asked for one before each request. Without TLS
            whoever reads the network reads it.
        tls: certificates; None: a plain channel.
        retries: of requests to a server that is not there; None: `Retries()`.

    Raises:
        ValueError: a server without a port, an empty name or label, a version or timeout that is not positive, or
            arguments that exclude each other.
        ImportError: `tensorflow-serving-api` is not installed.
    """

    def __init__(
        self,
        server: str,
        name: str = DEFAULT_NAME,
        version: int | None = None,
        timeout: float = 60.0,
        credentials: Any = None,
        *,
        label: str | None = None,
        token: Token = None,
        tls: TLS | None = None,
        retries: Retries | None = None,
    ) -> None:
        model = ServedModel(server, name, version, label, timeout)
        messages = GrpcMessages(model)
        self._transport = GrpcTransport(server, BearerToken(token), tls, credentials)
        super().__init__(Exchange(model, messages, self._transport, retries or Retries()))

    def close(self) -> None:
        """Close the channel."""
        self._transport.close()


class RestClient(Client):
    """Client that asks over REST (the server's `--rest_api_port`, 8501 by convention) with the standard library.

    Args:
        server: "host:port", or an address with "http://" or "https://" and possibly a path.
        name, version, label, timeout, token, tls, retries: see `GrpcClient`; the server is not told of the timeout.
    """

    def __init__(
        self,
        server: str,
        name: str = DEFAULT_NAME,
        version: int | None = None,
        timeout: float = 60.0,
        *,
        label: str | None = None,
        token: Token = None,
        tls: TLS | None = None,
        retries: Retries | None = None,
    ) -> None:
        model = ServedModel(server, name, version, label, timeout)
        transport = RestTransport(server, BearerToken(token), tls)
        super().__init__(Exchange(model, RestMessages(model), transport, retries or Retries()))
