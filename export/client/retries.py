"""When to ask a server again that is not there; needs the standard library alone."""

import random
import threading
from dataclasses import dataclass

# Not Python's common generator: programs that seed it alike would come back together.
_DRAWS = random.SystemRandom()


@dataclass(frozen=True)
class Retries:
    """How often a request is sent again while its server is UNAVAILABLE: absent, starting, or with a full queue.

    Between two tries a client waits for a random time up to `first_wait` seconds, then up to twice as long, and so on
    up to `longest_wait`: clients that failed together do not come back together. No wait goes beyond the request's
    own timeout. The budget is shared by all requests of a client: each further try costs 1, each answer brings back
    `refund`. A server that is down is so asked little more often than one that is up.

    Attributes:
        attempts: tries of one request at most, the first included; 1: none is sent again.
        first_wait: seconds.
        longest_wait: seconds.
        budget: further tries in a row at most, of all requests together.
        refund: of the budget, with each answer.

    Raises:
        ValueError: fewer than 1 attempt, or a negative number.

    >>> Retries(attempts=0)
    Traceback (most recent call last):
    ValueError: retries.attempts must be at least 1. Received: attempts=0
    """

    attempts: int = 4
    first_wait: float = 0.2
    longest_wait: float = 5.0
    budget: float = 20.0
    refund: float = 0.1

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"retries.attempts must be at least 1. Received: attempts={self.attempts}")
        for name in ("first_wait", "longest_wait", "budget", "refund"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"retries.{name} must be 0 or more. Received: {name}={getattr(self, name)}")

    def wait(self, failures: int) -> float:
        """Seconds, drawn, before the try behind so many failures."""
        return _DRAWS.uniform(0, min(self.first_wait * 2 ** (failures - 1), self.longest_wait))


class RetryBudget:
    """What is left of a client's budget; several threads may use it."""

    def __init__(self, retries: Retries) -> None:
        self._retries, self._left, self._lock = retries, retries.budget, threading.Lock()

    def take(self) -> bool:
        """Whether one more try is left; if so, it is taken."""
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            return True

    def answered(self) -> None:
        """Bring back a part for an answer."""
        with self._lock:
            self._left = min(self._left + self._retries.refund, self._retries.budget)
