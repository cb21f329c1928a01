"""Questions and answers in TensorFlow Serving's gRPC messages."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from export.client.bearer_token import BearerToken
from export.client.served_model import ServedModel
from export.client.server_errors import UNTRUSTED, Failure
from export.client.signature import Field, Signature, decoded_outputs
from export.client.tls import TLS

# No limit to the size of messages, where 4 MB is the default. A server that comes back is found within a second:
# gRPC's own default waits up to two minutes, and tells every request meanwhile that there is none.
CHANNEL_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)
# Of a failed handshake, in gRPC's words. The codes are those of an absent server.
_WRONG_CERTIFICATES = ("CERTIFICATE_VERIFY_FAILED", "verification check failed", "WRONG_VERSION_NUMBER")


class Question(NamedTuple):
    """A message and the name of the method that takes it."""

    method: str
    message: Any


class GrpcMessages:
    """The messages of the prediction service.

    Raises:
        ImportError: `tensorflow-serving-api` is not installed.
    """

    def __init__(self, model: ServedModel) -> None:
        try:
            from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2
        except ImportError as error:
            raise ImportError(f"gRPC needs tensorflow-serving-api: pip install 'tfmodels[serve]' ({error})") from None
        self._model, self._metadata, self._predict = model, get_model_metadata_pb2, predict_pb2

    def metadata(self) -> Question:
        """A question for the signatures."""
        request = self._metadata.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._address(request.model_spec)
        return Question("GetModelMetadata", request)

    def signatures(self, answer: Any) -> dict[str, Signature]:
        """The signatures in its answer."""
        from google.protobuf.message import DecodeError

        definitions = self._metadata.SignatureDefMap()
        try:
            is_map = answer.metadata["signature_def"].Unpack(definitions)
        except DecodeError as error:
            raise ValueError(str(error)) from None
        if not is_map:
            raise ValueError("it tells of no signatures")
        # Signatures without inputs belong to the loader.
        return {
            name: Signature(_fields(one.inputs), _fields(one.outputs))
            for name, one in definitions.signature_def.items()
            if one.inputs
        }

    def predict(self, name: str, arrays: Mapping[str, np.ndarray]) -> Question:
        """A question to a signature."""
        import tensorflow as tf

        request = self._predict.PredictRequest()
        self._address(request.model_spec)
        request.model_spec.signature_name = name
        for key, array in arrays.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(array, shape=array.shape))
        return Question("Predict", request)

    def outputs(self, signature: Signature, answer: Any) -> dict[str, np.ndarray]:
        """The outputs in its answer."""
        import tensorflow as tf

        return decoded_outputs({key: tf.make_ndarray(value) for key, value in answer.outputs.items()})

    def _address(self, spec: Any) -> None:
        spec.name = self._model.name
        if self._model.version is not None:
            spec.version.value = self._model.version
        if self._model.label is not None:
            spec.version_label = self._model.label


def channel_credentials(tls: TLS | None, credentials: Any) -> Any:
    """gRPC's form of certificates; None: a plain channel."""
    import grpc

    if tls is None:
        return credentials
    if credentials is not None:
        raise ValueError("tls and credentials exclude each other. Received: both")
    roots, certificate, key = tls.contents()
    return grpc.ssl_channel_credentials(roots, key, certificate)


def metadata_of(token: Any) -> tuple[tuple[str, str], ...]:
    """A request's metadata with a token, or none."""
    return tuple(BearerToken.header(token).items())


def failure_of(error: Any, token: Any) -> Failure:
    """The failure that an error of gRPC's tells of, without the token that was sent."""
    code, message = error.code().name, error.details() or ""
    if code == "UNAVAILABLE" and any(sign in message for sign in _WRONG_CERTIFICATES):
        code = UNTRUSTED
    return Failure(code, message.replace(token, "<token>") if token else message)


def _fields(tensors: Mapping[str, Any]) -> dict[str, Field]:
    from tensorflow.core.framework import types_pb2

    return {
        name: Field.of(
            types_pb2.DataType.Name(info.dtype),
            None if info.tensor_shape.unknown_rank else len(info.tensor_shape.dim),
        )
        for name, info in tensors.items()
    }
