"""Ask a model that TensorFlow Serving serves, over gRPC or REST, by clients with the same methods.

Neither keras nor tfmodels is imported here. The REST client needs NumPy alone. The gRPC client needs
`tensorflow-serving-api` (`pip install tfmodels[serve]`) and with it TensorFlow, which imports keras by itself
if it is installed; `export.client.saved_model_client.import_server_libraries` keeps it out.
"""

import base64
import contextlib
import http.client
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import numpy as np

from export.client.signature import Field, Signature, decoded_outputs, find_signature
from export.client.strict_json import dumped

DEFAULT_NAME = "model"
"""The stock image's default name."""

_REQUEST_AT_FAULT = ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE")
# What a batching queue says of requests whose deadline has passed; other resources may be exhausted as well.
_WAITED_TOO_LONG = "timeout exceeded while waiting in batching queue"
# Of a request whose batch others cancel, within its own time.
_MOST_ATTEMPTS = 4
_LEAST_SECONDS = 0.1
_HTTP_CODES = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    412: "FAILED_PRECONDITION",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class _BatchCancelledError(ConnectionError):
    """The batch of a request was cancelled."""


class Client:
    """Base class of the clients; use `GrpcClient` or `RestClient`.

    The first call asks the server for its signatures, once: inputs are checked before they are sent.

    Args:
        server: "host:port".
        name: the model's name on the server.
        version: its version; None: the server's choice, normally the highest.
        timeout: seconds to wait for an answer. Over gRPC it is the request's deadline, at which the server stops too.

    Raises:
        ValueError: a server without a port, an empty name, a version or timeout that is not positive.
    """

    def __init__(
        self, server: str, name: str = DEFAULT_NAME, version: int | None = None, timeout: float = 60.0
    ) -> None:
        if not re.fullmatch(r"(https?://)?[^\s/]+:\d+(/\S*)?", server):
            raise ValueError(f"server must be HOST:PORT. Received: server={server}")
        if not name:
            raise ValueError("name must not be empty. Received: name=''")
        if version is not None and version < 1:
            raise ValueError(f"version must be positive. Received: version={version}")
        if not timeout > 0:
            raise ValueError(f"timeout must be a positive number of seconds. Received: timeout={timeout}")
        self.server = server
        self.name = name
        self.version = version
        self.timeout = timeout
        self._signatures: dict[str, Signature] = {}

    def __call__(self, signature: str = "serving_default", **inputs: Any) -> dict[str, np.ndarray]:
        """Return the answers to a batch, by output; strings as `str` in arrays of objects.

        Args:
            signature: a signature's name, such as "serving_default", "summarize", "generate", "classify" or "answer".
            **inputs: lists or arrays, one row per document.

        Raises:
            ValueError: other inputs than the signature's, inputs that the server refuses, or a name, version or
                signature that it does not serve.
            ConnectionError: a server that is absent, takes no requests now, or failed.
            TimeoutError: no answer in time.
        """
        fields = find_signature(self.signatures(), signature)
        arrays, end = fields.arrays(inputs), time.monotonic() + self.timeout
        for _ in range(_MOST_ATTEMPTS - 1):
            try:
                return self._predict(signature, fields, arrays, end - time.monotonic())
            except _BatchCancelledError:
                # The deadline of another request ended the batch that they shared.
                if time.monotonic() >= end:
                    break
        return self._predict(signature, fields, arrays, max(end - time.monotonic(), _LEAST_SECONDS))

    def signatures(self) -> dict[str, Signature]:
        """Inputs and outputs of each served signature; errors as in a call."""
        if not self._signatures:
            self._signatures = self._ask_signatures()
        return self._signatures

    def close(self) -> None:
        """Give the connection back."""

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _ask_signatures(self) -> dict[str, Signature]:
        raise NotImplementedError

    def _predict(
        self, name: str, signature: Signature, arrays: Mapping[str, np.ndarray], timeout: float
    ) -> dict[str, np.ndarray]:
        raise NotImplementedError

    def _fail(self, code: str, message: str, sent: str) -> NoReturn:
        """Raise the error for a status code, by gRPC's names."""
        if code == "DEADLINE_EXCEEDED":
            raise TimeoutError(f"no answer from server={self.server} within timeout={self.timeout:g} seconds")
        if code == "RESOURCE_EXHAUSTED" and _WAITED_TOO_LONG in message:
            raise TimeoutError(f"server={self.server} did not come to the request in time: {message.strip()}")
        if code == "NOT_FOUND":
            raise ValueError(
                "name and version must be those of a served model. "
                f"Received: name={self.name}, version={self.version} ({message})"
            )
        message = message.strip() or "it gave no reason"
        if code in _REQUEST_AT_FAULT:
            # The server often names an op of the graph instead of an input, and the op's place in later lines.
            raise ValueError(f"the server refused the request: {message.splitlines()[0]}. Received: {sent}")
        if code == "CANCELLED":
            raise _BatchCancelledError(f"server={self.server} cancelled the request with a batch: {message}")
        if code == "UNAVAILABLE":
            raise ConnectionError(f"server must be there and take requests. Received: server={self.server} ({message})")
        raise ConnectionError(f"the server failed with {code}: {message}. Received: {sent}")


class GrpcClient(Client):
    """Client that asks over gRPC (the server's `--port`, 8500 by convention), with no limit to the size of a message.

    Args:
        server, name, version, timeout: see `Client`.
        credentials: `grpc.ChannelCredentials` for a server behind TLS; None: a plain channel.

    Raises:
        ImportError: `tensorflow-serving-api` is not installed.
    """

    def __init__(
        self,
        server: str,
        name: str = DEFAULT_NAME,
        version: int | None = None,
        timeout: float = 60.0,
        credentials: Any = None,
    ) -> None:
        super().__init__(server, name, version, timeout)
        try:
            import grpc
            from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc
        except ImportError as error:
            raise ImportError(f"gRPC needs tensorflow-serving-api: pip install 'tfmodels[serve]' ({error})") from None
        self._grpc = grpc
        self._predict_request = predict_pb2.PredictRequest
        self._metadata = get_model_metadata_pb2
        # 4 MB is the default limit.
        options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        if credentials is None:
            self._channel = grpc.insecure_channel(server, options)
        else:
            self._channel = grpc.secure_channel(server, credentials, options)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def _ask_signatures(self) -> dict[str, Signature]:
        from tensorflow.core.framework import types_pb2

        def fields(tensors: Any) -> dict[str, Field]:
            return {
                name: Field.of(
                    types_pb2.DataType.Name(info.dtype),
                    None if info.tensor_shape.unknown_rank else len(info.tensor_shape.dim),
                )
                for name, info in tensors.items()
            }

        request = self._metadata.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._address(request.model_spec)
        with self._errors("a question for the signatures"):
            answer = self._stub.GetModelMetadata(request, timeout=self.timeout)
        definitions = self._metadata.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(definitions)
        # Signatures without inputs belong to the loader.
        return {
            name: Signature(fields(one.inputs), fields(one.outputs))
            for name, one in definitions.signature_def.items()
            if one.inputs
        }

    def _predict(
        self, name: str, signature: Signature, arrays: Mapping[str, np.ndarray], timeout: float
    ) -> dict[str, np.ndarray]:
        import tensorflow as tf

        request = self._predict_request()
        self._address(request.model_spec)
        request.model_spec.signature_name = name
        for key, array in arrays.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(array, shape=array.shape))
        with self._errors(_describe_request(name, arrays)):
            answer = self._stub.Predict(request, timeout=timeout)
        return decoded_outputs({key: tf.make_ndarray(value) for key, value in answer.outputs.items()})

    def _address(self, spec: Any) -> None:
        spec.name = self.name
        if self.version is not None:
            spec.version.value = self.version

    @contextlib.contextmanager
    def _errors(self, sent: str) -> Iterator[None]:
        try:
            yield
        except self._grpc.RpcError as error:
            code, message = error.code().name, error.details()
        else:
            return
        self._fail(code, message, sent)


class RestClient(Client):
    """Client that asks over REST (the server's `--rest_api_port`, 8501 by convention) with the standard library.

    Args:
        server: "host:port", or an address with "http://" or "https://" and possibly a path.
        name, version, timeout: see `Client`.
    """

    def __init__(
        self, server: str, name: str = DEFAULT_NAME, version: int | None = None, timeout: float = 60.0
    ) -> None:
        super().__init__(server, name, version, timeout)
        address = server if server.startswith(("http://", "https://")) else f"http://{server}"
        model = urllib.parse.quote(name, safe="")
        suffix = "" if version is None else f"/versions/{version}"
        self._url = f"{address.rstrip('/')}/v1/models/{model}{suffix}"

    def _ask_signatures(self) -> dict[str, Signature]:
        def fields(tensors: Mapping[str, Any]) -> dict[str, Field]:
            return {
                name: Field.of(
                    info["dtype"],
                    None if info["tensor_shape"].get("unknown_rank") else len(info["tensor_shape"].get("dim", [])),
                )
                for name, info in tensors.items()
            }

        answer = self._send("/metadata", None, "a question for the signatures")
        try:
            definitions = answer["metadata"]["signature_def"]["signature_def"]
            return {
                name: Signature(fields(one["inputs"]), fields(one["outputs"]))
                for name, one in definitions.items()
                if one.get("inputs")
            }
        except (KeyError, TypeError, AttributeError):
            raise ConnectionError(f"server must be TensorFlow Serving. Received: server={self.server}") from None

    def _predict(
        self, name: str, signature: Signature, arrays: Mapping[str, np.ndarray], timeout: float
    ) -> dict[str, np.ndarray]:
        columns = {key: _as_json(array) for key, array in arrays.items()}
        body = dumped({"signature_name": name, "inputs": columns}).encode("ascii")
        answer = self._send(":predict", body, _describe_request(name, arrays), timeout)
        try:
            outputs = answer["outputs"]
            if len(signature.outputs) == 1:
                # A lone output comes without its name.
                outputs = dict.fromkeys(signature.outputs, outputs)
            return {key: np.array(outputs[key], dtype=field.dtype) for key, field in signature.outputs.items()}
        except (KeyError, TypeError, ValueError):
            raise ConnectionError(f"server must answer with {', '.join(signature.outputs)}. It did not") from None

    def _send(self, path: str, body: bytes | None, sent: str, timeout: float | None = None) -> dict[str, Any]:
        request = urllib.request.Request(self._url + path, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=timeout or self.timeout) as answer:
                # The stock server writes a text's bytes unchanged.
                content = json.loads(answer.read().decode("utf-8", errors="replace"))
        except urllib.error.HTTPError as error:
            with error:
                code, message = _HTTP_CODES.get(error.code, f"HTTP status {error.code}"), _reason(error.read())
        except TimeoutError:
            code, message = "DEADLINE_EXCEEDED", ""
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            late = isinstance(getattr(error, "reason", None), TimeoutError)
            code, message = "DEADLINE_EXCEEDED" if late else "UNAVAILABLE", str(error)
        except ValueError:
            code, message = "UNAVAILABLE", "it did not answer in JSON"
        else:
            return content
        self._fail(code, message, sent)


def _describe_request(signature: str, arrays: Mapping[str, np.ndarray]) -> str:
    names = {key: "string" if array.dtype == object else array.dtype.name for key, array in arrays.items()}
    return f"signature={signature}, " + ", ".join(f"{key} {names[key]} {arrays[key].shape}" for key in sorted(arrays))


def _as_json(array: np.ndarray) -> Any:
    if array.dtype != object:
        return array.tolist()
    values = np.empty(array.shape, dtype=object)
    for place, value in np.ndenumerate(array):
        try:
            values[place] = value.decode("utf-8")
        except UnicodeDecodeError:
            values[place] = {"b64": base64.b64encode(value).decode("ascii")}
    return values.tolist()


def _reason(body: bytes) -> str:
    text = body.decode("utf-8", errors="replace")
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return text[:500]
