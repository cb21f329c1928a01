"""The board and the alerts ask for metrics that the server has, by labels that those have."""

import json
import mmap
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import tensorflow as tf
import yaml

import export

FOLDER = Path(export.__file__).parent / "serving"
# Name: (kind, labels), in TensorFlow Serving 2.20: servables/tensorflow/util.cc, saved_model_warmup_util.cc and
# batching/batching_session.cc.
SERVERS = {
    "/tensorflow/serving/request_count": ("counter", {"model_name", "status"}),
    "/tensorflow/serving/request_latency": ("histogram", {"model_name", "API", "entrypoint"}),
    "/tensorflow/serving/runtime_latency": ("histogram", {"model_name", "API", "runtime"}),
    "/tensorflow/serving/model_warmup_latency": ("histogram", {"model_path", "status"}),
    "/tensorflow/serving/batching_session/queuing_latency": ("histogram", {"thread_pool_name"}),
}
# In TensorFlow, which the server is built from: core/kernels/batching_util/batch_resource_base.cc,
# cc/saved_model/loader.cc and core/framework/metrics.cc.
TENSORFLOWS = {
    "/tensorflow/serving/batching/batch_delay_us_v2": ("histogram", {"model_name", "op_name", "processed_batch_size"}),
    "/tensorflow/serving/batching/batch_size": ("histogram", {"model_name", "op_name"}),
    "/tensorflow/cc/saved_model/load_attempt_count": ("counter", {"model_path", "status"}),
    "/tensorflow/core/graph_run_time_usecs": ("counter", set()),
}


def series():
    """Labels of each series, by its name at the server's Prometheus page."""
    found = {}
    for name, (kind, labels) in {**SERVERS, **TENSORFLOWS}.items():
        # As the server's prometheus_exporter.cc does.
        name = re.sub("[^a-zA-Z0-9_]", ":", name)
        if kind == "counter":
            found[name] = labels
        else:
            found |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
    return found


def board():
    return json.loads((FOLDER / "grafana.json").read_text())


def rules():
    (group,) = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
    return group["rules"]


def expressions():
    queries = [target["expr"] for panel in board()["panels"] for target in panel["targets"]]
    variables = [one["query"]["query"] for one in board()["templating"]["list"] if one["type"] == "query"]
    return [*queries, *variables, *(rule["expr"] for rule in rules())]


def test_every_metric_is_one_of_the_servers_with_its_labels():
    known, asked = series(), set()
    for expression in expressions():
        names = set(re.findall(r":[a-z0-9_:]+", expression))
        assert names
        assert names <= set(known)
        asked |= names
        labels = set().union(*(known[name] for name in names))
        used = set(re.findall(r"(\w+)(?:=~|!~|!=|=)", expression))
        used |= {label for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(", ")}
        assert used <= labels, expression
    # And the lists hold no other.
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in asked} == {
        re.sub("_(bucket|sum|count)$", "", name) for name in known
    }


def test_the_metrics_of_tensorflow_are_in_its_libraries():
    missing = set(TENSORFLOWS)
    for path in Path(tf.__file__).parent.glob("libtensorflow_*.so.2"):
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as library:
            missing -= {name for name in missing if library.find(b"\0" + name.encode() + b"\0") >= 0}
    assert not missing


def test_the_board_is_whole():
    panels = board()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places)
    for panel in panels:
        used = set(re.findall(r"{{(\w+)}}", "".join(target["legendFormat"] for target in panel["targets"])))
        grouped = "".join(target["expr"] for target in panel["targets"])
        assert all(re.search(rf"by \([^)]*\b{label}\b", grouped) for label in used)


def test_alerts_fire_when_they_should(tmp_path):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    fail = ':tensorflow:cc:saved_model:load_attempt_count{model_path="/models/model/2",status="fail"}'
    count = ':tensorflow:serving:request_count{model_name="model",status="%s"}'
    bucket = ':tensorflow:serving:request_latency_bucket{model_name="model",API="Predict",entrypoint="GRPC",le="%s"}'
    inputs = {
        count % "OK": "0+60x60",
        count % "INVALID_ARGUMENT": "0+600x60",
        count % "INTERNAL": "0+0x30 0+60x30",
        count % "UNAVAILABLE": "0+0x45 1+1x15",
        fail: "_x40 1x20",
        bucket % "6e+07": "0+1x60",
        bucket % "1.2e+08": "0+60x60",
        bucket % "+Inf": "0+60x60",
    }
    alerts = {
        "RequestsFail": ("55m", {"model_name": "model", "severity": "page"}),
        "QueueFull": ("58m", {"model_name": "model", "severity": "page"}),
        "AnswersSlow": ("30m", {"model_name": "model", "severity": "ticket"}),
        "VersionNotLoaded": ("45m", {"model_path": "/models/model/2", "severity": "page"}),
    }
    quiet = {"RequestsFail": "25m", "QueueFull": "40m", "VersionNotLoaded": "39m", "RequestsTooLate": "58m"}
    summaries = {rule["alert"]: rule["annotations"]["summary"] for rule in rules()}

    def fires(name, labels):
        summary = re.sub(r"{{ \$labels.(\w+) }}", lambda label: labels[label[1]], summaries[name])
        return {"exp_labels": labels, "exp_annotations": {"summary": summary}}

    wanted = [(name, at, [fires(name, labels)]) for name, (at, labels) in alerts.items()]
    wanted += [(name, at, []) for name, at in quiet.items()]
    cases = [{"alertname": name, "eval_time": at, "exp_alerts": firing} for name, at, firing in wanted]
    test = {
        "rule_files": [str(FOLDER / "alerts.yaml")],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in inputs.items()],
                "alert_rule_test": cases,
            }
        ],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
    done = subprocess.run(["promtool", "test", "rules", "test.yaml"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
