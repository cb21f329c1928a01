"""The training program on a file that a user wrote: the whole road, from a file to a model, its scores and further."""

import json
import subprocess
import sys

import huggingface_hub
import numpy as np
import pytest

from tfmodels.auto import load_pretrained

WORDS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta")
SMALL = {
    "lengths.source": "[32]",
    "lengths.target": "8",
    "lengths.batch_tokens": "256",
    "weights.vocab_size": "300",
    "steps.max_steps": "6",
    "steps.evaluate_every": "3",
    "evaluation.rouge_rows": "2",
    "evaluation.test_rows": "3",
}
VOCABULARIES = ("spiece.model", "vocab.json", "merges.txt")


def run(*arguments):
    command = [sys.executable, "-m", "training", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)


def flags(**settings):
    return [text for name, value in settings.items() for text in (f"--{name}", str(value))]


def write_rows(folder):
    path = folder / "mine.jsonl"
    with path.open("w") as file:
        for number in range(120):
            article = " ".join(WORDS[(number * step) % 8] for step in range(1, 12))
            file.write(json.dumps({"article": f"{article} {number}", "abstract": f"about {article[:20]}"}) + "\n")
    return path


@pytest.fixture(scope="module", params=["longt5-tglobal-tiny", pytest.param("led-tiny", marks=pytest.mark.thorough)])
def trained(request, tmp_path_factory):
    """The settings and the folder of a run on a user's file."""
    folder = tmp_path_factory.mktemp("trained")
    fields = '{"document": "article", "summary": "abstract"}'
    data = {"data.train": write_rows(folder), "data.fields": fields, "data.cache": folder / "cache"}
    settings = {**SMALL, **data, "model": request.param, "output": folder / "out"}
    done = run(*flags(**settings))
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return settings, done.stdout


def test_a_users_file_becomes_a_model_with_report_plot_and_logs(trained):
    settings, printed = trained
    output = settings["output"]
    report = json.loads((output / "report.json").read_text())
    assert set(report["scores"]["model"]) == {"rouge1", "rouge2", "rougeL", "rougeLsum"}
    assert report["settings"]["optim.learning_rate"] == 1e-3
    assert report["state"]["step"] == 6
    assert (output / "loss.png").read_bytes()[:4] == b"\x89PNG"
    assert list((output / "tensorboard").rglob("events.*"))
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in lines if line["kind"] == "validation"] == [3, 6]
    assert "chosen by the model: " in printed
    assert "lead" in printed
    assert len((output / "predictions.jsonl").read_text().splitlines()) == min(3, report["rows"]["test"])
    card = huggingface_hub.ModelCard((output / "model" / "README.md").read_text()).data
    scores = {(one.dataset_split, one.metric_name): one.metric_value for one in card.eval_results}
    assert scores["test", "ROUGE-L"] == pytest.approx(report["scores"]["model"]["rougeL"][0], abs=1e-4)
    assert scores["validation", "loss"] == pytest.approx(report["state"]["best"], abs=1e-4)
    assert {(one.dataset_name, one.dataset_type) for one in card.eval_results} == {("mine.jsonl", "json")}
    model, tokenizer = load_pretrained(output / "model")
    summaries = tokenizer.batch_decode(model.generate(**tokenizer(["alpha beta"], max_length=32)))
    assert len(summaries) == 1


def test_a_finished_run_says_so_and_goes_on_with_more_steps(trained):
    settings, _ = trained
    again = run(*flags(**settings))
    assert again.returncode == 2
    assert "has finished" in again.stderr
    card = settings["output"] / "model" / "README.md"
    card.write_text("by hand")
    more = run(*flags(**{**settings, "steps.max_steps": 7}))
    assert more.returncode == 0, more.stderr
    assert card.read_text() == "by hand"
    assert "the model's card is by hand and stays" in more.stdout
    assert json.loads((settings["output"] / "report.json").read_text())["state"]["step"] == 7


def test_training_goes_on_from_a_folder_with_its_own_tokenizer(trained, tmp_path):
    settings, _ = trained
    first = settings["output"] / "model"
    further = {**settings, "model": first, "output": tmp_path / "second", "weights.jit": "false"}
    done = run(*flags(**further, **{"weights.remat": "true", "optim.smoothing": "0.1", "optim.name": "adafactor"}))
    assert done.returncode == 0, done.stderr
    vocabulary = [path.name for path in first.iterdir() if path.name in VOCABULARIES]
    assert vocabulary
    for name in (*vocabulary, "config.json"):
        assert (tmp_path / "second" / "model" / name).read_bytes() == (first / name).read_bytes()


def test_a_finished_model_is_scored_on_further_files(trained, tmp_path):
    settings, _ = trained
    predictions = tmp_path / "predictions.jsonl"
    done = run(
        "evaluate", settings["output"], "--data", settings["data.train"], "--rows", 5, "--predictions", predictions
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in predictions.read_text().splitlines()]
    assert [set(row) for row in rows] == [{"place", "reference", "prediction"}] * 5
    assert "5 documents" in done.stdout


def test_prepare_tells_what_a_run_would_do_and_writes_nothing(tmp_path):
    data = write_rows(tmp_path)
    settings = {**SMALL, "data.train": data, "data.cache": tmp_path / "cache", "model": "led-tiny"}
    settings |= {"data.fields": '{"document": "article", "summary": "abstract"}', "output": tmp_path / "out"}
    done = run("prepare", *flags(**{**settings, "lengths.source": "[16]"}))
    assert done.returncode == 0, done.stderr
    assert "warning: " in done.stderr
    assert "are cut" in done.stderr
    assert "6 steps" in done.stdout
    assert not (tmp_path / "out").exists()


def test_the_seed_gives_the_weights():
    import keras

    from training.presets import PRESETS

    preset = PRESETS["longt5-local-tiny"]
    tokenizer = preset.train_tokenizer([f"document number {n} of some words" for n in range(20)], 140)
    models = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        models.append(preset.create_model(tokenizer))
    first, again, other = (np.asarray(model.shared.embeddings) for model in models)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
