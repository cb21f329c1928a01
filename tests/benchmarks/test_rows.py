"""From workers' figures to rows, ratios and verdicts, and what is written and printed of them."""

import doctest
import importlib
import io
import json

import pytest
from rich.console import Console

from benchmarks.figures import needed_gflop, row_figures
from benchmarks.jobs import Row, Target, all_rows, chosen_rows, verdicts
from benchmarks.plots import plot_lines
from benchmarks.processes import WorkerError
from benchmarks.report import MISSED
from benchmarks.suite import run_suite

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def row(**changes):
    targets = (
        Target("time_ratio", 2.3, at_least=True),
        Target("memory_ratio", 0.8),
        Target("ceiling_share", 0.5, at_least=True),
    )
    return Row(**({"name": "some", "family": "led", "job": "encode", "length": 64, "base_length": 4096,
                   "size": "tiny", "targets": targets} | changes))  # fmt: skip


def run(seconds, peak_gb, first_seconds=0.0):
    return {"seconds": seconds, "peak_gb": peak_gb, "first_seconds": first_seconds}


def made_up(task):
    """A run whose theirs takes three times as long and twice as much as ours."""
    factor = 1.0 if task.side == "ours" else 3.0
    return run(1e-3 * factor * task.length, 1.0 if task.side == "ours" else 2.0, 50.0)


def ceiling(size):
    return {"gflops": 100.0, "engines": {"torch": {"2x2x2": 100.0}}}


def test_figures_are_ratios_of_medians():
    runs = {"ours": [run(1, 3), run(9, 1), run(2, 2)], "theirs": [run(8, 4), run(5, 4)]}
    found = row_figures(row(), runs, {}, ceiling_gflops=None)
    assert (found["ours_seconds"], found["theirs_seconds"]) == (2, 6.5)
    assert found["time_ratio"] == pytest.approx(3.25)
    assert found["memory_ratio"] == pytest.approx(0.5)
    assert "ceiling_share" not in found


def test_the_share_of_the_ceiling_counts_needed_work_alone():
    found = row_figures(row(), {"ours": [run(0.5, 1)]}, {}, ceiling_gflops=10.0)
    assert found["ceiling_share"] == pytest.approx(needed_gflop(row()) / 0.5 / 10.0)
    assert "time_ratio" not in found


def test_compiling_is_the_first_step_without_a_later_one():
    found = row_figures(row(job="train"), {"ours": [run(10, 1, 75), run(12, 1, 80)]}, {}, None)
    assert found["compile_seconds"] == pytest.approx(66.5)


def test_rows_compare_by_time_per_token():
    short = row_figures(row(), {"ours": [run(1, 1)]}, {}, None)
    longer = row(name="longer", length=128, compared_to="some")
    found = row_figures(longer, {"ours": [run(3, 1)]}, {"some": short}, None)
    assert found["token_time_ratio"] == pytest.approx(1.5)
    assert "token_time_ratio" not in row_figures(longer, {"ours": [run(3, 1)]}, {}, None)


def test_verdicts_name_what_is_met_missed_and_not_measured():
    found = verdicts(row(), {"time_ratio": 2.3, "memory_ratio": 0.81})
    assert found == {"time_ratio": True, "memory_ratio": False, "ceiling_share": None}


def test_the_quick_benchmark_has_the_rows_of_one_length():
    names = [row.name for row in chosen_rows(all_rows(), [], quick=True)]
    assert len(names) == len(set(names)) == 7
    assert all(" 4096" in name and "generate" not in name for name in names)


def test_every_row_that_another_is_compared_to_comes_before_it():
    for size in ("base", "tiny"):
        before = set()
        for each in all_rows(size):
            assert each.compared_to is None or each.compared_to in before
            before.add(each.name)
        assert len(before) == len(all_rows(size))


def test_the_suite_turns_to_ours_and_theirs_and_writes_what_it_found(tmp_path):
    rows, order = chosen_rows(all_rows("tiny"), ["led encode", "led train 64"], quick=False), []

    def noted(task):
        order.append((task.family, task.job, task.length, task.side, task.half_window))
        return made_up(task)

    console = Console(file=io.StringIO(), width=180)
    run_suite(rows, tmp_path / "out", console, rounds=2, run=noted, measure=ceiling)
    assert [side for *_, side, _ in order[:4]] == ["ours", "theirs", "ours", "theirs"]
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    assert written["rows"]["led encode 64"]["figures"]["time_ratio"] == pytest.approx(3.0)
    assert written["rows"]["led encode 64"]["targets"]["time_ratio"]["met"] is True
    assert written["rows"]["led encode 64"]["targets"]["ceiling_share"]["met"] is False
    assert written["rows"]["led encode 1024"]["targets"]["token_time_ratio"]["met"] is True
    assert len(written["rows"]["led train 64"]["runs"]["theirs"]) == 2
    for name in ("time-per-token.png", "peak-memory.png"):
        assert (tmp_path / "out" / name).read_bytes()[:8] == PNG_SIGNATURE
    text = console.file.getvalue()
    assert MISSED in text
    assert "3.00 (>= 2.3)" in text
    assert "ceiling: 100 GFLOP/s" in text
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "peak-memory.png",
        "results.json",
        "time-per-token.png",
    ]


def test_rows_before_a_failure_are_kept(tmp_path):
    rows = chosen_rows(all_rows("tiny"), ["encode 64"], quick=False)

    def fails_later(task):
        if task.family != "led":
            raise WorkerError("out of memory")
        return made_up(task)

    console = Console(file=io.StringIO())
    with pytest.raises(WorkerError, match="out of memory"):
        run_suite(rows, tmp_path, console, run=fails_later, measure=ceiling)
    assert list(json.loads((tmp_path / "results.json").read_text())["rows"]) == ["led encode 64"]


def test_lines_of_a_plot_run_by_length():
    rows = [row(name="b", length=128), row(name="a", length=64), row(name="narrow", half_window=True)]
    figures = {name: {"ours_seconds": 0.064, "ours_peak_gb": 1.0} for name in ("a", "b", "narrow")}
    lines = plot_lines(rows, figures, "seconds")
    assert lines == {("led", "ours"): [(64, pytest.approx(1.0)), (128, pytest.approx(0.5))]}


@pytest.mark.parametrize("module", ["arithmetic", "gpu", "jobs", "models", "report", "task"])
def test_examples_run(module):
    found = doctest.testmod(importlib.import_module(f"benchmarks.{module}"))
    assert found.attempted
    assert not found.failed
