"""The training program on a file that a user wrote: the whole road, every bad input, and Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tfmodels.auto import load_pretrained
from training.checkpointing import Checkpoints

FAST = ["--source-lengths", "32", "--target-length", "8", "--batch-tokens", "128", "--vocab-size", "300"]
VOCABULARIES = ("spiece.model", "vocab.json", "merges.txt")


def command(*arguments):
    return [sys.executable, "-m", "training", *map(str, arguments)]


def run(*arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=280, check=False)


@pytest.fixture
def rows(tmp_path):
    return write_rows(tmp_path)


def write_rows(folder):
    path = folder / "mine.jsonl"
    words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"]
    with path.open("w") as file:
        for number in range(48):
            article = " ".join(words[(number * step) % 8] for step in range(1, 12))
            file.write(json.dumps({"article": f"{article} {number}", "abstract": f"about {article[:20]}"}) + "\n")
    return path


def fields(path):
    return ["--data", path, "--document-field", "article", "--summary-field", "abstract"]


@pytest.fixture(scope="module", params=["longt5-tglobal-tiny", pytest.param("led-tiny", marks=pytest.mark.thorough)])
def trained(request, tmp_path_factory):
    """A user's file, and the folder that the program made of it."""
    folder = tmp_path_factory.mktemp("trained")
    data, output = write_rows(folder), folder / "out"
    options = ["--output", output, "--epochs", 1, *FAST, "--test-examples", 3]
    done = run(*fields(data), "--model", request.param, *options)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return data, output


def test_a_users_file_becomes_a_model_with_report_plot_and_logs(trained):
    _, output = trained
    report = json.loads((output / "report.json").read_text())
    assert set(report["rouge"]) == {"rouge1", "rouge2", "rougeL", "rougeLsum"}
    assert np.isfinite(report["history"]["training"]).all()
    assert (output / "loss.png").read_bytes()[:4] == b"\x89PNG"
    assert list((output / "logs").rglob("events.*"))
    assert sorted(child.name for child in output.iterdir()) == ["logs", "loss.png", "model", "report.json"]
    model, tokenizer = load_pretrained(output / "model")
    summaries = tokenizer.batch_decode(model.generate(**tokenizer(["alpha beta"], max_length=32)))
    assert len(summaries) == 1


def test_training_goes_on_from_a_folder_with_its_own_tokenizer(trained, tmp_path):
    data, first = trained
    options = ["--epochs", 1, *FAST, "--no-jit", "--test-examples", 2, "--remat", "--output", tmp_path / "second"]
    done = run(*fields(data), "--model", first / "model", *options)
    assert done.returncode == 0, done.stderr
    vocabulary = [path.name for path in (first / "model").iterdir() if path.name in VOCABULARIES]
    assert vocabulary
    for name in (*vocabulary, "config.json"):
        assert (tmp_path / "second" / "model" / name).read_bytes() == (first / "model" / name).read_bytes()


def test_ctrl_c_keeps_a_usable_model_and_nothing_half_written(rows, tmp_path):
    output = tmp_path / "out"
    arguments = [*fields(rows), "--model", "longt5-local-tiny", "--output", output, "--epochs", 100000, *FAST]
    process = subprocess.Popen(
        command(*arguments, "--no-jit", "--evaluate-every", 3),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background has interrupts ignored, which a child would inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 120
    while not list(output.glob("checkpoints/step-*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    assert "interrupted: keeping the best weights so far" in stdout
    assert not list(output.rglob("*partial*"))
    assert not (output / "checkpoints").exists()
    load_pretrained(output / "model")


def test_a_kill_in_the_middle_of_saving_leaves_the_checkpoint_before_it(tmp_path):
    class Model:
        def save_pretrained(self, folder):
            folder.mkdir()
            (folder / "model.safetensors").write_text("half")
            raise OSError("disk full")

    class Whole(Model):
        def save_pretrained(self, folder):
            folder.mkdir(exist_ok=True)

    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert checkpoints.save(Whole(), Whole(), 1, 2.0)
    with pytest.raises(OSError, match="disk full"):
        checkpoints.save(Model(), Whole(), 2, 1.0)
    assert [child.name for child in checkpoints.folder.iterdir()] == ["step-000001"]
    assert not checkpoints.save(Whole(), Whole(), 3, 3.0)
    assert sorted(child.name for child in checkpoints.folder.iterdir()) == ["step-000001", "step-000003"]
    assert checkpoints.finish(tmp_path / "model").is_dir()
    assert os.listdir(tmp_path) == ["model"]


def test_a_loss_that_is_no_number_is_never_the_best_for_long(tmp_path):
    class Whole:
        def save_pretrained(self, folder):
            folder.mkdir(exist_ok=True)

    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert checkpoints.save(Whole(), Whole(), 1, float("nan"))
    assert checkpoints.save(Whole(), Whole(), 2, 5.0)
    assert not checkpoints.save(Whole(), Whole(), 3, float("nan"))
    assert checkpoints.best == checkpoints.folder / "step-000002"


def test_the_seed_gives_the_weights():
    import keras

    from training.demo.examples import Example
    from training.presets import PRESETS

    examples = [Example(f"document number {n} of some words", f"summary {n}") for n in range(20)]
    models = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        models.append(PRESETS["longt5-local-tiny"].create(examples, 140)[0])
    first, again, other = (np.asarray(model.shared.embeddings) for model in models)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1


def write(path, *lines):
    path.write_bytes(b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines))
    return path


GOOD = {"document": "one two three", "summary": "numbers"}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "no rows"),
        ([GOOD, {"document": "text"}], "summary"),
        ([GOOD, {"document": " ", "summary": "x"}], "document"),
        ([GOOD, {"document": "x", "summary": ""}], "summary"),
        ([GOOD, b'{"document": "\xff", "summary": "x"}\n'], "UTF-8"),
        ([GOOD, b"{broken\n"], "JSON"),
        ([GOOD], "at least 3 examples"),
    ],
)
def test_bad_data_is_an_error_that_names_file_and_line(tmp_path, capsys, lines, message):
    from training.__main__ import main

    path = write(tmp_path / "bad.jsonl", *lines)
    status = main(["--data", str(path), "--model", "led-tiny", "--output", str(tmp_path / "out")])
    error = capsys.readouterr().err
    assert status == 2
    assert message in error
    if len(lines) == 2:
        assert f"{path}:2" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source-lengths", "8192"], "--source-lengths must be at most max_encoder_position_embeddings=4096"),
        (["--target-length", "999"], "--target-length must be at most max_decoder_position_embeddings=256"),
        (["--learning-rate", "-1"], "--learning-rate must be positive. Received: -1.0"),
        (["--epochs", "0"], "--epochs must be positive. Received: 0"),
        (["--seed", "-1"], "--seed must be from 0 to"),
        (["--target-length", "1"], "--target-length must be at least 2. Received: 1"),
        (["--model", "no-such-preset"], "name_or_folder must be a folder or a hub id"),
    ],
)
def test_bad_options_are_errors_that_name_them(rows, tmp_path, capsys, arguments, message):
    from training.__main__ import main

    options = [*map(str, fields(rows)), "--model", "led-tiny", "--output", str(tmp_path / "out"), "--vocab-size", "300"]
    assert main([*options, *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_exists_is_refused(rows, tmp_path, capsys):
    from training.__main__ import main

    options = [*map(str, fields(rows)), "--model", "led-tiny", "--output", str(tmp_path)]
    assert main(options) == 2
    assert f"--output must not exist yet. Received: --output {tmp_path}" in capsys.readouterr().err
    assert main(["demo", "--output", str(tmp_path)]) == 2
    assert main(["demo", "--model", "gpt"]) == 2
    assert "--model must be one of" in capsys.readouterr().err


def test_bad_rows_are_counted_and_skipped_on_request(tmp_path):
    good = [{"document": f"text {n} of many words", "summary": f"text {n}"} for n in range(9)]
    path = write(tmp_path / "mixed.jsonl", *good, {"document": "no summary"}, b"{broken\n")
    output = tmp_path / "out"
    options = ["--data", path, "--model", "longt5-local-tiny", "--output", output, "--epochs", 1, *FAST, "--no-jit"]
    done = run(*options, "--skip-bad-rows", "--vocab-size", 140)
    assert done.returncode == 0, done.stderr
    assert "skipped 2 bad rows" in done.stdout
    assert f"{path}:10" in done.stderr
