"""The report on what compilers say: results are kept as they come, and a bad row stops nothing."""

import configparser
import json
from pathlib import Path

import pytest

from accelerators import report
from accelerators.__main__ import main
from accelerators.jobs import Job
from accelerators.targets import TARGETS

ROOT = Path(__file__).parents[2]
FOUND = {
    "compile_s": 3.0,
    "arguments_mb": 1234.0,
    "temp_mb": 5.0,
    "peak_mb": 6.0,
    "teraflop": 0.5,
    "hbm_gb": 1.0,
    "cycles_ms": 9.0,
    "collectives": {"all-reduce": 2},
}
FIRST, SECOND = Job("led", "encode", 4096), Job("led", "train", 4096)


def test_rows_are_written_as_they_come_and_a_failed_one_is_noted(tmp_path):
    output, shown, seen = tmp_path / "new" / "rows.json", [], []

    def compile_one(target, job, minutes):
        seen.append(output.exists() and len(json.loads(output.read_text())))
        return {"error": f"not compiled in {minutes:g} minutes"} if job == FIRST else FOUND

    chosen = [("v5e", FIRST), ("v5e", SECOND)]
    assert report.run(chosen, output, 2, show=shown.append, compile_one=compile_one) == 1
    assert seen == [False, 1]
    assert shown[2] == "| led base encode 4096 x 1 bfloat16 | v5e | failed: not compiled in 2 minutes | | | | | | | |"
    assert shown[3] == (
        "| led base train 4096 x 1 bfloat16 | v5e | 3 | 1,234 | 5 | 6 | 0.500 | 1.00 | 9.0 | 2 all-reduce |"
    )
    assert all(line.count("|") == shown[0].count("|") for line in shown)
    # A row that is made anew takes its old place; the others stay.
    assert report.run(chosen[:1], output, 2, show=shown.append, compile_one=lambda *_: FOUND) == 0
    rows = json.loads(output.read_text())
    assert [row["name"] for row in rows.values()] == [FIRST.name, SECOND.name]
    assert not any("error" in row for row in rows.values())


def test_there_is_a_row_for_each_model_length_batch_and_job_and_one_of_a_divided_document():
    found = report.jobs()
    assert len({job.name for job in found}) == len(found) == 3 * 2 * 2 * 4 + 1


def test_a_process_that_fails_is_a_failed_row(monkeypatch):
    monkeypatch.setattr("sys.executable", "false")
    assert report._compile_in_process("v5e", FIRST, 1) == {"error": "exit code 1"}


def test_a_process_that_lasts_too_long_is_a_failed_row(tmp_path, monkeypatch):
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nsleep 30\n")
    slow.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(slow))
    assert report._compile_in_process("v5e", FIRST, 0.005) == {"error": "not compiled in 0.005 minutes"}


def test_the_figures_of_a_gpu_are_there():
    targets = {target.kind for target in TARGETS.values()}
    assert targets == {"tpu", "gpu"}
    assert "cuda_compute_capability" in TARGETS["h100"].config.read_text()


@pytest.mark.parametrize("target", ["v9", ""])
def test_an_unknown_target_is_refused(target, capsys):
    with pytest.raises(SystemExit):
        main(["report", "--target", target])
    assert "invalid choice" in capsys.readouterr().err


def test_the_extra_and_the_environment_of_the_check_have_one_version():
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg")
    (version,) = setup["options.extras_require"]["tpu"].split()
    assert version in (ROOT / "accelerators" / "tpu.txt").read_text().splitlines()
    assert f"jax=={version.split('==')[1]}" in (ROOT / "accelerators" / "gpu.txt").read_text().splitlines()
