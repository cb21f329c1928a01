"""A log file gets whole lines soon and seldom; the time that is left is that of the steps alone."""

import io
import math

import pytest
from rich.console import Console

from training.reporting import progress as module
from training.reporting.progress import Progress


class Time:
    """A clock that is set by hand."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture(autouse=True)
def _memory(monkeypatch):
    monkeypatch.setattr(module, "peak_memory_mb", lambda: 2345.4)


def make(total=5000, start_step=0, **options):
    console, clock = Console(file=io.StringIO(), width=20, **options), Time()
    return Progress(console, total, start_step, clock), clock


def lines(progress):
    return progress.console.file.getvalue().splitlines()


def steps(progress, clock, count, seconds, **figures):
    for _ in range(count):
        clock.now += seconds
        known = progress.step({"loss": 2.345, "tokens": 1234 * seconds, **figures})
    return known


def test_the_first_lines_come_at_once_and_then_one_each_thirty_seconds():
    progress, clock = make()
    progress.begin("compiling")
    assert lines(progress) == ["compiling"]
    steps(progress, clock, 1, 34.2)
    assert lines(progress)[1:] == ["step 1/5,000  loss 2.345  mem 2,345 MB  first step 34.2 s, with compilation"]
    steps(progress, clock, 100, 1.0)
    assert [line.split()[1] for line in lines(progress)[2:]] == ["31/5,000", "61/5,000", "91/5,000"]


def test_a_line_holds_every_figure_and_is_never_wrapped():
    progress, clock = make(start_step=118)
    progress.begin("resumed")
    steps(progress, clock, 1, 60.0)
    progress.validation({"loss": 2.5, "rougeL": 31.25})
    steps(progress, clock, 1, 31.0, learning_rate=3e-5, gradient_norm=1.234)
    assert lines(progress)[2] == "validation at step 119/5,000  loss 2.5  rougeL 31.25"
    assert lines(progress)[3] == (
        "step 120/5,000  loss 2.345  validation 2.5  1,234 tokens/s  lr 3.0e-05  grad 1.23  mem 2,345 MB  left 42:01:20"
    )


def test_the_time_left_is_the_median_steps_without_compilation_and_validation():
    progress, clock = make(total=102)
    progress.begin("compiling")
    steps(progress, clock, 1, 600.0)
    assert progress.seconds_left() is None
    steps(progress, clock, 3, 2.0)
    clock.now += 500.0
    progress.validation({"loss": 1.0})
    steps(progress, clock, 1, 2.0)
    steps(progress, clock, 1, 90.0)  # another length was compiled
    assert progress.seconds_left() == 2.0 * 96


def test_the_figures_of_a_step_are_returned_for_the_log():
    progress, clock = make()
    progress.begin("compiling")
    assert steps(progress, clock, 1, 5.0) == {"loss": 2.345, "tokens": 6170.0, "seconds": 5.0, "memory_mb": 2345.4}
    assert steps(progress, clock, 1, 2.0)["tokens_per_second"] == pytest.approx(1234.0)


def test_the_loss_is_smoothed_and_one_that_is_not_finite_is_forgotten():
    progress, _ = make()
    for loss in (2.0, 3.0):
        progress.step({"loss": loss})
    assert progress.smoothed == pytest.approx(2.05)
    progress.step({"loss": math.nan})
    assert "loss nan" in progress.line()
    progress.step({"loss": 2.05})
    assert "loss 2.05" in progress.line()


def test_the_last_step_and_notes_are_shown_at_once():
    progress, clock = make(total=3)
    progress.begin("compiling")
    steps(progress, clock, 3, 1.0)
    progress.note("saved [bold]step-3[/x]\x1b[2J")
    progress.close()
    assert [line.split("  ")[0] for line in lines(progress)] == [
        "compiling",
        "step 1/3",
        "step 3/3",
        "saved [bold]step-3[/x] [2J",
    ]


def test_lines_are_plain_in_any_encoding():
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    progress = Progress(Console(file=file), 2)
    progress.begin("größe")
    assert file.buffer.getvalue() == b"gr??e\n"  # written, and not waiting


def test_a_terminal_has_a_bar_and_the_notes_above_it():
    progress, clock = make(total=3, force_terminal=True)
    progress.console.width = 150
    progress.begin("compiling")
    steps(progress, clock, 3, 1.0, learning_rate=3e-5)
    progress.validation({"loss": 2.5})
    progress.close()
    progress.close()
    text = progress.console.file.getvalue()
    for expected in ("first step 1.0 s", "validation at step 3/3  loss 2.5", "step 3/3", "lr 3.0e-05", "left 0:00:00"):
        assert expected in text


def test_the_memory_is_in_megabytes_whatever_the_system_counts_in(monkeypatch):
    import resource

    monkeypatch.undo()
    assert 10 < module.peak_memory_mb() < 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    monkeypatch.setattr("sys.platform", "darwin")
    assert module.peak_memory_mb() == pytest.approx(peak / 1e6, rel=0.1)
