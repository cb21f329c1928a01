"""A server that is away is asked again, for as long as the request, its tries and the budget allow."""

import contextlib
import socket
import threading
import time

import numpy as np
import pytest
from listening import connections_go_to

from export.client.retries import Retries, RetryBudget
from export.client.server_client import GrpcClient, RestClient

CLIENTS = (GrpcClient, RestClient)
QUICK = {"first_wait": 0.01, "longest_wait": 0.02}


def address(server, kind):
    return server.rest if kind is RestClient else server.grpc


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_server_that_is_away_for_the_first_tries_answers_the_next(toy_server, kind):
    with kind(address(toy_server, kind), retries=Retries(**QUICK)) as client:
        assert client("classify", text=["away twice"])["label"].tolist() == ["long"]
        with pytest.raises(ConnectionError, match="must be there and take requests.*Servable is not available"):
            client("classify", text=["away always"])
    with (
        kind(address(toy_server, kind), retries=Retries(attempts=1)) as client,
        pytest.raises(ConnectionError, match="must be there"),
    ):
        client("classify", text=["away twice"])


@contextlib.contextmanager
def later(target, seconds):
    """The address of a port that refuses connections at first, and leads to `target` after some seconds."""
    host, _, port = target.partition(":")

    def pump(source, sink):
        with contextlib.suppress(OSError), sink:
            while data := source.recv(65536):
                sink.sendall(data)

    def lead(connection):
        ends = connection, socket.create_connection((host, int(port)))
        for pair in (ends, ends[::-1]):
            threading.Thread(target=pump, args=pair, daemon=True).start()

    with connections_go_to(lead, after=seconds) as where:
        yield where


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_server_that_starts_meanwhile_is_found(toy_server, kind):
    patient = Retries(attempts=100, first_wait=0.1, longest_wait=0.1, budget=100)
    with later(address(toy_server, kind), 0.4) as where, kind(where, retries=patient) as client:
        assert client("classify", text=["a"])["label"].tolist() == ["short"]


@pytest.mark.parametrize("kind", CLIENTS)
def test_no_try_goes_beyond_the_requests_own_time(kind):
    endless = Retries(attempts=10_000, first_wait=0.05, longest_wait=0.05, budget=10_000)
    started = time.monotonic()
    # The last try may end by its time.
    with kind("localhost:1", timeout=0.5, retries=endless) as client, pytest.raises((ConnectionError, TimeoutError)):
        client(text=["a"])
    assert 0.3 < time.monotonic() - started < 0.75


def test_only_what_another_try_may_mend_is_sent_again(toy_server):
    asked = []

    def token():
        asked.append(1)
        return "a-token"

    with GrpcClient(toy_server.grpc, token=token) as client:
        client.signatures()
        for text, error in (("overdue", TimeoutError), ("a", None)):
            asked.clear()
            with pytest.raises(error) if error else contextlib.nullcontext():
                client("classify", text=[text])
            assert len(asked) == 1
        asked.clear()
        with pytest.raises(ValueError, match="refused"):
            client.ask_unchecked("encode", {"input_ids": np.float32([[1]])})
        assert len(asked) == 1


def test_waits_grow_and_are_drawn():
    retries = Retries(first_wait=1.0, longest_wait=3.0)
    longest = [max(retries.wait(failures) for _ in range(1000)) for failures in (1, 2, 3, 9)]
    assert longest == pytest.approx([1, 2, 3, 3], rel=0.02)
    assert min(retries.wait(9) for _ in range(1000)) < 0.05


def test_a_budget_bounds_the_tries_of_all_requests():
    budget = RetryBudget(Retries(budget=3, refund=0.5))
    assert [budget.take() for _ in range(4)] == [True, True, True, False]
    budget.answered()
    assert not budget.take()
    budget.answered()
    assert [budget.take(), budget.take()] == [True, False]
    for _ in range(100):
        budget.answered()
    assert [budget.take() for _ in range(4)] == [True, True, True, False]


def test_all_requests_of_a_client_share_its_budget(toy_server):
    asked = []
    with RestClient(
        toy_server.rest, token=lambda: asked.append(1) or "a", retries=Retries(**QUICK, budget=4)
    ) as client:
        client.signatures()
        for tries in (4, 2, 1):
            asked.clear()
            with pytest.raises(ConnectionError):
                client("classify", text=["away always"])
            assert len(asked) == tries


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attempts": 0}, "retries.attempts must be at least 1. Received: attempts=0"),
        ({"first_wait": -1}, "retries.first_wait must be 0 or more. Received: first_wait=-1"),
        ({"budget": float("nan")}, "retries.budget must be 0 or more. Received: budget=nan"),
    ],
)
def test_bad_settings_are_errors_that_name_them(settings, message):
    with pytest.raises(ValueError, match="Received") as error:
        Retries(**settings)
    assert str(error.value) == message
