"""The files for Envoy, two versions by label, an image of a version and KServe fit the server's and each other."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from server_messages import MODELS, MONITORING, parsed

import export
from export.client.served_model import DEFAULT_NAME

FOLDER = Path(export.__file__).parent / "serving"
PERFORMANCE = Path(export.__file__).parents[1] / "docs" / "performance.md"
CONFIG, UNAVAILABLE = "model_config_file", "allow_version_labels_for_unavailable_models"


def documents(name):
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


class _Compose(yaml.SafeLoader):
    """Compose's own tags."""


_Compose.add_constructor("!reset", lambda loader, node: loader.construct_sequence(node))


def compose(name):
    return yaml.load((FOLDER / name).read_text(), _Compose)["services"]


def server():
    """The container of the server in Kubernetes."""
    (container,) = documents("kubernetes.yaml")[0]["spec"]["template"]["spec"]["containers"]
    return container


def envoy():
    return documents("envoy/envoy.yaml")[0]["static_resources"]


def seconds(text):
    return float(text.removesuffix("s"))


def gibibytes(container):
    return float(container["resources"]["limits"]["memory"].removesuffix("Gi"))


def test_labels_name_versions_that_are_served():
    (model,) = parsed(FOLDER / "canary" / "models.config", MODELS).model_config_list.config
    assert (model.name, model.base_path) == (DEFAULT_NAME, f"/models/{DEFAULT_NAME}")
    assert model.model_platform == "tensorflow"
    labels = {label.key: label.value for label in model.version_labels}
    assert set(labels) == {"stable", "canary"}
    assert sorted(labels.values()) == sorted(model.model_version_policy.specific.versions)


def test_two_versions_by_label_change_no_other_flag():
    labels = compose("canary/compose.yaml")["model"]
    added = [f"--{CONFIG}=/config/models.config", f"--{UNAVAILABLE}=true"]
    assert labels["command"] == compose("compose.yaml")["model"]["command"] + added
    (volume,) = labels["volumes"]
    file, place, _ = volume.split(":")
    assert (FOLDER / file).is_file()
    assert place == "/config/models.config"


def built(tmp_path, *components):
    """What kustomize makes of the server's files with components, by kind and name."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    folder = os.path.relpath(FOLDER, tmp_path.resolve())
    wanted = {"resources": [folder], "components": [f"{folder}/{name}" for name in components]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(wanted))
    done = subprocess.run(["kubectl", "kustomize", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # Names of ConfigMaps end with a hash.
    return {
        (one["kind"], re.sub("-[a-z0-9]{10}$", "", one["metadata"]["name"])): one
        for one in yaml.safe_load_all(done.stdout)
    }


def test_kustomize_builds_the_server_with_labels_behind_envoy(tmp_path):
    found = built(tmp_path, "canary", "envoy")
    (container,) = found["Deployment", "summaries"]["spec"]["template"]["spec"]["containers"]
    assert container["args"] == [*server()["args"], f"--{CONFIG}=/labels/models.config", f"--{UNAVAILABLE}=true"]
    assert {"name": "labels", "mountPath": "/labels", "readOnly": True} in container["volumeMounts"]
    assert set(found["ConfigMap", "labels"]["data"]) == {"models.config"}
    assert gibibytes(container) > gibibytes(server())
    assert set(found["ConfigMap", "envoy"]["data"]) == {"envoy.yaml"}
    assert set(built(tmp_path)) == {("ConfigMap", "serving"), ("Service", "summaries"), ("Deployment", "summaries")}


def test_envoy_leads_to_the_server_by_the_name_that_it_has():
    deployment, service, policy = documents("envoy/kubernetes.yaml")
    ports = {port["name"]: port["containerPort"] for port in server()["ports"]}
    name = documents("kubernetes.yaml")[1]["metadata"]["name"]
    assert compose("envoy/compose.yaml")["model"]["networks"]["default"]["aliases"] == [name]
    for cluster in envoy()["clusters"][:2]:
        (endpoint,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
        place = endpoint["endpoint"]["address"]["socket_address"]
        assert place == {"address": name, "port_value": ports[cluster["name"]]}
        (check,) = cluster["health_checks"]
        assert check["http_health_check"]["path"] == server()["livenessProbe"]["httpGet"]["path"]
    assert endpoint["endpoint"].get("health_check_config", {"port_value": ports["rest"]})["port_value"] == ports["rest"]
    (listener,) = envoy()["listeners"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (port,) = container["ports"]
    assert listener["address"]["socket_address"]["port_value"] == port["containerPort"]
    number = port["containerPort"]
    assert compose("envoy/compose.yaml")["envoy"]["ports"] == [f"${{ENVOY_PORT:-{number}}}:{number}"]
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    assert deployment["spec"]["template"]["metadata"]["labels"] == service["spec"]["selector"]
    assert policy["spec"]["podSelector"]["matchLabels"] == documents("kubernetes.yaml")[1]["spec"]["selector"]


def test_envoys_files_are_mounted_where_it_reads_them():
    read = set(re.findall(r"filename: (/\w+)/", (FOLDER / "envoy" / "envoy.yaml").read_text()))
    (container,) = documents("envoy/kubernetes.yaml")[0]["spec"]["template"]["spec"]["containers"]
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    volumes = {volume.rsplit(":", 2)[1] for volume in compose("envoy/compose.yaml")["envoy"]["volumes"]}
    assert mounts == read | {"/etc/envoy"}
    assert volumes == read | {"/etc/envoy/envoy.yaml"}
    alone = compose("envoy/compose.yaml")["envoy"]
    assert container["args"] == alone["command"] == ["--config-path", "/etc/envoy/envoy.yaml"]
    assert alone["image"] == f"${{ENVOY_IMAGE:-{container['image']}}}"


def test_who_answers_waits_no_shorter_than_who_asks():
    (flag,) = [flag for flag in server()["args"] if "rest_api_timeout_in_ms" in flag]
    longest = int(flag.partition("=")[2]) / 1000
    manager = envoy()["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    for route in manager["route_config"]["virtual_hosts"][0]["routes"]:
        assert seconds(route["route"]["timeout"]) == longest
    pods = documents("kubernetes.yaml")[0], documents("envoy/kubernetes.yaml")[0]
    assert all(pod["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > longest for pod in pods)
    _, service = documents("kserve.yaml")
    assert service["spec"]["predictor"]["timeout"] > longest
    assert flag in documents("kserve.yaml")[0]["spec"]["containers"][0]["args"]


def test_an_image_of_a_version_runs_the_same_server():
    lines = (FOLDER / "model.Dockerfile").read_text().replace("\\\n", "").splitlines()
    assert f"FROM {server()['image']}" in lines
    assert json.loads(next(line for line in lines if line.startswith("CMD ")).removeprefix("CMD ")) == server()["args"]
    (copied,) = [line for line in lines if line.startswith("COPY --from=served")]
    assert copied.endswith(f" /models/{DEFAULT_NAME}/")
    files = next(line for line in lines if line.startswith("COPY export/serving/")).split()[1:-1]
    assert all((FOLDER.parents[1] / file).is_file() for file in files)
    config = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["configMapGenerator"][0]
    assert [Path(file).name for file in files] == config["files"]


def test_kserve_runs_the_same_server_on_its_own_ports():
    runtime, service = documents("kserve.yaml")
    (container,) = runtime["spec"]["containers"]
    own = ["--model_name={{.Name}}", "--port=9000", "--rest_api_port=8080", "--model_base_path=/mnt/models"]
    assert container["args"] == own + server()["args"]
    assert container["image"] == server()["image"]
    assert container["volumeMounts"][0]["mountPath"] == "/config"
    model = service["spec"]["predictor"]["model"]
    assert model["runtime"] == runtime["metadata"]["name"]
    assert model["modelFormat"] in [
        {key: one[key] for key in ("name", "version")} for one in runtime["spec"]["supportedModelFormats"]
    ]
    assert model["startupProbe"]["httpGet"] == {"path": f"/v1/models/{service['metadata']['name']}", "port": 8080}
    monitoring = parsed(FOLDER / "monitoring.txt", MONITORING).prometheus_config
    annotations = runtime["spec"]["annotations"]
    assert annotations == {"prometheus.kserve.io/port": "8080", "prometheus.kserve.io/path": monitoring.path}


def test_memory_is_above_what_was_measured():
    rows = re.findall(r"^\| (?:1 of|none|the server's) .*?([\d.]+)(?: GB)? \|$", PERFORMANCE.read_text(), re.MULTILINE)
    peaks = [float(peak) for peak in rows]
    assert max(peaks) > 8
    (container,) = documents("kserve.yaml")[0]["spec"]["containers"]
    assert container["resources"]["limits"]["memory"] == server()["resources"]["limits"]["memory"]
    assert 2**30 * gibibytes(container) > 1e9 * max(peaks)
    assert "2.75 GB" in (FOLDER / "kserve.yaml").read_text()
    assert "| 1 of 1,024 tokens | 1.04 | 1.04 | 2.75 GB |" in PERFORMANCE.read_text()
