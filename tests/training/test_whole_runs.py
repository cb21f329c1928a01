"""Whole runs in processes of their own: one that diverges, and the log of one that is stopped and goes on."""

import json
import os
import signal
import subprocess
import time

import pytest

from tests.training.kill import STEPS, command, write_data
from tfmodels.auto import load_pretrained
from training.program import DIVERGED
from training.reporting.log import read_metrics

pytestmark = pytest.mark.slow
MODEL = "longt5-tglobal-tiny"


def run(arguments):
    return subprocess.run(arguments, capture_output=True, text=True, check=False, env=dict(os.environ))


def test_a_learning_rate_of_a_million_ends_the_run_within_three_steps_and_keeps_rows_and_model(tmp_path):
    data = write_data(tmp_path / "data.jsonl", 400)
    done = run(command(MODEL, False, data, tmp_path, "--optim.learning_rate", "1e6", "--optim.warmup", "0"))
    assert done.returncode == DIVERGED
    assert "3 steps in a row had no finite loss or gradient" in done.stderr
    output = tmp_path / "out"
    steps = read_metrics(output)
    first = next(line["step"] for line in steps if line["loss"] is None or line["gradient_norm"] is None)
    assert steps[-1]["step"] <= first + 2
    rows = [json.loads(line) for line in (output / "bad-batch" / "rows.jsonl").read_text().splitlines()]
    assert sorted({row["step"] for row in rows}) == [first, first + 1, first + 2]
    assert rows[0]["place"] in done.stderr
    model, _ = load_pretrained(output / "model")
    assert all(bool((abs(weight) < 1e30).all()) for weight in model.get_weights())
    assert json.loads((output / "run.json").read_text())["status"] == "failed"


def test_the_log_without_a_terminal_speaks_at_once_and_has_no_step_twice_after_a_resume(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    data = write_data(tmp_path / "data.jsonl", 400)
    arguments = command(MODEL, False, data, tmp_path, "--logging.seconds", "0")
    begin = time.monotonic()
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = [process.stdout.readline()]
    assert time.monotonic() - begin < 5  # a quarter of a second of it is the program's, the rest is for busy machines
    while not lines[-1].startswith("step 17/"):
        lines.append(process.stdout.readline())
        assert lines[-1], lines
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert lines[0].startswith(f"model {MODEL}, output ")
    assert any("step 1/48" in line and "first step" in line and "with compilation" in line for line in lines)
    assert run(arguments).returncode == 0
    events = [(line["kind"], line["step"]) for line in read_metrics(tmp_path / "out")]
    assert [step for kind, step in events if kind == "train"] == list(range(1, STEPS + 1))
    assert [step for kind, step in events if kind == "validation"] == [16, 32, 48]
    board = EventAccumulator(str(tmp_path / "out" / "tensorboard"))
    board.Reload()
    names = ("loss", "learning_rate", "gradient_norm", "tokens", "tokens_per_second", "memory_mb", "seconds")
    tags = board.Tags()["scalars"]
    assert {f"train/{name}" for name in names} | {"validation/loss", "validation/rougeL"} <= set(tags)
    for tag in tags:
        seen = [event.step for event in board.Scalars(tag)]
        assert seen == sorted(set(seen))
    assert len(board.Scalars("train/loss")) == STEPS
