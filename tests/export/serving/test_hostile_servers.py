"""Whatever a server does, a client raises one of its own errors, in its own time."""

import contextlib
import gzip
import json
import threading
import time
from concurrent import futures

import pytest
from listening import connections_go_to

from export.client.server_client import TLS, GrpcClient, RestClient, Retries

ONCE = Retries(attempts=1)
FIELD = {"dtype": "DT_STRING", "tensor_shape": {"dim": [{"size": "-1"}]}}
SCORE = {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}]}}
NUMBER = {"dtype": "DT_INT32", "tensor_shape": {"dim": [{"size": "-1"}]}}
SIGNATURE = {"inputs": {"text": FIELD}, "outputs": {"text": FIELD, "score": SCORE, "start": NUMBER}}
GOOD = {"text": ["a"], "score": [0.5], "start": [1]}


def page(content, status="200 OK", length=None, headers=()):
    """The bytes of an HTTP answer."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def metadata(signature=SIGNATURE):
    return page({"metadata": {"signature_def": {"signature_def": {"serving_default": signature}}}})


@contextlib.contextmanager
def speaking(*answers, pause=0.0):
    """The address of a server that gives one answer to each connection, the last one again and again.

    With a pause it sends the last one byte by byte.
    """
    given = list(answers)

    def answer(connection):
        with connection, contextlib.suppress(OSError):
            connection.recv(1 << 20)
            content = given.pop(0) if len(given) > 1 else given[0]
            if not pause or len(given) > 1:
                connection.sendall(content)
                return
            for place in range(len(content)):
                connection.sendall(content[place : place + 1])
                time.sleep(pause)

    with connections_go_to(lambda one: threading.Thread(target=answer, args=[one], daemon=True).start()) as where:
        yield where


@pytest.mark.parametrize(
    "answer",
    {
        "nothing": b"",
        "no HTTP": b"\x00\x16\x03 who is there\r\n\r\n",
        "a page": page(b"<html>login</html>"),
        "half an answer": page({"outputs": GOOD}, length=10_000),
        "a bomb": page(gzip.compress(b" " * 10_000_000), headers=["Content-Encoding: gzip"]),
        "brackets": page(b"[" * 200_000),
        "digits": page(b'{"outputs": ' + b"9" * 5000 + b"}"),
        "another object": page({"outputs": [1, 2]}),
        "no text": page({"outputs": {**GOOD, "text": None}}),
        "numbers for text": page({"outputs": {**GOOD, "text": [1]}}),
        "one text": page({"outputs": {**GOOD, "text": "a"}}),
        "rows of several lengths": page({"outputs": {**GOOD, "text": [["a"], ["b", "c"]]}}),
        "too large a number": page({"outputs": {**GOOD, "start": [2**40]}}),
        "text for a number": page({"outputs": {**GOOD, "score": ["none"]}}),
        "an output too few": page({"outputs": {"text": ["a"], "score": [0.5]}}),
        "a teapot": page(b"\xff\x1b[2J", "418 I'm a teapot"),
        "half a refusal": page(b"not now", "503 Busy", length=1000),
    }.items(),
    ids=lambda answer: answer[0],
)
def test_an_answer_of_another_form_is_an_error_of_the_connection(answer):
    with (
        speaking(metadata(), answer[1]) as where,
        RestClient(where, retries=ONCE, timeout=20) as client,
        pytest.raises(ConnectionError, match="server"),
    ):
        client(text=["a"])


@pytest.mark.parametrize(
    "signature",
    [
        {"inputs": {"text": {}}, "outputs": {}},
        {"inputs": {"text": {**FIELD, "dtype": "DT_RESOURCE"}}, "outputs": {}},
        {"inputs": 5, "outputs": {}},
        {"inputs": {"text": {**FIELD, "tensor_shape": 7}}, "outputs": {}},
        7,
    ],
)
def test_signatures_of_another_form_are_an_error_of_the_connection(signature):
    with (
        speaking(metadata(signature)) as where,
        RestClient(where, retries=ONCE) as client,
        pytest.raises(ConnectionError, match="server must be TensorFlow Serving"),
    ):
        client(text=["a"])


@pytest.mark.parametrize("answer", [page({"outputs": GOOD}), page(b"x" * 1000, "503 Busy")], ids=["answer", "refusal"])
def test_a_server_that_sends_a_byte_now_and_then_is_given_up_in_time(answer):
    with speaking(metadata(), answer, pause=0.05) as where:
        started = time.monotonic()
        with RestClient(where, timeout=0.4, retries=ONCE) as client, pytest.raises(TimeoutError, match="timeout=0.4"):
            client(text=["a"])
        assert 0.3 < time.monotonic() - started < 2


def test_a_handshake_that_never_ends_is_given_up_in_time():
    with speaking(b"\x16\x03\x03\x40\x00" + b"\0" * 1000, pause=0.05) as where:
        started = time.monotonic()
        with RestClient(where, timeout=0.4, retries=ONCE, tls=TLS()) as client, pytest.raises(TimeoutError):
            client(text=["a"])
        assert 0.3 < time.monotonic() - started < 2


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
@pytest.mark.parametrize("asked", [1, 2])
def test_a_redirect_is_not_followed_and_its_target_told(status, asked):
    with speaking(metadata(), page({"outputs": GOOD})) as elsewhere:
        redirect = page(b"", status, headers=[f"Location: http://{elsewhere}/v1/models/model/metadata"])
        with (
            speaking(*[metadata()] * (asked - 1), redirect) as where,
            RestClient(where, retries=ONCE) as client,
            pytest.raises(ConnectionError, match=rf"HTTP status 30\d: \(Location: http://{elsewhere}/v1"),
        ):
            client(text=["a"])


def test_a_refusal_that_says_when_to_come_again_is_told():
    refusal = page({"error": "too many"}, "429 Too Many Requests", headers=["Retry-After: 17"])
    with (
        speaking(metadata(), refusal) as where,
        RestClient(where) as client,
        pytest.raises(ConnectionError, match=r"RESOURCE_EXHAUSTED: too many \(Retry-After: 17\)"),
    ):
        client(text=["a"])


@contextlib.contextmanager
def grpc_server(definitions, outputs):
    """The address of a gRPC server with made-up answers: an `Any` of signatures, and a message of outputs."""
    import grpc
    from tensorflow_serving.apis import get_model_metadata_pb2, prediction_service_pb2_grpc

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def GetModelMetadata(self, request, context):
            answer = get_model_metadata_pb2.GetModelMetadataResponse()
            answer.metadata["signature_def"].CopyFrom(definitions)
            return answer

        def Predict(self, request, context):
            return outputs

    server = grpc.server(futures.ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    try:
        yield f"localhost:{port}"
    finally:
        server.stop(None)


def packed_signatures():
    from google.protobuf import any_pb2
    from tensorflow.core.protobuf import meta_graph_pb2
    from tensorflow_serving.apis import get_model_metadata_pb2

    definitions = get_model_metadata_pb2.SignatureDefMap()
    signature = meta_graph_pb2.SignatureDef()
    for side, name, dtype in (("inputs", "text", 7), ("outputs", "text", 7), ("outputs", "score", 1)):
        getattr(signature, side)[name].dtype = dtype
        getattr(signature, side)[name].tensor_shape.dim.add(size=-1)
    definitions.signature_def["serving_default"].CopyFrom(signature)
    packed = any_pb2.Any()
    packed.Pack(definitions)
    return packed


def test_messages_of_another_form_are_an_error_of_the_connection():
    import tensorflow as tf
    from google.protobuf import any_pb2
    from tensorflow_serving.apis import predict_pb2

    good = {"text": tf.make_tensor_proto([b"a"]), "score": tf.make_tensor_proto([0.5])}

    def answering(**changes):
        answer = predict_pb2.PredictResponse()
        for name, proto in {**good, **changes}.items():
            if proto is not None:
                answer.outputs[name].CopyFrom(proto)
        return answer

    huge = tf.make_tensor_proto([0.5])
    huge.tensor_shape.dim[0].size = 1 << 60
    short = tf.make_tensor_proto([0.5, 0.25])
    short.tensor_content = b"\0" * 7
    unknown = tf.make_tensor_proto([0.5])
    unknown.dtype = 20
    for outputs in (
        answering(score=None),
        answering(score=tf.make_tensor_proto([1])),
        answering(score=tf.make_tensor_proto(0.5)),
        answering(score=huge),
        answering(score=short),
        answering(score=unknown),
        answering(text=tf.make_tensor_proto([0.5])),
    ):
        with (
            grpc_server(packed_signatures(), outputs) as where,
            GrpcClient(where, retries=ONCE) as client,
            pytest.raises(ConnectionError, match="answer as the signatures of an export"),
        ):
            client(text=["a"])
    with grpc_server(packed_signatures(), answering()) as where, GrpcClient(where) as client:
        assert client(text=["a"])["text"].tolist() == ["a"]
    broken = packed_signatures()
    broken.value = broken.value[:-3] + b"\xff\xff\xff"
    for definitions in (any_pb2.Any(), any_pb2.Any(type_url="type.googleapis.com/google.protobuf.Any"), broken):
        with (
            grpc_server(definitions, answering()) as where,
            GrpcClient(where, retries=ONCE) as client,
            pytest.raises(ConnectionError, match="server must be TensorFlow Serving"),
        ):
            client(text=["a"])
