"""The requests to a served model, written once for blocking clients and asyncio.

A transport's `send` and `sleep` are coroutines. Those of a blocking client never wait for an event loop, and `finished`
runs what awaits them.
"""

import time
from collections.abc import Coroutine, Mapping
from typing import Any, Protocol, TypeVar

import numpy as np

from export.client.retries import Retries, RetryBudget
from export.client.served_model import ServedModel
from export.client.server_errors import Failure, error_of
from export.client.signature import Signature, find_signature

Result = TypeVar("Result")

# What the parts of an answer may raise that somebody else has made up.
_STRANGE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, MemoryError)
# Of a request whose batch others cancel, within its own time.
_MOST_ATTEMPTS_OF_A_BATCH = 4


class Messages(Protocol):
    """The form of questions and answers; of an answer of another form they raise what comes."""

    def metadata(self) -> Any:
        """A question for the signatures."""

    def signatures(self, answer: Any) -> dict[str, Signature]:
        """The signatures in its answer."""

    def predict(self, name: str, arrays: Mapping[str, np.ndarray]) -> Any:
        """A question to a signature."""

    def outputs(self, signature: Signature, answer: Any) -> dict[str, np.ndarray]:
        """The outputs in its answer."""


class Transport(Protocol):
    """The way of questions and answers."""

    async def send(self, request: Any, timeout: float) -> Any:
        """The answer to a question, or a `Failure`."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class Exchange:
    """Questions to one model, each sent again as long as that helps.

    Args:
        model: whom to ask.
        messages: the form of questions.
        transport: their way.
        retries: of an absent server.
    """

    def __init__(self, model: ServedModel, messages: Messages, transport: Transport, retries: Retries) -> None:
        self._model, self._messages, self._transport = model, messages, transport
        self._retries, self._budget = retries, RetryBudget(retries)
        self._signatures: dict[str, Signature] = {}

    async def call(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The outputs of a signature for inputs that are checked before they are sent."""
        end = self._end()
        fields = find_signature(await self.signatures(end), signature)
        return await self.predict(signature, fields, fields.arrays(inputs), end)

    async def signatures(self, end: float | None = None) -> dict[str, Signature]:
        """The signatures, asked for once."""
        if not self._signatures:
            end = self._end() if end is None else end
            answer = await self._ask(self._messages.metadata(), "a question for the signatures", end)
            try:
                self._signatures = self._messages.signatures(answer)
            except _STRANGE as error:
                raise self._strange(error) from None
        return self._signatures

    async def predict(
        self, name: str, fields: Signature, arrays: Mapping[str, np.ndarray], end: float | None = None
    ) -> dict[str, np.ndarray]:
        """The outputs of a signature for arrays as they are."""
        end = self._end() if end is None else end
        answer = await self._ask(self._messages.predict(name, arrays), _described(name, arrays), end)
        try:
            return fields.checked_answers(self._messages.outputs(fields, answer))
        except _STRANGE as error:
            raise self._strange(error) from None

    def _strange(self, error: Exception) -> ConnectionError:
        reason = f"{type(error).__name__}: {error!s:.300}"
        rule = "server must be TensorFlow Serving, and answer as the signatures of an export"
        return ConnectionError(f"{rule}. Received: server={self._model.server} ({reason})")

    def _end(self) -> float:
        return time.monotonic() + self._model.timeout

    async def _ask(self, request: Any, sent: str, end: float) -> Any:
        """The answer to a question; `end` is the time, by `time.monotonic`, behind which nobody waits for it."""
        absences = cancellations = 0
        while True:
            left = end - time.monotonic()
            if left <= 0:
                failure = Failure("DEADLINE_EXCEEDED", "")
                break
            try:
                answer = await self._transport.send(request, left)
            except Failure as latest:
                failure = latest
            else:
                self._budget.answered()
                return answer
            if failure.code == "CANCELLED" and cancellations < _MOST_ATTEMPTS_OF_A_BATCH - 1:
                # The deadline of another request ended the batch that they shared.
                cancellations += 1
            elif failure.code == "UNAVAILABLE" and absences < self._retries.attempts - 1:
                absences += 1
                wait = self._retries.wait(absences)
                if time.monotonic() + wait >= end or not self._budget.take():
                    break
                await self._transport.sleep(wait)
            else:
                break
        raise error_of(failure, self._model, sent) from None


def finished(work: Coroutine[Any, Any, Result]) -> Result:
    """The result of a coroutine that waits for no event loop."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    work.close()
    raise RuntimeError("a blocking transport must not wait for an event loop")


def _described(signature: str, arrays: Mapping[str, np.ndarray]) -> str:
    names = {key: "string" if array.dtype == object else array.dtype.name for key, array in arrays.items()}
    return f"signature={signature}, " + ", ".join(f"{key} {names[key]} {arrays[key].shape}" for key in sorted(arrays))
