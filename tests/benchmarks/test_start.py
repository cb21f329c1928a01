"""The time to the first step, stage by stage: every stage has a time, and a second process compiles nothing."""

import io
import json

import pytest
from rich.console import Console

from benchmarks import __main__ as program
from benchmarks.stages import Stages, total
from benchmarks.start import Cell, chosen_cells, run_start
from benchmarks.start_worker import TO_FIRST_RUN

STAGES = {*TO_FIRST_RUN, "second run"}


@pytest.mark.parametrize(("backend", "job"), [("tensorflow", "generate"), ("jax", "train")])
def test_every_stage_has_a_time_and_a_second_process_finds_its_program(backend, job, tmp_path):
    console = Console(file=io.StringIO(), width=200)
    cell = Cell("longt5-tglobal", "tiny", backend, job)
    run_start([cell], tmp_path, console, ["first", "second"])
    rows = json.loads((tmp_path / "results.json").read_text())["rows"][cell.name]
    assert list(rows) == ["first", "second"]
    for figures in rows.values():
        assert set(figures["stages"]) == STAGES
        assert all(stage["cpu_seconds"] >= 0 for stage in figures["stages"].values())
        assert figures["operations"] > 100
        assert figures["peak_gb"] > 0.1
    compiling = [figures["stages"]["compile"]["cpu_seconds"] for figures in rows.values()]
    assert compiling[1] < 0.7 * compiling[0]
    assert f"{cell.name} second" in console.file.getvalue()


def test_a_stage_can_be_taken_from_another():
    stages = Stages()
    for name in ("compile", "run"):
        stages.run(name, lambda: None)
    stages.figures["compile"]["seconds"], stages.figures["run"]["seconds"] = 3.0, 1.0
    stages.subtract("compile", "run")
    assert total(stages.figures, ("compile", "run")) == 3.0


def test_cells_are_chosen_by_text_and_size():
    assert len(chosen_cells([], ["tiny", "base"])) == 16
    assert {cell.size for cell in chosen_cells(["jax"], ["base"])} == {"base"}


def test_a_cell_that_does_not_exist_is_an_error(capsys):
    assert program.main(["start", "--only", "led base", "--size", "tiny"]) == 2
    assert "--only must be part of a row's name: led tiny tensorflow train 64" in capsys.readouterr().err
