"""The ONNX benchmark at the size "tiny": six processes, half a minute."""

import json

import pytest

from benchmarks import __main__ as program

pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
pytest.importorskip("tf2onnx", reason="the extra onnx is not installed")


@pytest.mark.thorough
def test_the_program_compares_and_times_every_side(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "160")
    options = ["--family", "longt5-tglobal", "--size", "tiny", "--lengths", "4096", "--rounds", "1", "--repeats", "1"]
    assert program.main(["onnx", *options, "--output", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "onnx.json").read_text())["families"]["longt5-tglobal"]
    for graph in ("encode", "classify", "answer"):
        assert set(found["differences"][graph]) == {"1", "33", "64"}
        assert max(found["differences"][graph].values()) < 1e-4
    assert all(len(turns) == 1 and turns[0]["seconds"] > 0 for turns in found["rounds"]["64"].values())
    assert "ONNX Runtime" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["onnx.json"]
