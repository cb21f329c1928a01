"""gRPC's way of questions and answers, blocking and under asyncio."""

import asyncio
import inspect
import time
from typing import Any

from export.client.bearer_token import BearerToken
from export.client.grpc_messages import CHANNEL_OPTIONS, Question, channel_credentials, failure_of, metadata_of
from export.client.tls import TLS


class GrpcTransport:
    """Asks methods of one address, in the thread that calls.

    Args:
        server: "host:port".
        token: sent with each question.
        tls: certificates; None: see `credentials`.
        credentials: `grpc.ChannelCredentials`; None: a plain channel.
    """

    def __init__(self, server: str, token: BearerToken, tls: TLS | None, credentials: Any) -> None:
        import grpc

        self._token, self._error = token, grpc.RpcError
        self._channel, self._methods = _channel(grpc, server, channel_credentials(tls, credentials))

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    async def send(self, question: Question, timeout: float) -> Any:
        """The answer of a method."""
        token = self._token.asked()
        method = getattr(self._methods, question.method)
        try:
            return method(question.message, timeout=timeout, metadata=metadata_of(token))
        except self._error as error:
            raise failure_of(error, token) from None


class AsyncGrpcTransport:
    """The same without blocking: made, used and closed inside one event loop."""

    def __init__(self, server: str, token: BearerToken, tls: TLS | None, credentials: Any) -> None:
        import grpc.aio

        self._token, self._error = token, grpc.RpcError
        self._channel, self._methods = _channel(grpc.aio, server, channel_credentials(tls, credentials))

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def sleep(self, seconds: float) -> None:
        """Let others go on meanwhile."""
        await asyncio.sleep(seconds)

    async def send(self, question: Question, timeout: float) -> Any:
        """The answer of a method."""
        token = self._token.asked()
        if inspect.isawaitable(token):
            token = await token
        method = getattr(self._methods, question.method)
        try:
            return await method(question.message, timeout=timeout, metadata=metadata_of(token))
        except self._error as error:
            raise failure_of(error, token) from None


def _channel(library: Any, server: str, credentials: Any) -> tuple[Any, Any]:
    """A channel of `grpc` or `grpc.aio`, and the service's methods on it."""
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    if credentials is None:
        channel = library.insecure_channel(server, CHANNEL_OPTIONS)
    else:
        channel = library.secure_channel(server, credentials, CHANNEL_OPTIONS)
    return channel, prediction_service_pb2_grpc.PredictionServiceStub(channel)
