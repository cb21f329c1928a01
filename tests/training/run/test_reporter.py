"""What a run tells, and when: at once, by the settings, and each event once however often it is resumed."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from training.config import Config, Logging
from training.reporting.log import read_metrics
from training.run.reporter import Reporter

FIGURES = {"loss": 2.0, "learning_rate": 1e-3, "gradient_norm": 0.5, "tokens": 10, "rows": 2}


class _Model:
    def count_params(self):
        return 12


def run_of(step=0, total=9):
    return SimpleNamespace(state=SimpleNamespace(step=step, total=total), model=_Model())


def reporter(tmp_path, **settings):
    console = Console(file=io.StringIO(), width=120)
    return Reporter(console, tmp_path, Logging(**settings)), console.file


def lines(stream):
    return stream.getvalue().splitlines()


def test_the_first_line_names_model_output_and_what_was_chosen(tmp_path):
    report, stream = reporter(tmp_path)
    chosen = {"lengths.source": (256, 1024), "optim.learning_rate": 1e-3}
    report.settings(SimpleNamespace(config=Config("led-tiny", tmp_path / "out"), chosen=chosen))
    assert lines(stream) == [
        f"model led-tiny, output {tmp_path / 'out'}",
        "chosen by the model: lengths.source=256/1024, optim.learning_rate=0.001",
    ]


@pytest.mark.parametrize(("seconds", "count"), [(0.0, 5), (3600.0, 1)])
def test_lines_of_steps_are_as_far_apart_as_the_settings_say(tmp_path, seconds, count):
    report, stream = reporter(tmp_path, seconds=seconds)
    report.training(run_of())
    for step in range(1, 6):
        report.step(step, FIGURES)
    report.close()
    assert len([line for line in lines(stream) if line.startswith("step ")]) == count
    assert "first step" in next(line for line in lines(stream) if line.startswith("step 1/9"))


@pytest.mark.parametrize("tensorboard", [True, False])
def test_tensorboard_is_written_where_it_is_wanted(tmp_path, tensorboard):
    report, _ = reporter(tmp_path, tensorboard=tensorboard)
    report.training(run_of())
    report.step(1, FIGURES)
    report.close()
    assert (tmp_path / "tensorboard").exists() is tensorboard
    assert [line["step"] for line in read_metrics(tmp_path)] == [1]


def test_a_resumed_run_has_each_step_and_each_evaluation_once(tmp_path):
    for start in (0, 2, 2, 3):
        report, _ = reporter(tmp_path)
        report.training(run_of(start))
        if start:
            report.validation(start, {"loss": 1.0})
        for step in range(start + 1, start + 4):
            report.step(step, FIGURES)
        report.close()
    events = [(line["kind"], line["step"]) for line in read_metrics(tmp_path)]
    assert sorted(events) == sorted(set(events))
    assert [step for kind, step in events if kind == "train"] == [1, 2, 3, 4, 5, 6]


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = Reporter(Console(file=io.StringIO()), None, Logging())
    report.training(run_of())
    report.step(1, FIGURES)
    report.validation(1, {"loss": 1.0})
    report.close()
    assert not list(tmp_path.iterdir())


def test_a_new_number_of_steps_is_shown(tmp_path):
    report, stream = reporter(tmp_path, seconds=0.0)
    report.training(run_of())
    report.total = 40
    report.step(1, FIGURES)
    report.close()
    assert "step 1/40" in lines(stream)[-1]
    assert report.total == 40


def test_notes_before_the_training_are_lines_as_well(tmp_path):
    report, stream = reporter(tmp_path)
    report.note("no test rows")
    report.close()
    report.close()
    assert lines(stream) == ["no test rows"]
