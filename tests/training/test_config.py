"""Settings are the same from YAML, flags and Python, and come back from their file."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from training.checks import check_config
from training.command_line import parse
from training.config import Config, Data, Lengths, Optim, Steps, Weights, flat, from_dict, known, replaced, to_dict

IN_PYTHON = Config(
    "led-tiny",
    Path("out/größe 1"),
    seed=3,
    data=Data(train=("a.csv", "b/*.jsonl"), fields={"document": "article", "summary": "abstract"}, cache=Path("c")),
    lengths=Lengths(source=(256, 1024), target=48),
    optim=Optim(name="adafactor", learning_rate=1e-3, no_decay=("embed",)),
    weights=Weights(jit=False, lora_rank=4, frozen=("shared", "encoder/.*")),
    steps=Steps(epochs=2, max_minutes=1.5),
    generation={"num_beams": 4, "length_penalty": 0.8},
)
AS_YAML = """
model: led-tiny
output: out/größe 1
seed: 3
data: {train: [a.csv, "b/*.jsonl"], fields: {document: article, summary: abstract}, cache: c}
lengths: {source: [256, 1024], target: 48}
optim: {name: adafactor, learning_rate: 1e-3, no_decay: [embed]}
weights: {jit: false, lora_rank: 4, frozen: [shared, encoder/.*]}
steps: {epochs: 2, max_minutes: 1.5}
generation: {num_beams: 4, length_penalty: 0.8}
"""
AS_FLAGS = [
    "--model", "led-tiny", "--output", "out/größe 1", "--seed", "3", "--data.train", '["a.csv", "b/*.jsonl"]',
    "--data.fields", "{document: article, summary: abstract}", "--data.cache", "c", "--lengths.source", "[256,1024]",
    "--lengths.target", "48", "--optim.name", "adafactor", "--optim.learning_rate", "1e-3",
    "--optim.no_decay", "[embed]", "--weights.jit", "false", "--weights.lora_rank", "4",
    "--weights.frozen", "[shared, encoder/.*]", "--steps.epochs", "2", "--steps.max_minutes", "1.5",
    "--generation", "{num_beams: 4, length_penalty: 0.8}",
]  # fmt: skip


def test_yaml_flags_and_python_give_equal_settings(tmp_path):
    (tmp_path / "run.yaml").write_text(AS_YAML, encoding="utf-8")
    assert parse("x", "", AS_FLAGS) == IN_PYTHON
    assert parse("x", "", ["--config", str(tmp_path / "run.yaml")]) == IN_PYTHON


def test_settings_come_back_from_their_file():
    written = yaml.safe_dump(to_dict(IN_PYTHON), allow_unicode=True)
    again = from_dict(yaml.safe_load(written))
    assert flat(again) == flat(IN_PYTHON)
    assert dataclasses.replace(again, data=IN_PYTHON.data) == IN_PYTHON


def test_one_file_and_one_length_are_tuples_of_one():
    config = Config("led-tiny", "out", data=Data(train="a.csv"), lengths=Lengths(source=512))  # type: ignore[arg-type]
    assert (config.data.train, config.lengths.sources, config.output) == (("a.csv",), (512,), Path("out"))


def test_dotted_names_change_a_copy():
    changed = replaced(IN_PYTHON, {"steps.epochs": 9, "steps.keep": 1, "seed": 4})
    assert (changed.steps.epochs, changed.steps.keep, changed.seed) == (9, 1, 4)
    assert changed.steps.max_minutes == IN_PYTHON.steps.max_minutes
    assert IN_PYTHON.steps.epochs == 2


def test_settings_cannot_be_assigned():
    with pytest.raises(dataclasses.FrozenInstanceError):
        IN_PYTHON.steps.epochs = 1


def test_settings_that_are_open_are_not_used():
    with pytest.raises(ValueError, match="must be resolved before they are used"):
        known(Optim().learning_rate)


WRONG = {
    "model": (None, "model must be given. Received: none"),
    "output": (None, "output must be given. Received: none"),
    "data.train": ((), "data.train must name at least one file"),
    "data.hold_out": (0.5, "data.hold_out must be a number of at least 0 and at most 0.4"),
    "data.fields": ({"text": "a"}, "data.fields must name document and summary alone. Received: text"),
    "seed": (-1, "seed must be a number"),
    "lengths.source": ((1024, 256), "ascending order. Received: lengths.source=[1024, 256]"),
    "lengths.target": (1, "lengths.target must be at least 2"),
    "lengths.batch_tokens": (0, "lengths.batch_tokens must be a positive integer"),
    "optim.name": ("sgd", "optim.name must be one of adamw, adafactor. Received: optim.name='sgd'"),
    "optim.learning_rate": (float("nan"), "optim.learning_rate must be a number above 0"),
    "optim.schedule": ("wsd", "optim.schedule must be one of linear"),
    "optim.smoothing": (1.0, "optim.smoothing must be a number"),
    "optim.no_decay": (("(",), "optim.no_decay must hold regular expressions. Received: '('"),
    "weights.precision": ("float16", "weights.precision must be one of float32"),
    "weights.jit": ("false", "weights.jit must be true or false. Received: weights.jit='false'"),
    "weights.lora_rank": (0, "weights.lora_rank must be a positive integer"),
    "weights.frozen": (("[",), "weights.frozen must hold regular expressions"),
    "steps.max_steps": (0, "steps.max_steps must be a positive integer"),
    "steps.max_minutes": (-1.0, "steps.max_minutes must be a number above 0"),
    "steps.best": ("bleu", "steps.best must be one of loss"),
    "steps.keep": (0, "steps.keep must be a positive integer"),
    "evaluation.test_rows": (0, "evaluation.test_rows must be a positive integer"),
    "logging.seconds": (-1, "logging.seconds must be a number"),
    "task": ("translate", "task must be one of summarize"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_from_python_is_one_error_with_name_rule_and_value(name):
    value, message = WRONG[name]
    errors = check_config(replaced(IN_PYTHON, {name: value}))
    assert len(errors) == 1
    assert message in errors[0]


def test_all_wrong_values_are_told_together():
    assert len(check_config(replaced(IN_PYTHON, {"seed": -1, "steps.keep": 0, "optim.clip": -1.0}))) == 3


def test_right_settings_have_no_error():
    assert check_config(IN_PYTHON) == []
    needs = "evaluation.rouge_rows must be positive for steps.best=rougeL"
    assert needs in check_config(replaced(IN_PYTHON, {"steps.best": "rougeL", "evaluation.rouge_rows": 0}))[0]
