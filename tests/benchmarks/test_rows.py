"""From workers' figures to rows, ratios and verdicts, and what is written and printed of them."""

import doctest
import importlib
import io
import json
import os

import pytest
from rich.console import Console

from benchmarks.decoding import cross_cache_bytes, step_bytes
from benchmarks.figures import needed_gflop, row_figures
from benchmarks.instructions import imitate_avx2, instructions
from benchmarks.jobs import Row, Target, all_rows, chosen_rows, verdicts
from benchmarks.models import NEW_TOKENS, config_fields
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


def run(seconds, peak_gb, first_seconds=0.0, **figures):
    return {"seconds": seconds, "peak_gb": peak_gb, "first_seconds": first_seconds, **figures}


def decode_row(**changes):
    return row(**({"job": "decode", "targets": ()} | changes))


def decode_run(seconds, start_seconds=0.0, **figures):
    return run(seconds, 1.0, start_seconds=start_seconds, **figures)


def made_up(task):
    """A run whose theirs takes four times as long as ours, compiled three and a half, and both twice as much."""
    factor = 1.0 if task.side == "ours" else 3.5 if task.torch_compile else 4.0
    peak_gb = 1.0 if task.side == "ours" else 2.0
    return run(1e-3 * factor * task.length, peak_gb, 50.0, start_seconds=1e-4 * task.length, search_gb=0.1 * task.beams)


def ceiling(size):
    return {
        "gflops": 100.0,
        "engines": {"torch": {"2x2x2": 100.0}},
        "gb_per_second": 8.0,
    }


def test_figures_are_ratios_of_medians():
    runs = {"ours": [run(1, 3), run(9, 1), run(2, 2)], "theirs": [run(8, 4), run(5, 4)]}
    found = row_figures(row(), runs, {})
    assert (found["ours_seconds"], found["theirs_seconds"]) == (2, 6.5)
    assert found["time_ratio"] == pytest.approx(3.25)
    assert found["memory_ratio"] == pytest.approx(0.5)
    assert "ceiling_share" not in found


def test_the_better_of_eager_and_compiled_is_the_peer():
    runs = {"ours": [run(2, 3)], "theirs": [run(8, 4)], "compiled": [run(6, 6)]}
    found = row_figures(row(), runs, {})
    assert (found["time_ratio"], found["memory_ratio"]) == (3.0, 0.75)


def test_a_peer_that_does_not_compile_is_left_out_and_another_failure_ends_the_run(tmp_path):
    rows, console = chosen_rows(all_rows("tiny"), ["led train 64"], quick=False), Console(file=io.StringIO(), width=200)

    def failing(side):
        def run(task):
            if (task.side, task.torch_compile) == side:
                raise WorkerError("no compiler\nAssertionError: no")
            return made_up(task)

        return run

    run_suite(rows[:1], tmp_path, console, rounds=2, run=failing(("theirs", True)), measure=ceiling)
    written = json.loads((tmp_path / "results.json").read_text())["rows"]["led train 64"]
    assert written["figures"]["time_ratio"] == pytest.approx(4.0)
    assert "compiled left out: AssertionError: no" in console.file.getvalue()
    with pytest.raises(WorkerError):
        run_suite(rows[:1], tmp_path, console, rounds=1, run=failing(("theirs", False)), measure=ceiling)


def test_imitated_instructions_are_named_and_reach_every_engine(monkeypatch):
    monkeypatch.setattr(os, "environ", {"XLA_FLAGS": "--xla_some=1"})
    imitate_avx2()
    assert instructions().startswith("AVX2, imitated")
    assert os.environ["XLA_FLAGS"] == "--xla_some=1 --xla_cpu_max_isa=AVX2"
    assert (os.environ["ONEDNN_MAX_CPU_ISA"], os.environ["ATEN_CPU_CAPABILITY"]) == ("AVX2", "avx2")


def test_the_share_of_the_ceiling_counts_needed_work_alone():
    found = row_figures(row(), {"ours": [run(0.5, 1)]}, {}, {"gflops": 10.0, "gb_per_second": 1.0})
    assert found["ceiling_share"] == pytest.approx(needed_gflop(row()) / 0.5 / 10.0)
    assert "time_ratio" not in found


def test_compiling_is_the_first_step_without_a_later_one():
    found = row_figures(row(job="train"), {"ours": [run(10, 1, 75), run(12, 1, 80)]}, {})
    assert found["compile_seconds"] == pytest.approx(66.5)


def test_rows_compare_by_time_per_token():
    short = row_figures(row(), {"ours": [run(1, 1)]}, {})
    longer = row(name="longer", length=128, compared_to="some", targets=(Target("token_time_ratio", 1.2),))
    found = row_figures(longer, {"ours": [run(3, 1)]}, {"some": short})
    assert found["token_time_ratio"] == pytest.approx(1.5)
    assert "token_time_ratio" not in row_figures(longer, {"ours": [run(3, 1)]}, {})


def test_tokens_count_by_the_whole_search_and_steps_without_the_first():
    tokens = NEW_TOKENS["tiny"]
    found = row_figures(decode_row(), {"ours": [decode_run(2.0, 0.5)], "theirs": [decode_run(8.0, 2.0)]}, {})
    assert found["ours_tokens_per_second"] == pytest.approx(tokens / 2.0)
    assert found["theirs_tokens_per_second"] == pytest.approx(tokens / 8.0)
    assert found["ours_step_seconds"] == pytest.approx(1.5 / (tokens - 1))
    assert found["time_ratio"] == pytest.approx(4.0)
    assert "ours_seconds_per_token" not in found


def test_the_share_of_the_bandwidth_counts_what_greedy_steps_must_read():
    tokens, fields = NEW_TOKENS["tiny"], config_fields("led", "tiny", 64)
    read = tokens * step_bytes("led", fields, 64)
    runs = {"ours": [decode_run(2.0, 0.5)]}
    found = row_figures(decode_row(), runs, {}, {"gflops": 1.0, "gb_per_second": 4.0})
    assert found["bandwidth_share"] == pytest.approx(read / 2.0 / 4e9)
    assert found["ours_step_bandwidth_share"] == pytest.approx(read / tokens * (tokens - 1) / 1.5 / 4e9)
    assert "bandwidth_share" not in row_figures(decode_row(beams=4), runs, {}, {"gflops": 1.0, "gb_per_second": 4.0})


def test_searches_compare_by_speed_steps_and_memory():
    cache = cross_cache_bytes("led", config_fields("led", "tiny", 64), 64)
    others = {"greedy": row_figures(decode_row(), {"ours": [decode_run(2.0, 1.0, search_gb=0.5)]}, {})}
    runs = {"ours": [decode_run(4.0, 1.0, search_gb=0.5 + 0.25 * cache / 1e9)]}

    def compared(figure):
        targets = (Target(figure, 1.0),)
        return row_figures(decode_row(beams=4, compared_to="greedy", targets=targets), runs, others)

    assert compared("xla_speed_share")["xla_speed_share"] == pytest.approx(0.5)
    assert compared("step_time_ratio")["step_time_ratio"] == pytest.approx(3.0)
    assert compared("added_memory_share")["added_memory_share"] == pytest.approx(0.25)
    assert "step_time_ratio" not in compared("xla_speed_share")


def test_memory_that_was_not_measured_meets_no_target():
    others = {"greedy": row_figures(decode_row(), {"ours": [decode_run(2.0)]}, {})}
    beams = decode_row(compared_to="greedy", targets=(Target("added_memory_share", 0.15),))
    assert verdicts(beams, row_figures(beams, {"ours": [decode_run(2.0)]}, others)) == {"added_memory_share": None}


def test_verdicts_name_what_is_met_missed_and_not_measured():
    found = verdicts(row(), {"time_ratio": 2.3, "memory_ratio": 0.81})
    assert found == {"time_ratio": True, "memory_ratio": False, "ceiling_share": None}


def test_the_quick_benchmark_has_the_rows_of_one_length():
    names = [row.name for row in chosen_rows(all_rows(), [], quick=True)]
    assert len(names) == len(set(names)) == 7
    assert all(" 4096" in name and "decode" not in name for name in names)


def test_decoding_alone_can_be_chosen_and_each_search_has_its_rows():
    names = [row.name for row in chosen_rows(all_rows(), ["decode"], quick=False)]
    for family in ("led", "longt5-tglobal"):
        of_family = [name.removeprefix(f"{family} decode ") for name in names if name.startswith(family)]
        short = [f"4096 beams {beams}{kind}" for kind in ("", " without XLA", " memory") for beams in (1, 4)]
        others = ["4096 beams 1 bfloat16 weights", "16384 beams 1", "16384 beams 4"]
        assert sorted(of_family) == sorted([*short, *others])
    assert len(names) == 18


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
        order.append((task.family, task.job, task.length, task.side, task.torch_compile))
        return made_up(task)

    console = Console(file=io.StringIO(), width=200)
    run_suite(rows, tmp_path / "out", console, rounds=2, run=noted, measure=ceiling)
    assert [side for *_, side, _ in order[:3]] == ["ours", "theirs", "theirs"]
    assert [is_compiled for *_, is_compiled in order[:6]] == [False, False, True] * 2
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    assert written["rows"]["led encode 64"]["figures"]["time_ratio"] == pytest.approx(3.5)
    assert written["rows"]["led encode 64"]["targets"]["time_ratio"]["met"] is True
    assert written["rows"]["led encode 64"]["targets"]["ceiling_share"]["met"] is False
    assert written["rows"]["led encode 1024"]["targets"]["token_time_ratio"]["met"] is True
    assert len(written["rows"]["led train 64"]["runs"]["theirs"]) == 2
    for name in ("time-per-token.png", "peak-memory.png"):
        assert (tmp_path / "out" / name).read_bytes()[:8] == PNG_SIGNATURE
    text = console.file.getvalue()
    assert MISSED in text
    assert "3.50 (>= 3.5)" in text
    assert instructions() in text
    assert "ceiling: 100 GFLOP/s" in text
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "peak-memory.png",
        "results.json",
        "time-per-token.png",
    ]


def test_decoding_is_reported_with_its_speed_shares_and_verdicts(tmp_path):
    console = Console(file=io.StringIO(), width=200)
    rows = chosen_rows(all_rows("tiny"), ["led decode"], quick=False)
    run_suite(rows, tmp_path, console, rounds=1, run=made_up, measure=ceiling)
    written = json.loads((tmp_path / "results.json").read_text())["rows"]
    met = {name: {figure: target["met"] for figure, target in of["targets"].items()} for name, of in written.items()}
    assert met == {
        "led decode 64 beams 1": {"time_ratio": True, "bandwidth_share": False},
        "led decode 64 beams 1 bfloat16 weights": {"float32_speed_ratio": True, "float32_peak_ratio": True},
        "led decode 64 beams 1 without XLA": {"xla_speed_share": True},
        "led decode 64 beams 4": {"time_ratio": False},
        "led decode 64 beams 4 without XLA": {"xla_speed_share": True},
        "led decode 64 beams 1 memory": {},
        "led decode 64 beams 4 memory": {"added_memory_share": False},
        "led decode 256 beams 1": {},
        "led decode 256 beams 4": {"step_time_ratio": True},
    }
    text = console.file.getvalue()
    for shown in ("8.0 GB/s", "ours, tokens/s: 62.5", "theirs, tokens/s: 15.6", "of speed under XLA: 1.00 (>= 0.65)"):
        assert shown in text


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


@pytest.mark.parametrize("module", ["arithmetic", "decoding", "gpu", "jobs", "models", "report", "task"])
def test_examples_run(module):
    found = doctest.testmod(importlib.import_module(f"benchmarks.{module}"))
    assert found.attempted
    assert not found.failed
