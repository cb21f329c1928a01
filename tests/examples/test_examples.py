"""Every example runs, on tiny models. On 2 cores they take 30 seconds together."""

import argparse
import ast
import csv
import importlib.util
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from documents import ABSTRACTS, ARTICLES, LED_NAME, LONGT5_NAME, make_checkpoints
from exported import serving

import tfmodels
from export import export_saved_model
from tfmodels.auto import load_pretrained

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    make_checkpoints(folder)
    return folder


@pytest.fixture
def document(tmp_path):
    path = tmp_path / "document.txt"
    path.write_text(ARTICLES[0], encoding="utf-8")
    return path


def run(name, *arguments):
    """Call the example's main function, as its command line would."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main([str(argument) for argument in arguments])


def test_every_example_is_short_and_is_tested():
    here = Path(__file__).read_text(encoding="utf-8")
    for path in EXAMPLES.iterdir():
        if path.suffix in (".py", ".sh"):
            assert path.read_text(encoding="utf-8").count("\n") < 60, path
            assert f'"{path.stem}"' in here or f'"{path.name}"' in here, path


class _Parsed(Exception):
    pass


def test_the_command_that_each_example_shows_parses(monkeypatch):
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser, arguments):
        parse(parser, arguments)
        raise _Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    for path in EXAMPLES.glob("*.py"):
        shown = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).splitlines()[-1]
        program, name, *arguments = shlex.split(shown)
        assert (program, name) == ("python", f"examples/{path.name}")
        with pytest.raises(_Parsed):
            run(path.stem, *arguments)


@pytest.mark.parametrize("name", [LED_NAME, LONGT5_NAME])
def test_summarize(name, checkpoints, document, capsys):
    run("summarize", "--model", checkpoints / name, "--max-length", 64, "--max-new-tokens", 4, document)
    assert capsys.readouterr().out.startswith(f"{document}: ")


def test_finetune(checkpoints, tmp_path):
    rows = [{"document": text, "summary": summary} for text, summary in zip(ARTICLES, ABSTRACTS, strict=True)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows * 2)), encoding="utf-8")
    output = tmp_path / "fine-tuned"
    lengths = ("--max-length", 32, "--max-target-length", 8, "--epochs", 1)
    run("finetune", "--model", checkpoints / LED_NAME, "--data", tmp_path / "train.jsonl", "--output", output, *lengths)
    trained, _ = load_pretrained(output)
    before = tfmodels.LEDForConditionalGeneration.from_pretrained(checkpoints / LED_NAME)
    assert any(
        not (keras.ops.convert_to_numpy(new) == keras.ops.convert_to_numpy(old)).all()
        for new, old in zip(trained.weights, before.weights, strict=True)
    )


def test_question_answering(checkpoints, document, capsys):
    model = ("--model", checkpoints / LED_NAME, "--new-head", "--max-length", 64)
    run("question_answering", *model, "--question", "What slides?", document)
    printed = capsys.readouterr().out
    answer, places = printed.rsplit(", characters ", 1)
    start, end = (int(word) for word in places.split(",")[0].split(" to "))
    assert answer == repr(ARTICLES[0][start:end])


def test_long_classifier_functional(tmp_path):
    with (tmp_path / "train.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([("text", "label"), (ARTICLES[0], "long"), (ARTICLES[1], "short")])
    output = tmp_path / "classifier.keras"
    sizes = ("--max-length", 64, "--width", 8, "--epochs", 1)
    run("long_classifier_functional", "--data", tmp_path / "train.csv", "--output", output, *sizes)
    again = keras.saving.load_model(output)
    assert again.predict(keras.ops.convert_to_tensor(ARTICLES), verbose=0).shape == (2, 2)


def test_streaming(checkpoints, document, capsys):
    model = ("--model", checkpoints / LONGT5_NAME, "--max-length", 64, "--max-new-tokens", 4)
    run("streaming", *model, "--compare", ABSTRACTS[0], document)
    *_, last = capsys.readouterr().out.splitlines()
    assert last.endswith(ABSTRACTS[0])
    assert float(last.split()[0]) < 0


def test_serve_and_ask(checkpoints, tmp_path):
    """A stand-in takes the place of the stock server, which needs Docker."""
    served = tmp_path / "served"
    model, tokenizer = load_pretrained(checkpoints / LED_NAME)
    model.generation_config = model.generation_config.replace(max_new_tokens=4)
    export_saved_model(model, tokenizer, served / "1", lengths=(16,), signatures=("serving_default",))
    with serving(served / "1") as server:
        command = [EXAMPLES / "serve_and_ask.sh", checkpoints / LED_NAME, served, 'a "window"']
        addresses = {"GRPC": server.grpc, "REST": server.rest, "PYTHON": sys.executable}
        done = subprocess.run(command, env={**os.environ, **addresses}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    over_grpc, over_rest = done.stdout.split("over gRPC:\n")[1].split("with curl:\n")[0].split("over REST:\n")
    assert over_grpc == over_rest
    assert json.loads(done.stdout.split("with curl:\n")[1])["outputs"]
