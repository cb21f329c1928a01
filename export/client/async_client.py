"""Ask a model that TensorFlow Serving serves, over gRPC under asyncio; the same questions as the blocking client's."""

from collections.abc import Awaitable, Callable
from typing import Any, Self

import numpy as np

from export.client.bearer_token import BearerToken
from export.client.exchange import Exchange
from export.client.grpc_messages import GrpcMessages
from export.client.grpc_transport import AsyncGrpcTransport
from export.client.retries import Retries
from export.client.served_model import DEFAULT_NAME, ServedModel
from export.client.signature import Signature
from export.client.tls import TLS


class AsyncGrpcClient:
    """Client for asyncio: `await client(text=[...])`. It is made, used and closed inside one event loop.

    A task that is cancelled cancels its request on the server.

    Args:
        token: as of `GrpcClient`; the function may be a coroutine's.
        server, name, version, timeout, credentials, label, tls, retries: see `export.client.server_client.GrpcClient`,
            as for errors.
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
        token: str | Callable[[], str | Awaitable[str]] | None = None,
        tls: TLS | None = None,
        retries: Retries | None = None,
    ) -> None:
        model = ServedModel(server, name, version, label, timeout)
        messages = GrpcMessages(model)
        self._transport = AsyncGrpcTransport(server, BearerToken(token), tls, credentials)
        self._exchange = Exchange(model, messages, self._transport, retries or Retries())

    async def __call__(self, signature: str = "serving_default", **inputs: Any) -> dict[str, np.ndarray]:
        """Return the answers to a batch, by output; arguments and errors as of `GrpcClient`."""
        return await self._exchange.call(signature, inputs)

    async def signatures(self) -> dict[str, Signature]:
        """Inputs and outputs of each served signature."""
        return await self._exchange.signatures()

    async def close(self) -> None:
        """Close the channel."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()
