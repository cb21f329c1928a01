"""The settings to choose among: each row has its figures, on the screen and on disk."""

import io
import json

from rich.console import Console

from benchmarks import __main__ as program
from benchmarks.settings import chosen_tasks, name_of, run_settings


def test_every_row_has_its_figures_for_one_document(tmp_path):
    figures = {"seconds": 4.0, "cpu_seconds": 8.0, "first_seconds": 30.0, "peak_gb": 1.5}
    tasks = chosen_tasks(["led encode jax float32 1024"])
    console = Console(file=io.StringIO(), width=200)
    run_settings(tasks, tmp_path, console, run=lambda task: figures)
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert rows == {name_of(task): figures for task in tasks}
    # Of four documents in 4 seconds each takes 1, and 2 CPU seconds: 1,024 tokens a second.
    assert "30.00 first run s, 1.00 s a document, 2.00 CPU s a document, 1,024 tokens a s" in console.file.getvalue()


def test_names_tell_all_rows_apart():
    names = [name_of(task) for task in chosen_tasks([])]
    assert len(set(names)) == len(names)


def test_a_row_that_does_not_exist_is_an_error(capsys):
    assert program.main(["settings", "--only", "led decode"]) == 2
    assert "--only must be part of a row's name: led encode tensorflow float32 1024 x 1" in capsys.readouterr().err
