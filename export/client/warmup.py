"""Requests that a server runs before it serves, each with its answer at the export.

TensorFlow Serving reads `assets.extra/tf_serving_warmup_requests`, a TFRecord file of its `PredictionLog` protos, when
it loads a version, so that no client pays for a first request. `python -m export check` compares a
SavedModel's answers with them.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

PATH = Path("assets.extra", "tf_serving_warmup_requests")
MOST = 1000
"""Requests that a server takes; with more it does not load the version."""


class WarmUp(NamedTuple):
    """A signature, a request to it, and the kept outputs of its answer."""

    signature: str
    request: Mapping[str, Any]
    answer: Mapping[str, Any]


def write_warm_ups(folder: Path, model_name: str, warm_ups: Iterator[WarmUp]) -> None:
    """Write requests and answers into a SavedModel's folder.

    Raises:
        ImportError: tensorflow-serving-api is not installed.
    """
    log_proto = prediction_log()
    (folder / PATH).parent.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(folder / PATH)) as writer:
        for warm_up in warm_ups:
            log = log_proto()
            request, response = log.predict_log.request, log.predict_log.response
            for spec in (request.model_spec, response.model_spec):
                spec.name, spec.signature_name = model_name, warm_up.signature
            for name, value in warm_up.request.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            for name, value in warm_up.answer.items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
            writer.write(log.SerializeToString())


def read_warm_ups(folder: Path) -> Iterator[WarmUp]:
    """Yield the requests of `write_warm_ups`; none if the file is missing.

    Raises:
        ValueError: a file that holds something else.
    """
    from google.protobuf.message import DecodeError

    if not (folder / PATH).is_file():
        return
    log_proto = prediction_log()
    try:
        for record in tf.data.TFRecordDataset(str(folder / PATH)).as_numpy_iterator():
            log = log_proto.FromString(record).predict_log
            request = {name: tf.make_ndarray(value) for name, value in log.request.inputs.items()}
            answer = {name: tf.make_ndarray(value) for name, value in log.response.outputs.items()}
            yield WarmUp(log.request.model_spec.signature_name, request, answer)
    # A tensor may claim any shape and type.
    except (tf.errors.OpError, DecodeError, ValueError, TypeError, MemoryError) as error:
        raise ValueError(f"{PATH} must hold requests. Received: {error!s:.200}") from None


def prediction_log() -> Any:
    """Return the class of the `PredictionLog` proto.

    Raises:
        ImportError: tensorflow-serving-api is not installed.
    """
    try:
        from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog
    except ImportError:
        raise ImportError(
            "warm-up requests, written or read, need tensorflow-serving-api: pip install 'tfmodels[serve]'; an export "
            "does without them by warm_up=False or --no-warm-up"
        ) from None
    return PredictionLog
