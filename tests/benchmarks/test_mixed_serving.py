"""The mixed serving benchmark at the size "tiny": each way of batching is asked, and held to the answers alone."""

import json

import pytest

from benchmarks import __main__ as program


# Four processes, each of which starts TensorFlow.
@pytest.mark.slow
def test_every_way_of_batching_answers_and_is_reported(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "160")
    options = ["--size", "tiny", "--lengths", "1024,4096", "--long", "4000", "--seconds", "1", "--new-tokens", "3"]
    assert program.main(["serving", "--mixed", *options, "--output", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "mixed-serving.json").read_text())["figures"]
    assert set(found) == {"none", "server", "graph"}
    for one in found.values():
        assert one["wrong"] == 0
        assert one["short"]["count"] > one["long"]["count"] > 0
        assert 0 < one["short"]["median"] <= one["short"]["p95"]
    printed = capsys.readouterr().out
    assert "graph's batches" in printed
    assert "every answer equals that of the document alone" in printed
