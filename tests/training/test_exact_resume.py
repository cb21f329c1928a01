"""A run that is stopped and goes on ends with the very bytes of one that was never stopped, whatever its settings."""

import hashlib
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from training import fitting
from training.config import Config, Data, Evaluation, Lengths, Steps, Weights, replaced
from training.fitting import fit
from training.reporting.log import read_metrics
from training.run.loop import _Steps
from training.run.stop import Stop, Stopped

STEPS = 6
WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"]


def write_rows(path, count=60):
    rows = ([WORDS[(number * place) % 8] for place in range(1, 4 + number % 17)] for number in range(count))
    lines = (
        json.dumps({"document": f"{' '.join(row)} {n}", "summary": " ".join(row[:3])}) for n, row in enumerate(rows)
    )
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exact")
    write_rows(folder / "mine.jsonl")
    return folder


def config_of(place, output, model="longt5-tglobal-tiny", **changes):
    config = Config(
        model,
        output,
        data=Data(train=str(place / "mine.jsonl"), cache=place / "cache", hold_out=0.1),
        lengths=Lengths(source=(16, 64), target=8, batch_tokens=128),
        weights=Weights(jit=False, vocab_size=300, dropout=0.1),
        steps=Steps(max_steps=STEPS, evaluate_every=4),
        evaluation=Evaluation(rouge_rows=0, test_rows=1, samples=0),
    )
    return replaced(config, {"optim.warmup": 1, **changes})


def run(config):
    return fit(config, console=Console(file=io.StringIO()))


def stop_after(monkeypatch, batches):
    """Let a signal come during the last of so many batches."""
    stops, seen = [], []
    original = _Steps.on_train_batch_end

    def made(*arguments):
        stops.append(Stop(*arguments))
        return stops[-1]

    def after(self, batch, logs=None):
        seen.append(batch)
        if len(seen) == batches:
            stops[-1]._status = 143
        original(self, batch, logs)

    monkeypatch.setattr(fitting, "Stop", made)
    monkeypatch.setattr(_Steps, "on_train_batch_end", after)


def digests(output, step=STEPS):
    folder = output / "checkpoints" / f"step-{step:08d}"
    files = (folder / "model" / "model.safetensors", folder / "trainer.safetensors")
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]


def losses(output):
    return [(line["kind"], line["step"], line["loss"]) for line in read_metrics(output)]


CASES = {
    "accumulate, within a step": ({"optim.accumulate": 3}, 8),
    "accumulate, before the first step": ({"optim.accumulate": 3}, 2),
    "adafactor": ({"optim.name": "adafactor"}, 3),
    "lora": ({"weights.lora_rank": 4}, 3),
    "frozen": ({"weights.frozen": ("encoder",)}, 3),
    "remat": ({"weights.remat": True}, 3),
    "bfloat16": ({"weights.precision": "mixed_bfloat16"}, 3),
    "float16": ({"weights.precision": "mixed_float16"}, 3),
    "float16 and accumulate": ({"weights.precision": "mixed_float16", "optim.accumulate": 2}, 5),
    "evaluated step": ({}, 4),
    "led": ({"model": "led-tiny", "optim.smoothing": 0.1}, 3),
}


def _mark(name):
    return pytest.mark.thorough if name == "accumulate, within a step" else pytest.mark.slow


@pytest.mark.filterwarnings("ignore:data.*:UserWarning", "ignore:.*of the rows have:UserWarning")
@pytest.mark.parametrize("name", [pytest.param(name, marks=_mark(name)) for name in CASES])
def test_a_stopped_run_ends_as_a_whole_one(place, tmp_path, monkeypatch, name):
    changes, batches = CASES[name]
    changes = dict(changes)
    model = changes.pop("model", "longt5-tglobal-tiny")
    run(config_of(place, tmp_path / "whole", model, **changes))
    parts = config_of(place, tmp_path / "parts", model, **changes)
    with monkeypatch.context() as patch:
        stop_after(patch, batches)
        with pytest.raises(Stopped):
            run(parts)
    state = json.loads((tmp_path / "parts" / "run.json").read_text())
    assert state["status"] == "stopped"
    run(parts)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert digests(tmp_path / "parts") == digests(tmp_path / "whole")
    assert Path(tmp_path / "parts" / "model").is_dir()
