"""A stand-in for TensorFlow Serving, which cannot run here: `python tests/support/prediction_server.py DIR`.

It takes the same messages over gRPC and REST, checks what the stock server checks (the names of the inputs) and runs
the same session in C++ that the stock server does, with nothing of Python between a request and its checks: what the
graph says to a wrong dtype or shape comes back as it is. It prints one line of JSON with both ports when it is ready,
and for each line of its input the bytes that it holds.
"""

import argparse
import base64
import collections
import ctypes
import gc
import json
import sys
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from export.client.saved_model_client import _load_text_ops, import_server_libraries
from export.client.version_folders import latest_version

THREADS = 8
# A document that is answered as one that waited in the stock server's batching queue beyond its deadline.
OVERDUE = b"overdue"
# Documents whose batch the deadline of another request cancels, but for each third or thousandth time.
CANCELLED = {b"cancelled twice": 3, b"cancelled always": 1000}


class ServedModel:
    """A SavedModel in a session, with a callable per signature, made on first use."""

    def __init__(self, folder, name):
        import tensorflow as tf
        from tensorflow.core.framework import types_pb2

        _load_text_ops()
        self.tf, self.types = tf, types_pb2
        self.name, self.version = name, int(folder.name) if folder.name.isdigit() else 1
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
        with self._session.graph.as_default():
            loaded = tf.compat.v1.saved_model.load(self._session, ["serve"], str(folder))
        self.signatures = dict(loaded.signature_def)
        self._callables, self._building = {}, threading.Lock()
        self._asked = collections.Counter()

    def _callable(self, name):
        with self._building:
            if name not in self._callables:
                self._callables[name] = self._build(self.signatures[name])
            return self._callables[name]

    def _build(self, signature):
        from tensorflow.core.protobuf import config_pb2

        options = config_pb2.CallableOptions()
        options.feed.extend(signature.inputs[key].name for key in sorted(signature.inputs))
        options.fetch.extend(signature.outputs[key].name for key in sorted(signature.outputs))
        # The public way would check and convert what is fed, which the stock server does not.
        return self._session._make_callable_from_options(options)

    def check(self, name, version):
        errors = self.tf.errors
        if name != self.name:
            raise errors.NotFoundError(None, None, f"Servable not found for request: Latest({name})")
        if version not in (None, self.version):
            raise errors.NotFoundError(None, None, f"Servable not found for request: Specific({name}, {version})")

    def signature(self, name):
        if name not in self.signatures:
            raise self.tf.errors.FailedPreconditionError(None, None, f'Serving signature key "{name}" not found.')
        return self.signatures[name]

    def predict(self, name, inputs):
        wanted = self.signature(name).inputs
        if set(inputs) != set(wanted):
            extra, missing = sorted(set(inputs) - set(wanted)), sorted(set(wanted) - set(inputs))
            raise self.tf.errors.InvalidArgumentError(
                None,
                None,
                f"input size does not match signature: {len(inputs)}!={len(wanted)}. "
                f"Sent extra: {{{','.join(extra)}}}. Missing but required: {{{','.join(missing)}}}.",
            )
        if OVERDUE in np.ravel(inputs.get("text", ())).tolist():
            message = "Run() timeout exceeded while waiting in batching queue"
            raise self.tf.errors.ResourceExhaustedError(None, None, message)
        for text in np.ravel(inputs.get("text", ())).tolist():
            self._asked[text] += 1
            if self._asked[text] % CANCELLED.get(text, 1):
                raise self.tf.errors.CancelledError(None, None, "Loop execution was cancelled.")
        outputs = self._callable(name)(*(inputs[key] for key in sorted(wanted)))
        return dict(zip(sorted(self.signatures[name].outputs), outputs, strict=True))


def _reason(error):
    return str(error.message).removeprefix("Graph execution error:").strip()


def start_grpc(model, port):
    import grpc
    from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

    tf = model.tf
    codes = {code.value[0]: code for code in grpc.StatusCode}

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            with errors_told(context):
                spec = request.model_spec
                model.check(spec.name, spec.version.value if spec.HasField("version") else None)
                inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
                answer = predict_pb2.PredictResponse()
                for key, value in model.predict(spec.signature_name or "serving_default", inputs).items():
                    answer.outputs[key].CopyFrom(tf.make_tensor_proto(value, shape=value.shape))
                return answer

        def GetModelMetadata(self, request, context):
            with errors_told(context):
                spec = request.model_spec
                model.check(spec.name, spec.version.value if spec.HasField("version") else None)
                found = get_model_metadata_pb2.SignatureDefMap(signature_def=model.signatures)
                answer = get_model_metadata_pb2.GetModelMetadataResponse()
                answer.metadata["signature_def"].Pack(found)
                return answer

    class errors_told:
        def __init__(self, context):
            self.context = context

        def __enter__(self):
            return self

        def __exit__(self, kind, error, trace):
            if isinstance(error, tf.errors.OpError):
                self.context.abort(codes[error.error_code], _reason(error))

    limits = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    server = grpc.server(futures.ThreadPoolExecutor(THREADS), options=limits)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port(f"localhost:{port}")
    server.start()
    return server, port


HTTP_STATUS = {1: 499, 3: 400, 5: 404, 8: 429, 9: 412, 14: 503}


def start_rest(model, port):
    tf = model.tf

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer(self.metadata if self.path.endswith("/metadata") else self.status)

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(lambda: self.predict(json.loads(body)))

        def answer(self, work):
            try:
                parts = self.path.removesuffix("/metadata").partition(":")[0].split("/")
                model.check(parts[3], int(parts[5]) if len(parts) > 5 else None)
                status, found = 200, work()
            except tf.errors.OpError as error:
                status, found = HTTP_STATUS.get(error.error_code, 500), {"error": _reason(error)}
            # As the stock server does: bytes that are not UTF-8 stay as they are.
            data = json.dumps(found, ensure_ascii=False).encode("utf-8", "surrogateescape")
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def status(self):
            state = {"version": str(model.version), "state": "AVAILABLE"}
            return {"model_version_status": [{**state, "status": {"error_code": "OK", "error_message": ""}}]}

        def metadata(self):
            from google.protobuf.json_format import MessageToDict

            found = {
                key: MessageToDict(one, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
                for key, one in model.signatures.items()
            }
            return {"metadata": {"signature_def": {"signature_def": found}}}

        def predict(self, request):
            name = request.get("signature_name", "serving_default")
            infos = model.signature(name).inputs
            inputs = {}
            for key, value in request["inputs"].items():
                dtype = tf.dtypes.as_dtype(infos[key].dtype).as_numpy_dtype if key in infos else object
                inputs[key] = as_bytes(value) if dtype is object else np.array(value, dtype)
            outputs = {key: from_bytes(value).tolist() for key, value in model.predict(name, inputs).items()}
            return {"outputs": outputs if len(outputs) > 1 else next(iter(outputs.values()))}

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("localhost", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def as_bytes(values):
    found = np.array(values, dtype=object)
    for place, value in np.ndenumerate(found):
        found[place] = base64.b64decode(value["b64"]) if isinstance(value, dict) else value.encode()
    return found


def from_bytes(array):
    if array.dtype != object:
        return array
    found = np.empty(array.shape, dtype=object)
    for place, value in np.ndenumerate(array):
        found[place] = value.decode("utf-8", "surrogateescape")
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--name", default="model")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--rest-port", type=int, default=0)
    options = parser.parse_args()
    import_server_libraries()
    model = ServedModel(latest_version(options.directory), options.name)
    server, port = start_grpc(model, options.port)
    print(json.dumps({"grpc": port, "rest": start_rest(model, options.rest_port)}), flush=True)
    # It ends when who started it closes its standard input, or ends.
    for _ in sys.stdin:
        print(held_bytes(), flush=True)
    server.stop(None)


def held_bytes():
    """Memory of the process without what the C library keeps though nobody uses it, which is different each time."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmRSS:")).split()[1])


if __name__ == "__main__":
    main()
