"""The programs themselves, at the size "tiny": workers of both sides, the ceiling, the profile, the GPU's rows on the
CPU, and every bad option."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks import __main__ as program
from benchmarks import ceiling, devices
from benchmarks.bandwidth import gigabytes_per_second
from benchmarks.ceiling import ENGINES, SHAPES, engine_rates
from benchmarks.decoding import check_made
from benchmarks.gpu import gpu_rows, run_gpu
from benchmarks.memory import peak_bytes, reset_peak
from benchmarks.processes import WorkerError, run_module, run_task
from benchmarks.profiling import profile
from benchmarks.task import Task, parse_task
from benchmarks.worker import measure


def check(figures, repeats, *further):
    assert set(figures) == {"seconds", "all_seconds", "cpu_seconds", "first_seconds", "peak_gb", *further}
    assert len(figures["all_seconds"]) == repeats
    assert all(value > 0 for value in (figures["seconds"], figures["first_seconds"], figures["peak_gb"]))


@pytest.mark.parametrize(
    "task",
    [
        Task("ours", "led", "train", 64, size="tiny", repeats=1),
        Task("ours", "longt5-tglobal", "encode", 64, size="tiny", backend="jax", dtype="bfloat16", batch=2),
        Task("theirs", "led", "train", 64, size="tiny", repeats=1, warmup_length=16),
        Task("theirs", "longt5-tglobal", "encode", 64, size="tiny", dtype="bfloat16", batch=2),
    ],
    ids=lambda task: " ".join(task.arguments()),
)
def test_a_worker_prints_its_figures(task):
    check(run_task(task), task.repeats)


@pytest.mark.parametrize(
    "task",
    [
        Task("ours", "longt5-tglobal", "decode", 64, size="tiny", beams=4, measures_memory=True, repeats=1),
        Task("theirs", "longt5-tglobal", "decode", 64, size="tiny", beams=4, repeats=1),
        Task("theirs", "led", "decode", 64, size="tiny", repeats=1),
    ],
    ids=lambda task: " ".join(task.arguments()),
)
def test_a_worker_times_decoding_alone(task):
    found = run_task(task)
    check(found, 1, "start_seconds", *(["search_gb"] if task.measures_memory else []))
    assert found["start_seconds"] > 0


@pytest.mark.parametrize("beams", [1, 4])
def test_our_search_runs_with_xla_and_without(beams):
    for without_xla in (False, True):
        task = Task("ours", "led", "decode", 64, size="tiny", beams=beams, without_xla=without_xla, repeats=1)
        check(measure(task), 1, "start_seconds")


@pytest.mark.parametrize("sequences", [[[2, 7, 7]], [[2, 7, 7, 7, 7]], [[2, 7, 2, 7]], [[2, 7, 7, 7], [2, 7, 7, 2]]])
def test_a_search_that_ends_early_or_late_is_an_error(sequences):
    check_made(np.array([[2, 7, 7, 7]]), 3, end=2)
    with pytest.raises(ValueError, match="must make 3 tokens without the end token 2"):
        check_made(np.array(sequences), 3, end=2)


@pytest.mark.parametrize("family", ["led", "longt5-local"])
def test_our_encoders_run_with_either_window(family):
    for half_window in (False, True):
        check(measure(Task("ours", family, "encode", 64, size="tiny", half_window=half_window)), 2)


def test_a_task_survives_its_command_line():
    task = Task(
        "ours",
        "longt5-local",
        "train",
        128,
        2,
        "tiny",
        True,
        True,
        4,
        True,
        True,
        "jax",
        "gpu",
        "bfloat16",
        True,
        3,
        64,
    )
    assert parse_task(task.arguments()) == task


def test_a_failing_worker_is_named_with_the_end_of_its_stderr():
    with pytest.raises(WorkerError, match="(?s)benchmarks.worker ours led.*exit code 2.*invalid choice: 'sing'"):
        run_module("benchmarks.worker", ["ours", "led", "sing", "64"])


def test_a_worker_without_figures_is_an_error():
    with pytest.raises(WorkerError, match="no figures"):
        run_module("this", [])


def test_our_side_refuses_another_backend_than_the_one_that_is_loaded():
    with pytest.raises(ValueError, match="KERAS_BACKEND must be jax.*Received: tensorflow"):
        measure(Task("ours", "led", "encode", 64, size="tiny", backend="jax"))


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_has_a_rate_for_every_shape(engine):
    rates = engine_rates(engine, "tiny", repeats=1)
    assert len(rates) == len(SHAPES["tiny"])
    assert all(rate > 0 for rate in rates.values())


def test_copies_are_measured():
    assert gigabytes_per_second("tiny", repeats=1) > 0


def test_the_ceiling_is_the_best_of_the_engines(monkeypatch):
    found = {
        engine: {"products": {"2x2x2": 2.0 * rank, "4x4x4": 1.0}, "gb_per_second": 9.0 - rank}
        for rank, engine in enumerate(ENGINES)
    }
    monkeypatch.setattr(ceiling, "run_module", lambda _, arguments: found[arguments[0]])
    best = ceiling.measure_ceiling("tiny")
    assert (best["gflops"], best["gb_per_second"]) == (4.0, 9.0)
    assert set(best["engines"]) == set(ENGINES)


def test_the_peak_is_this_processs_own():
    before = peak_bytes()
    held = bytearray(b"x" * 300_000_000)
    assert peak_bytes() >= before
    assert peak_bytes() > len(held)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells what a process holds")
def test_a_peak_that_is_over_can_be_forgotten():
    size = 300_000_000
    held = bytearray(b"x" * size)
    high = peak_bytes()
    del held
    now = reset_peak()
    assert now <= high - 0.9 * size
    again = bytearray(b"x" * (size // 2))
    assert peak_bytes() - now >= 0.9 * len(again)


@pytest.mark.parametrize(
    ("family", "job"),
    [("longt5-tglobal", "encode"), pytest.param("led", "train", marks=pytest.mark.slow)],
)
def test_a_profile_shows_every_part(family, job):
    console = Console(file=io.StringIO(), width=120)
    shares = profile(Task("ours", family, job, 64, size="tiny", repeats=1), console)
    names = [share.name for share in shares]
    assert {"embedding", "attention core", "norms and residuals", "output projection"} <= set(names)
    assert ("optimizer update" in names) == (job == "train")
    for share in shares:
        assert share.seconds > 0 or "by difference" in share.name
    assert "not explained" in console.file.getvalue()


def test_gpu_rows_go_on_after_a_variant_that_fails(tmp_path):
    def run(task):
        if task.torch_compile:
            raise WorkerError("worker: exit code 1\nout of memory")
        return {"seconds": 1.0 if task.side == "ours" else 4.0, "peak_gb": 2.0}

    console = Console(file=io.StringIO(), width=160)
    rows = gpu_rows("tiny", ["led train 64"])
    run_gpu(tmp_path, console, rows, "some device", device="cpu", size="tiny", run=run)
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["device"] == "some device"
    assert list(written["rows"]) == ["led train 64 batch 1", "led train 64 batch 8"]
    assert "out of memory" in written["rows"]["led train 64 batch 8"]["compiled"]["error"]
    assert "4.00" in console.file.getvalue()
    assert "failed" in console.file.getvalue()


def test_without_a_gpu_there_is_one_line_and_an_exit_code(monkeypatch, capsys):
    monkeypatch.setattr(devices, "run_module", lambda *_: {"platform": "cpu", "gpus": []})
    assert program.main(["gpu"]) == 2
    assert capsys.readouterr().err == "error: jax must see a GPU. Received: cpu alone\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--fast"],
        ["--rounds", "0"],
        ["--backend", "torch"],
        ["--qui"],
        ["profile", "led", "decode", "64"],
        ["profile", "led", "encode", "-1"],
        ["gpu", "--rounds", "2"],
    ],
)
def test_unknown_options_are_errors(arguments, capsys):
    with pytest.raises(SystemExit) as exit_info:
        program.main(arguments)
    assert exit_info.value.code == 2
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--only", "lde"], ["--quick", "--only", "16384"], ["gpu", "--only", "lde"]])
def test_a_row_that_does_not_exist_is_an_error(arguments, capsys):
    assert program.main(arguments) == 2
    message = capsys.readouterr().err
    assert "--only must be part of a row's name: led encode 4096" in message
    assert message.rstrip().endswith(f"Received: --only {arguments[-1]}")
