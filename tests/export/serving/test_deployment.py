"""The files for TensorFlow Serving say what it understands, and agree with each other; the smoke test compares."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from exported import TEXTS
from server_messages import BATCHING, MONITORING, parsed

import export
from export.__main__ import main
from export.client.server_client import DEFAULT_NAME
from export.server_settings import FILE_NAME as SETTINGS
from export.server_settings import batching_params, server_flags

FOLDER = Path(export.__file__).parent / "serving"
FLAGS = (
    "enable_batching",
    "batching_parameters_file",
    "enable_per_model_batching_parameters",
    "monitoring_config_file",
    "rest_api_timeout_in_ms",
    "xla_cpu_compilation_enabled",
)
ONCE = "file_system_poll_wait_seconds"


def kubernetes():
    return list(yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text()))


def compose():
    return yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]["model"]


def container():
    (container,) = kubernetes()[0]["spec"]["template"]["spec"]["containers"]
    return container


def test_batching_bounds_what_is_worked_on_at_once():
    batching = parsed(FOLDER / "batching.txt", BATCHING)
    assert batching.max_batch_size.value >= 1
    assert batching.num_batch_threads.value >= 1
    assert batching.max_enqueued_batches.value >= batching.num_batch_threads.value
    assert batching.batch_timeout_micros.value < 1_000_000
    assert batching.pad_variable_length_inputs


def test_a_version_brings_the_settings_of_its_batches_and_the_flags_it_needs(led):
    common = parsed(FOLDER / "batching.txt", BATCHING)
    own = parsed(led.folder / "1" / SETTINGS, BATCHING)
    # The threads are the server's.
    assert not own.HasField("num_batch_threads")
    common.ClearField("num_batch_threads")
    assert own.SerializeToString() == common.SerializeToString()
    assert "max_batch_size { value: 8 }" in batching_params((1, 8))
    assert set(server_flags(jit_compile=True)) <= set(compose()["command"])


def test_metrics_are_where_prometheus_is_sent():
    monitoring = parsed(FOLDER / "monitoring.txt", MONITORING)
    annotations = kubernetes()[0]["spec"]["template"]["metadata"]["annotations"]
    assert monitoring.prometheus_config.enable
    assert annotations["prometheus.io/path"] == monitoring.prometheus_config.path
    assert annotations["prometheus.io/port"] == "8501"


def test_compose_and_kubernetes_run_the_same_server():
    assert [*compose()["command"], f"--{ONCE}=0"] == container()["args"]
    assert {flag.partition("=")[0].removeprefix("--") for flag in container()["args"]} == {*FLAGS, ONCE}
    assert compose()["image"] == f"${{IMAGE:-{container()['image']}}}"
    mounts = {mount["mountPath"] for mount in container()["volumeMounts"]}
    assert mounts == {f"/models/{DEFAULT_NAME}", "/config", "/tmp"}
    # The last two parts are the place in the container and the mode.
    volumes = [volume.rsplit(":", 2)[1:] for volume in compose()["volumes"]]
    assert volumes == [
        [f"/models/{DEFAULT_NAME}", "ro"],
        ["/config/batching.txt", "ro"],
        ["/config/monitoring.txt", "ro"],
    ]


def test_the_servers_may_do_nothing_but_serve_and_are_reached_from_nowhere_unasked():
    pod = kubernetes()[0]["spec"]["template"]["spec"]
    *_, policy = yaml.safe_load_all((FOLDER / "envoy" / "kubernetes.yaml").read_text())
    # It asks nobody: there is no rule for it.
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in policy["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    # Kubernetes' "restricted" standard, and no key to its API.
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for one in (*pod["initContainers"], *pod["containers"]):
        settings = one["securityContext"]
        assert settings["capabilities"] == {"drop": ["ALL"]}
        assert (settings["allowPrivilegeEscalation"], settings["readOnlyRootFilesystem"]) == (False, True)
        writable = [mount for mount in one["volumeMounts"] if not mount.get("readOnly")]
        assert [(mount["mountPath"], "emptyDir" in volumes[mount["name"]]) for mount in writable] == [("/tmp", True)]
    assert all(port.startswith("${ADDRESS:-127.0.0.1}:") for port in compose()["ports"])


def test_an_image_holds_the_package_and_nothing_else_of_the_folder_it_is_built_in():
    root = FOLDER.parents[1]
    lines = (FOLDER / "verify.Dockerfile").read_text().splitlines()
    copied = [name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]]
    assert all((root / name).exists() for name in copied)
    packages = {path.parent.name for path in root.glob("*/__init__.py")} & {"tfmodels", "training", "export"}
    assert set(copied) == packages | {"setup.cfg", "pyproject.toml", "README.md", "LICENSE"}


def test_probes_ask_for_the_state_of_the_model():
    deployment, service = kubernetes()
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container()[probe]["httpGet"] == {"path": f"/v1/models/{DEFAULT_NAME}", "port": "rest"}
    assert f"GET /v1/models/{DEFAULT_NAME} " in compose()["healthcheck"]["test"][-1]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"] == labels
    assert [port["port"] for port in service["spec"]["ports"]] == [8500, 8501]


def test_what_the_server_reads_is_verified_first_with_a_key_that_is_there(led, tmp_path, keys, capsys):
    pod = kubernetes()[0]["spec"]["template"]["spec"]
    (verifier,) = pod["initContainers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in verifier["volumeMounts"]}
    served = {mount["name"]: mount["mountPath"] for mount in container()["volumeMounts"]}
    assert mounts["versions"] == served["versions"] == verifier["args"][0]
    assert {"name": "keys", "configMap": {"name": "signing-key"}} in pod["volumes"]
    shutil.copytree(led.folder, tmp_path / "model")
    places = {mounts["versions"]: str(tmp_path / "model"), "/keys": str(keys)}
    # The images' entry point, with the places of this machine.
    entry = (FOLDER / "verify.Dockerfile").read_text().rpartition("ENTRYPOINT ")[2]
    assert json.loads(entry) == ["python", "-m", "export", "verify"]
    arguments = [re.sub("|".join(places), lambda found: places[found[0]], part) for part in verifier["args"]]
    assert main(["verify", *arguments]) == 1
    assert "model.sig is missing" in capsys.readouterr().out
    assert main(["sign", str(tmp_path / "model"), "--private-key", str(keys / "key.pem")]) == 0
    assert main(["verify", *arguments]) == 0


def test_kustomize_takes_the_files_that_are_there():
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    (config,) = kustomization["configMapGenerator"]
    volumes = kubernetes()[0]["spec"]["template"]["spec"]["volumes"]
    assert {"name": "config", "configMap": {"name": config["name"]}} in volumes
    assert all((FOLDER / name).is_file() for name in [*kustomization["resources"], *config["files"]])


@pytest.fixture
def smoke_test(led_server, tmp_path):
    """Runs the smoke test with a `docker` that writes down what it is asked, and the ports of our server."""
    if shutil.which("sh") is None:
        pytest.skip("no shell")
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\necho "$@" "$SAVED_MODEL" >> "$(dirname "$0")/asked"\n')
    docker.chmod(0o755)
    variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHON": sys.executable}
    variables |= {"GRPC_PORT": led_server.grpc.partition(":")[2], "REST_PORT": led_server.rest.partition(":")[2]}

    def run(*arguments, **changes):
        command = ["sh", str(FOLDER / "smoke_test.sh"), *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, env={**os.environ, **variables, **changes}
        )
        return done, (tmp_path / "asked").read_text().splitlines() if (tmp_path / "asked").is_file() else []

    return run


def test_the_smoke_test_compares_the_server_with_the_savedmodel(smoke_test, led):
    done, asked = smoke_test(led.folder, TEXTS[0])
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"equal over gRPC, over REST and alone: {led.summaries(TEXTS[:1])[0]}\n"
    up, down = (re.sub(r"smoke-test-\d+", "smoke-test-PROCESS", line) for line in asked)
    called = f"compose --project-name smoke-test-PROCESS --file {FOLDER}/compose.yaml"
    assert [up, down] == [f"{called} up --detach --wait {led.folder}", f"{called} down {led.folder}"]


def test_the_smoke_test_fails_and_stops_the_server_when_it_does_not_answer(smoke_test, led):
    done, asked = smoke_test(led.folder, TEXTS[0], GRPC_PORT="1")
    assert done.returncode != 0
    assert "server=localhost:1" in done.stderr
    assert asked[-1].endswith(f"down {led.folder}")
    assert smoke_test()[0].returncode == 2
