"""Every wrong input is one clear error of status 2, before Keras and TensorFlow are imported."""

import json
import os
import subprocess
import sys

import pytest
import yaml

from training.config import Config, Data, to_dict
from training.defaults import find_model, resolve
from training.program import WRONG, main

MOST_CPU_SECONDS = 3.0
ROWS = "".join(json.dumps({"document": f"a long text {n}", "summary": f"text {n}"}) + "\n" for n in range(30))
LED = {"model_type": "led", "max_encoder_position_embeddings": 1024, "max_decoder_position_embeddings": 256}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with good and bad files, models and runs, as the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("good.jsonl", "other.jsonl"):
        (tmp_path / name).write_text(ROWS)
    (tmp_path / "sheet.csv").write_text("text,title\na,b\n")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "bad.jsonl").write_text('{"document": "", "summary": 3}\n')
    (tmp_path / "utf16.csv").write_bytes("document,summary\na,b\n".encode("utf-16"))
    (tmp_path / "false.jsonl.gz").write_text(ROWS)
    (tmp_path / "notes.txt").write_text(ROWS)
    (tmp_path / "broken.yaml").write_text("optim: {learning_rate: [")
    (tmp_path / "unknown.yaml").write_text("optim: {learning_rat: 1e-3}")
    for name, content in {"no_config": None, "no_json": "{", "bert": '{"model_type": "bert"}'}.items():
        (tmp_path / name).mkdir()
        if content is not None:
            (tmp_path / name / "config.json").write_text(content)
    (tmp_path / "short_led").mkdir()
    (tmp_path / "short_led" / "config.json").write_text(json.dumps(LED))
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("")
    run_of(tmp_path / "stopped", "stopped")
    run_of(tmp_path / "finished", "finished")
    return tmp_path


def run_of(folder, status):
    folder.mkdir()
    config = Config("led-tiny", folder.name, data=Data(train="good.jsonl"))  # type: ignore[arg-type]
    config, _ = resolve(config, find_model("led-tiny"))
    (folder / "config.yaml").write_text(yaml.safe_dump(to_dict(config)))
    (folder / "run.json").write_text(json.dumps({"status": status}))


# Name: the arguments after `--model led-tiny --output out --data.train good.jsonl`, of which later ones count, and
# parts of the error.
TABLE = {
    "misspelt preset": ("--model led-tinyy", "model='led-tinyy' (did you mean led-tiny?)"),
    "model folder without config": ("--model no_config", "model must be a folder with a config.json"),
    "model folder with a broken config": ("--model no_json", "must be a JSON file"),
    "model of an unknown family": ("--model bert", "known: led, longt5. Received: model='bert', whose"),
    "model folder that is not there": ("--model ./out/modle", "must be a folder or a hub id"),
    "no such file": ("--data.train nowhere.jsonl", "data.train: The data file must exist"),
    "pattern without files": ("--data.train *.parquet", "data.train: the pattern must match at least one file"),
    "file of another kind": ("--data.train notes.txt", "must end in one of .jsonl"),
    "file in UTF-16": ("--data.train utf16.csv", "data.train: utf16.csv"),
    "text that is called gzip": ("--data.train false.jsonl.gz", "data.train: false.jsonl.gz"),
    "file without rows": ("--data.train empty.jsonl", "data.train must hold at least one usable row"),
    "file of bad rows": ("--data.train bad.jsonl", "at most data.max_bad_rows=0 bad rows. Received: 1 bad row"),
    "misspelt columns": ("--data.train sheet.csv", "data.fields.document='document' must be a field of the rows"),
    "misspelt field": ("--data.fields {document: dokument}", "Did you mean 'document'?"),
    "missing group": ("--data.group book", "data.group='book' must be a field of the rows"),
    "file in two parts": ("--data.test good.jsonl", "data.test must share no file with data.train"),
    "file twice": ("--data.train [good.jsonl, ./good.jsonl]", "data.train must name each file once"),
    "files without a list": ("--data.train good.jsonl other.jsonl", "several values are one list"),
    "unknown flag": ("--optim.lerning_rate 1", "(did you mean optim.learning_rate?)"),
    "abbreviated flag": ("--optim.learning 1", "--optim.learning must be a known setting"),
    "value of the wrong type": ("--steps.epochs many", "steps.epochs must be an integer"),
    "value out of range": ("--data.hold_out 0.9", "data.hold_out must be a number of at least 0 and at most 0.4"),
    "unknown optimizer": ("--optim.name sgd", "optim.name must be one of adamw, adafactor"),
    "unknown generation setting": ("--generation {num_beam: 4}", "num_beam"),
    "descending lengths": ("--lengths.source [1024,256]", "ascending order"),
    "document above the batch": ("--lengths.batch_tokens 64", "lengths.batch_tokens must hold a document"),
    "length beyond the checkpoint": (
        "--model short_led --lengths.source 4096",
        "lengths.source must be at most max_encoder_position_embeddings=1024 of short_led. Received: 4096",
    ),
    "best by a figure that is not measured": ("--steps.best rougeL --evaluation.rouge_rows 0", "evaluation.rouge_rows"),
    "missing settings file": ("--config nowhere.yaml", "--config must be a file that can be read"),
    "broken settings file": ("--config broken.yaml", "--config must be YAML"),
    "unknown setting in a file": ("--config unknown.yaml", "optim.learning_rat must be a known setting"),
    "output of something else": ("--output thesis", "which holds chapter.tex"),
    "output that is a file": ("--output good.jsonl", "output must be a folder"),
    "output that cannot be made": ("--output /proc/none/out", "output must be a folder that can be made"),
    "output of another run": ("--output stopped --seed 7", "seed=7 after seed=0. --restart begins anew"),
    "finished run": ("--output finished", "output=finished, which has finished"),
}
OTHER_COMMANDS = {
    "no model": (["--output", "out", "--data.train", "good.jsonl"], "model must be given"),
    "no data": (["--output", "out", "--model", "led-tiny"], "data.train must name at least one file"),
    "resume of no run": (["resume", "thesis"], "must be the folder of a run"),
    "evaluate no folder": (["evaluate", "nowhere", "--data", "good.jsonl"], "FOLDER must be the folder of a run"),
    "evaluate a run without a model": (["evaluate", "stopped", "--data", "good.jsonl"], "whose run has none yet"),
    "evaluate without a file": (["evaluate", "short_led", "--data", "nowhere.csv"], "--data: The data file must exist"),
    "prepare with a misspelt field": (
        ["prepare", "--output", "out", "--model", "led-tiny", "--data.train", "sheet.csv"],
        "must be a field of the rows",
    ),
}


def arguments_of(text):
    """Flags and values: a value in brackets may have spaces."""
    values = text.replace(", ", ",").replace(": ", ":\0").split(" ")
    return [
        "--model",
        "led-tiny",
        "--output",
        "out",
        "--data.train",
        "good.jsonl",
        *(v.replace("\0", " ") for v in values),
    ]


CASES = {name: (arguments_of(text), message) for name, (text, message) in TABLE.items()} | OTHER_COMMANDS


def listing(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_input_is_one_clear_error_and_changes_nothing(place, capsys, name):
    arguments, message = CASES[name]
    before = listing(place)
    assert main(arguments) == WRONG
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert "Traceback" not in error
    assert len(error) < 700
    assert listing(place) == before


def test_the_table_has_at_least_25_inputs():
    assert len(CASES) >= 25


@pytest.mark.parametrize(
    "name",
    [
        "misspelt preset", "no such file", "unknown flag", "misspelt columns", "length beyond the checkpoint",
        "output of another run", "finished run", "output that cannot be made", "model folder without config",
        "broken settings file", "unknown generation setting", "model of an unknown family",
        "evaluate a run without a model",
    ],
)  # fmt: skip
def test_an_error_takes_little_time_and_imports_neither_keras_nor_tensorflow(place, name):
    arguments, message = CASES[name]
    code = (
        "import resource, sys; from training.program import main; status = main(sys.argv[1:]); "
        "print(sorted({'keras', 'tensorflow', 'jax'} & set(sys.modules)), file=sys.stderr); "
        "used = resource.getrusage(resource.RUSAGE_SELF); "
        "print(used.ru_utime + used.ru_stime); sys.exit(status)"
    )
    here = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": here},
    )  # fmt: skip
    assert done.returncode == WRONG
    assert message in done.stderr
    assert done.stderr.endswith("[]\n")
    assert float(done.stdout) < MOST_CPU_SECONDS
