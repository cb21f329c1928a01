"""Every figure is on disk at once, a resumed log has no step twice, and a full disk stops nothing."""

import json
import math

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from training.reporting.log import MetricsLog, read_metrics


def events(folder):
    """{tag: [(step, value), ...]}, as TensorBoard shows them."""
    accumulator = EventAccumulator(str(folder / "tensorboard"))
    accumulator.Reload()
    return {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]
    }


def write_steps(log, steps):
    for step in steps:
        log.write("train", step, {"loss": float(step), "learning_rate": 0.5})


def test_lines_are_whole_while_the_run_goes_on_and_tags_name_kind_and_figure(tmp_path):
    log = MetricsLog(tmp_path / "new" / "run")
    log.write("train", 1, {"loss": np.float32(2.5), "tokens": np.int64(7), "note": "first"})
    log.write("validation", 1, {"loss": 2.0, "rougeL": 31.5})
    lines = [json.loads(line) for line in (log.folder / "metrics.jsonl").read_text().splitlines()]
    assert all(line.pop("time") > 1e9 for line in lines)
    assert lines == [
        {"kind": "train", "step": 1, "loss": 2.5, "tokens": 7.0, "note": "first"},
        {"kind": "validation", "step": 1, "loss": 2.0, "rougeL": 31.5},
    ]
    assert events(log.folder) == {
        "train/loss": [(1, 2.5)],
        "train/tokens": [(1, 7.0)],
        "validation/loss": [(1, 2.0)],
        "validation/rougeL": [(1, 31.5)],
    }
    log.close()


def test_what_is_not_finite_is_null_in_the_lines(tmp_path):
    log = MetricsLog(tmp_path)
    log.write("train", 1, {"loss": math.nan, "gradient_norm": math.inf})
    log.close()
    assert "NaN" not in (tmp_path / "metrics.jsonl").read_text()
    (line,) = read_metrics(tmp_path)
    assert (line["loss"], line["gradient_norm"]) == (None, None)
    assert math.isnan(events(tmp_path)["train/loss"][0][1])


def test_a_resumed_log_has_each_step_once_in_lines_and_in_tensorboard(tmp_path):
    first = MetricsLog(tmp_path)
    write_steps(first, range(1, 6))
    first.close()
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(b'{"kind": "train", "step": 6, "lo')
    second = MetricsLog(tmp_path, resumed_step=3)
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2, 3]
    write_steps(second, (4, 5, 6))
    second.close()
    third = MetricsLog(tmp_path, resumed_step=6)
    write_steps(third, (7,))
    third.close()
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2, 3, 4, 5, 6, 7]
    assert events(tmp_path)["train/loss"] == [(step, float(step)) for step in range(1, 8)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl", "tensorboard"]


def test_lines_that_are_no_events_are_dropped_on_resume(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n[1]\n\xff\n{"step": null}\n{"step": 2}\n')
    MetricsLog(tmp_path, resumed_step=2).close()
    assert (tmp_path / "metrics.jsonl").read_bytes() == b'{"step": 1}\n{"step": 2}\n'


class Full:
    """A file on a disk that takes no more than some bytes, and says so as a short write or as an error."""

    def __init__(self, file, room, is_short):
        self.file, self.room, self.is_short = file, room, is_short

    def write(self, content):
        if len(content) <= self.room:
            self.room -= len(content)
            return self.file.write(content)
        if self.is_short:
            return self.file.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.mark.parametrize("is_short", [True, False])
def test_a_full_disk_costs_one_warning_and_lines_stay_whole(tmp_path, is_short):
    told = []
    log = MetricsLog(tmp_path, warn=told.append)
    write_steps(log, (1,))
    for file in (log._lines, log._events):
        file.file = Full(file.file, 0, is_short)
    write_steps(log, (2, 3))
    for file in (log._lines, log._events):
        file.file.room = 10**6  # somebody has made room
    write_steps(log, (4,))
    log.close()
    assert len(told) == 1
    assert f"some figures cannot be written to {tmp_path}, and the run goes on" in told[0]
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 4]
    assert events(tmp_path)["train/loss"] == [(1, 1.0), (4, 4.0)]


def test_a_full_disk_at_the_start_of_a_resumed_run_still_cuts_later_steps(tmp_path, monkeypatch):
    first = MetricsLog(tmp_path)
    write_steps(first, (1, 2, 3))
    first.close()

    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_bytes", full)
        second = MetricsLog(tmp_path, resumed_step=1)
    write_steps(second, (2,))
    second.close()
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2]


def test_a_folder_that_cannot_be_made_is_a_warning(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="the run goes on"):
        log = MetricsLog(tmp_path / "file" / "run")
    write_steps(log, (1,))
    log.close()


def test_a_negative_step_raises(tmp_path):
    with pytest.raises(ValueError, match="resumed_step must be at least 0. Received: resumed_step=-1"):
        MetricsLog(tmp_path, -1)
