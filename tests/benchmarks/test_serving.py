"""The serving benchmark at the size "tiny": exported, asked on its own, and reported."""

import json
import math

import tfmodels
from benchmarks import __main__ as program
from benchmarks.serving_worker import document


def test_the_program_measures_and_reports(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "160")
    options = ["--size", "tiny", "--lengths", "1024,4096", "--batch-sizes", "2", "--repeats", "2", "--new-tokens", "3"]
    assert program.main(["serving", *options, "--output", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "serving.json").read_text())
    assert set(found["cases"]) == {"7", "64", "7+7", "7+64", "16+16", "64+64"}
    for case in found["cases"].values():
        assert set(case) == {"plain"}
        assert len(case["plain"]["all_seconds"]) == 2
        assert min(case["plain"]["all_seconds"]) <= case["plain"]["seconds"] <= max(case["plain"]["all_seconds"])
    assert all(math.isfinite(value) and value > 0 for value in found["peak_gb"].values())
    assert set(found["peak_gb"]) == {"16", "64"}
    printed = capsys.readouterr().out
    assert "2 x 16" in printed
    assert "plain: 7 tokens answer" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["serving.json"]


def test_documents_have_the_wanted_number_of_tokens():
    tokenizer = tfmodels.LEDTokenizer.train_from_iterator(["the report was read in full by nobody"], 300)
    for tokens in (16, 100, 1000):
        assert 0 <= tokens - len(tokenizer.encode(document(tokenizer, tokens))) < 12
    assert document(tokenizer, 2) == ""
