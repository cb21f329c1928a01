"""The benchmark of smaller weights at the size "tiny": each way is exported, asked in a process, and reported."""

import json

import pytest

from benchmarks import __main__ as program


# Ten processes, each of which starts TensorFlow.
@pytest.mark.slow
def test_every_way_of_storing_is_measured_and_reported(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    options = ["--size", "tiny", "--lengths", "1024", "--new-tokens", "3", "--repeats", "1", "--output", str(tmp_path)]
    assert program.main(["serving", "--weights", *options]) == 0
    found = json.loads((tmp_path / "weight-serving.json").read_text())["figures"]
    sizes = [one["disk_bytes"] for one in found.values()]
    whole, bfloat16, int8, computed, int8_computed = sizes
    assert bfloat16 < whole
    assert computed < bfloat16
    assert int8 < bfloat16
    assert int8_computed < int8
    assert all(one["by_length"]["16"]["cpu_seconds"] > 0 for one in found.values())
    assert "int8, computed in bfloat16" in capsys.readouterr().out
    assert program.main(["serving", "--weights", *options, "--model", "somewhere"]) == 2
