"""All clients and `ask --server` give the same answers and the same errors, over the wire."""

import asyncio
import socket
import subprocess
import sys

import numpy as np
import pytest

from export.client.async_client import AsyncGrpcClient
from export.client.server_client import GrpcClient, RestClient, Retries


class AwaitedClient:
    """The client for asyncio, with an event loop of its own."""

    def __init__(self, *arguments, **settings):
        self.runner = asyncio.Runner()

        async def make():
            return AsyncGrpcClient(*arguments, **settings)

        try:
            self.client = self.runner.run(make())
        except BaseException:
            self.runner.close()
            raise

    def __call__(self, *arguments, **inputs):
        return self.runner.run(self.client(*arguments, **inputs))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.runner.run(self.client.close())
        self.runner.close()


CLIENTS = (GrpcClient, RestClient, AwaitedClient)


def address(server, kind):
    return server.rest if kind is RestClient else server.grpc


@pytest.fixture(params=CLIENTS)
def client(toy_server, request):
    with request.param(address(toy_server, request.param)) as connected:
        yield connected


def check(found, **wanted):
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        value = np.array(value, dtype=object if found[name].dtype == object else None)
        np.testing.assert_array_equal(found[name], value.astype(found[name].dtype))


def test_every_kind_of_signature_is_answered(client):
    actual = client(question=["who", "why"], text=["naïve\0", b"\xe2\x9c\x93"])
    texts = ["who: naïve\0", "why: ✓"]
    check(actual, text=texts, score=[1.5, 1.5], start=[3, 3], end=[4, 4], truncated=[False, False])
    assert [actual[name].dtype for name in ("text", "score", "start", "truncated")] == [
        object,
        "float32",
        "int32",
        bool,
    ]
    actual = client("classify", text=["a", "longer"])
    check(actual, label=["short", "long"], probabilities=[[0.25, 0.75]] * 2, truncated=[False, False])
    actual = client(signature="summarize", text=["summary"], max_new_tokens=[3], num_return_sequences=np.int64([2]))
    check(actual, text=[["sum", "sum"]], score=[[0.0, 0.0]], truncated=[False])
    # A lone output has no name in REST's answers.
    check(client("encode", input_ids=[[1, 2], [3, 4]]), last_hidden_state=[[[0.5], [1.0]], [[1.5], [2.0]]])


def test_text_that_is_not_unicode_arrives_as_bytes(client):
    actual = client(question=["bytes"], text=[b"\xff"])
    assert actual["text"].tolist() == ["bytes: �"]


@pytest.mark.parametrize(
    ("signature", "inputs", "message"),
    [
        ("translate", {"text": ["a"]}, "signature must be one of answer, classify, encode, serving_default, summarize"),
        ("classify", {}, "the inputs must be text. Received: none"),
        ("classify", {"texts": ["a"]}, "the inputs must be text. Received: texts"),
        ("answer", {"text": ["a"]}, "the inputs must be question, text. Received: text"),
        ("classify", {"text": "a"}, "text must have 1 axis. Received: text of shape ()"),
        ("classify", {"text": [["a"]]}, "text must have 1 axis. Received: text of shape (1, 1)"),
        ("classify", {"text": ["a", 1]}, "text must hold strings. Received: int"),
        ("classify", {"text": ["\ud800"]}, "text must be text in Unicode"),
        ("encode", {"input_ids": [[0.5]]}, "input_ids must be int32. Received: input_ids of dtype float64"),
        ("encode", {"input_ids": [["1"]]}, "input_ids must be int32. Received: input_ids of dtype <U1"),
        ("encode", {"input_ids": [[1], [1, 2]]}, "input_ids must be an array or lists of equal length"),
        ("encode", {"input_ids": [1, 2]}, "input_ids must have 2 axes. Received: input_ids of shape (2,)"),
        ("encode", {"input_ids": [[2**31]]}, "input_ids must fit int32. Received: input_ids up to 2147483648"),
        ("answer", {"text": ["a"], "question": ["b"] * 3}, "Received: signature=answer, question string (3,), text"),
    ],
)
def test_bad_inputs_are_errors_that_name_them(client, signature, inputs, message):
    with pytest.raises(ValueError, match="Received") as error:
        client(signature, **inputs)
    assert message in str(error.value)


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_wrong_server_model_or_version_is_told(toy_server, kind):
    def ask(where, **settings):
        with kind(where, **settings) as client:
            return client("classify", text=["a"])["label"].tolist()

    where = address(toy_server, kind)
    assert ask(where, version=3) == ask(where, label="stable") == ["short"]
    with pytest.raises(ValueError, match="Received: name=other, version=None"):
        ask(where, name="other")
    with pytest.raises(ValueError, match="Received: name=model, version=4"):
        ask(where, version=4)
    with pytest.raises(ValueError, match="Received: name=model, label=canary"):
        ask(where, label="canary")
    with pytest.raises(ValueError, match="Unrecognized servable version label: other/one"):
        ask(where, label="other/one")
    with pytest.raises(ConnectionError, match="server must be there and take requests. Received: server=localhost:1 "):
        ask("localhost:1", retries=Retries(attempts=1))
    with pytest.raises(ConnectionError):
        ask(toy_server.grpc if kind is RestClient else toy_server.rest, timeout=10, retries=Retries(attempts=1))


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_server_that_does_not_answer_is_given_up(kind):
    # Connections are made, and nobody takes them.
    with (
        socket.create_server(("localhost", 0)) as silent,
        kind(f"localhost:{silent.getsockname()[1]}", timeout=0.2) as client,
        pytest.raises(TimeoutError, match="within timeout=0.2 seconds"),
    ):
        client(text=["a"])


def test_a_request_that_waited_beyond_its_deadline_is_late_and_not_refused(client):
    with pytest.raises(TimeoutError, match="did not come to the request in time: Run.. timeout exceeded"):
        client("classify", text=["overdue"])


def test_a_request_whose_batch_another_cancels_is_sent_again(client):
    assert client("classify", text=["cancelled twice"])["label"].tolist() == ["long"]
    with pytest.raises(ConnectionError, match="cancelled the request with a batch"):
        client("classify", text=["cancelled always"])


def test_several_questions_under_asyncio_are_on_their_way_at_once(toy_server):
    async def ask():
        async with AsyncGrpcClient(toy_server.grpc) as client:
            answers = await asyncio.gather(*(client("classify", text=["a" * size]) for size in range(1, 9)))
            return [str(answer["label"][0]) for answer in answers], set(await client.signatures())

    labels, names = asyncio.run(ask())
    assert labels == ["short"] * 3 + ["long"] * 5
    assert {"serving_default", "classify"} < names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"server": "localhost"}, "server must be HOST:PORT. Received: server=localhost"),
        ({"server": "localhost:1", "name": ""}, "name must not be empty"),
        ({"server": "localhost:1", "version": 0}, "version must be positive. Received: version=0"),
        ({"server": "localhost:1", "label": ""}, "label must not be empty"),
        (
            {"server": "localhost:1", "version": 1, "label": "stable"},
            "version and label exclude each other. Received: version=1, label=stable",
        ),
        ({"server": "localhost:1", "token": 5}, "token must be a string or a function. Received: int"),
        ({"server": "localhost:1", "timeout": 0}, "timeout must be a positive number of seconds. Received: timeout=0"),
    ],
)
def test_bad_arguments_are_errors_that_name_them(arguments, message):
    for kind in CLIENTS:
        with pytest.raises(ValueError, match="Received") as error:
            kind(**arguments)
        assert message in str(error.value)


PROGRAM = """
import sys
from export.client.ask import main
try:
    status = main(sys.argv[1:])
finally:
    assert all(sys.modules.get(name) is None for name in ("keras", "tfmodels"))
    assert "--rest" not in sys.argv or "tensorflow" not in sys.modules
sys.exit(status)
"""


def ask(*arguments, **options):
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


def test_the_program_asks_a_server_over_grpc(toy_server):
    done = ask("--server", toy_server.grpc, "--question", "who", "text")
    assert (done.stdout, done.stderr) == ("who: text\n", "")


def test_the_program_asks_a_server_over_rest(toy_server, tmp_path):
    (tmp_path / "document").write_text("summary")
    rest = ("--server", toy_server.rest, "--rest")
    done = ask(*rest, "--name", "model", "--version", 3, "--question", "is it longer than that", input="text")
    assert done.stdout == "is it longer than that: text\n"
    assert done.stderr == "(the document was longer than the longest exported length and was cut)\n"
    several = ("--signature", "summarize", "--set", "max_new_tokens=3", "--set", "num_return_sequences=2")
    assert ask(*rest, *several, "--file", tmp_path / "document").stdout == "sum\nsum\n"
    assert ask("text", *rest, "--signature", "classify").stdout == "long\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: DIR"),
        (["DIR", "text", "--rest"], "error: --rest needs --server"),
        (["DIR", "text", "--tls-roots", "file"], "error: --tls-roots needs --server"),
        (["DIR", "text", "--server", "localhost:1"], "DIR and --server exclude each other"),
        (["text", "--file", "file", "--server", "localhost:1"], "text and --file exclude each other"),
        (["text", "--server", "localhost:1", "--set", "a"], "must be NAME=NUMBER. Received: 'a'"),
    ],
)
def test_bad_options_are_told(arguments, message, capsys):
    from export.client.ask import main

    with pytest.raises(SystemExit):
        main(arguments)
    assert message in capsys.readouterr().err
