"""A stand-in for TensorFlow Serving, which cannot run here: `python tests/support/prediction_server.py DIR`.

It takes the same messages over gRPC and REST, checks what the stock server checks (the names of the inputs) and runs
the same session in C++ that the stock server does, with nothing of Python between a request and its checks: what the
graph says to a wrong dtype or shape comes back as it is. It prints one line of JSON with its ports when it is ready,
and for each line of its input the bytes that it holds. With `--certificates` it has two more pairs of ports behind TLS:
"tls" and "elsewhere" (the certificate of another host), which want the token, and "mutual", which wants a client's
certificate.
"""

import argparse
import base64
import collections
import ctypes
import gc
import json
import ssl
import sys
import threading
import urllib.parse
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
# Documents for which the server is away, likewise.
AWAY = {b"away twice": 3, b"away always": 1000}
LABELS = {"stable": 3, "canary": 4}
TOKEN = "a-secret"


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

    def check(self, name, version, label=""):
        errors = self.tf.errors
        if label and label not in LABELS:
            raise errors.InvalidArgumentError(None, None, f"Unrecognized servable version label: {label}")
        version = LABELS[label] if label else version
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
            if self._asked[text] % AWAY.get(text, 1):
                raise self.tf.errors.UnavailableError(None, None, "Servable is not available.")
        outputs = self._callable(name)(*(inputs[key] for key in sorted(wanted)))
        return dict(zip(sorted(self.signatures[name].outputs), outputs, strict=True))


def _reason(error):
    return str(error.message).removeprefix("Graph execution error:").strip()


def lacks_token(headers):
    """Whether a request lacks the token; headers by names in lower case."""
    return headers.get("authorization") != f"Bearer {TOKEN}"


def secured(certificates, name):
    """(certificate, key, authorities of clients or None) of a pair of ports."""
    server = "elsewhere" if name == "elsewhere" else "server"
    authority = certificates / "authority.pem" if name == "mutual" else None
    return certificates / f"{server}.pem", certificates / f"{server}.key", authority


def start_grpc(model, port, security=None, token=False):
    import grpc
    from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

    tf = model.tf
    codes = {code.value[0]: code for code in grpc.StatusCode}

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            with errors_told(context):
                spec = request.model_spec
                model.check(spec.name, spec.version.value if spec.HasField("version") else None, spec.version_label)
                inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
                answer = predict_pb2.PredictResponse()
                for key, value in model.predict(spec.signature_name or "serving_default", inputs).items():
                    answer.outputs[key].CopyFrom(tf.make_tensor_proto(value, shape=value.shape))
                return answer

        def GetModelMetadata(self, request, context):
            with errors_told(context):
                spec = request.model_spec
                model.check(spec.name, spec.version.value if spec.HasField("version") else None, spec.version_label)
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

    class Guard(grpc.ServerInterceptor):
        def intercept_service(self, continuation, details):
            if not lacks_token(dict(details.invocation_metadata)):
                return continuation(details)
            # What was sent is said again, as a careless proxy does.
            message = f"wrong authorization: {dict(details.invocation_metadata).get('authorization')}"
            return grpc.unary_unary_rpc_method_handler(
                lambda request, context: context.abort(grpc.StatusCode.UNAUTHENTICATED, message)
            )

    limits = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    guards = [Guard()] if token else []
    server = grpc.server(futures.ThreadPoolExecutor(THREADS), interceptors=guards, options=limits)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
    if security is None:
        port = server.add_insecure_port(f"localhost:{port}")
    else:
        certificate, key, authority = (None if path is None else path.read_bytes() for path in security)
        credentials = grpc.ssl_server_credentials([(key, certificate)], authority, authority is not None)
        port = server.add_secure_port(f"localhost:{port}", credentials)
    server.start()
    return server, port


HTTP_STATUS = {1: 499, 3: 400, 5: 404, 8: 429, 9: 412, 14: 503}


def secure(server, certificate, key, authority):
    """TLS for an HTTP server's connections; clients need a certificate of `authority` unless it is None."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority)
    context.verify_mode = ssl.CERT_NONE if authority is None else ssl.CERT_REQUIRED
    context.load_cert_chain(certificate, key)
    # The handshake belongs to the connection's own thread: one that fails must not end the server.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)


def start_rest(model, port, security=None, token=False):
    tf = model.tf

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer(self.metadata if self.path.endswith("/metadata") else self.status)

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(lambda: self.predict(json.loads(body)))

        def answer(self, work):
            headers = {name.lower(): value for name, value in self.headers.items()}
            if token and lacks_token(headers):
                return self.write(401, {"error": f"wrong authorization: {headers.get('authorization')}"})
            try:
                parts = self.path.removesuffix("/metadata").partition(":")[0].split("/")
                place = dict(zip(parts[4::2], parts[5::2], strict=True))
                version = int(place["versions"]) if "versions" in place else None
                model.check(parts[3], version, urllib.parse.unquote(place.get("labels", "")))
                status, found = 200, work()
            except tf.errors.OpError as error:
                status, found = HTTP_STATUS.get(error.error_code, 500), {"error": _reason(error)}
            return self.write(status, found)

        def write(self, status, found):
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
            return {"metadata": {"signature_def": {"signature_def": in_json(model.signatures)}}}

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
    if security is not None:
        secure(server, *security)
    server.handle_error = lambda request, address: None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def in_json(signatures):
    from google.protobuf.json_format import MessageToDict

    options = {"preserving_proto_field_name": True, "always_print_fields_with_no_presence": True}
    return {key: MessageToDict(one, **options) for key, one in signatures.items()}


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
    parser.add_argument("--certificates", type=Path, help="a folder, see certificates.py")
    options = parser.parse_args()
    import_server_libraries()
    model = ServedModel(latest_version(options.directory), options.name)
    server, port = start_grpc(model, options.port)
    servers, ports = [server], {"grpc": port, "rest": start_rest(model, options.rest_port)}
    for name in ("tls", "elsewhere", "mutual") if options.certificates is not None else ():
        security, token = secured(options.certificates, name), name != "mutual"
        server, ports[f"grpc-{name}"] = start_grpc(model, 0, security, token)
        servers.append(server)
        ports[f"rest-{name}"] = start_rest(model, 0, security, token)
    print(json.dumps(ports), flush=True)
    # It ends when who started it closes its standard input, or ends.
    for _ in sys.stdin:
        print(held_bytes(), flush=True)
    for server in servers:
        server.stop(None)


def held_bytes():
    """Memory of the process without what the C library keeps though nobody uses it, which is different each time."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmRSS:")).split()[1])


if __name__ == "__main__":
    main()
