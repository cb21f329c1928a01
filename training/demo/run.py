"""The main job on real documents: corpus, training, ROUGE, export, and an answer from the SavedModel alone."""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel

from training.config import Config, Data, Evaluation, Lengths, Optim, Steps, Weights
from training.defaults import find_model
from training.demo.examples import Example, spread
from training.demo.python_corpus import build_corpus
from training.demo.score import baselines
from training.demo.splits import Split, split_by_module, write_jsonl
from training.evaluating import evaluate
from training.fitting import fit
from training.metrics import rouge_version
from training.reporting.tables import Sample, print_rouge, print_samples
from training.reporting.terminal import write_line
from training.run.backend import import_backend

MODEL = "longt5-python"
"""The model that is trained further unless another is named."""
MINUTES = 5.0
TEST_EXAMPLES = 400
SAMPLES = 5
_LENGTHS = Lengths(source=(256, 1024, 2048), target=32, batch_tokens=8192)
# A packaged model has learned from these documents already: at the rate for new ones it would first forget.
_FURTHER_RATE = 1e-3
# A model from scratch learns from 256 tokens: short rows mean more examples per second, and without enough examples a
# small model never looks at its source.
_SCRATCH_LENGTHS = Lengths(source=(64, 128, 256), target=24, batch_tokens=4096)


def main(arguments: Sequence[str]) -> int:
    """Run the demonstration; return its exit status.

    Raises:
        ValueError: no such model.
        OSError: an output folder that exists or cannot be written.
    """
    parser = argparse.ArgumentParser(
        "python -m training demo", description="Train on the Python that is installed.", allow_abbrev=False
    )
    parser.add_argument("--model", default=MODEL, help=f"a small model by name, or a folder (default: {MODEL})")
    parser.add_argument("--output", type=Path, help="a folder that does not exist yet (default: out/demo-MODEL-N)")
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"minutes of training (default: {MINUTES})")
    options = parser.parse_args(list(arguments))
    if options.output is not None and options.output.exists():
        raise FileExistsError(f"--output must not exist yet. Received: --output {options.output}")
    find_model(options.model)
    run_demo(demo_config(options.model, options.output or _new_folder(options.model), options.minutes), Console())
    return 0


def _new_folder(model: str) -> Path:
    number = 1
    while (path := Path("out") / f"demo-{Path(model).name}-{number}").exists():
        number += 1
    return path


def demo_config(model: str, output: Path, minutes: float) -> Config:
    """The settings of the demonstration's training."""
    train, validation, test = (str(output / "data" / f"{part}.jsonl") for part in ("train", "validation", "test"))
    is_scratch = find_model(model).folder is None
    return Config(
        model=model,
        output=output / "run",
        data=Data(train, validation, test, cache=output / "cache"),
        lengths=_SCRATCH_LENGTHS if is_scratch else _LENGTHS,
        optim=Optim() if is_scratch else Optim(learning_rate=_FURTHER_RATE),
        weights=Weights(vocab_size=4096),
        steps=Steps(max_minutes=minutes, evaluate_every=500 if is_scratch else 200, checkpoint_minutes=3.0),
        evaluation=Evaluation(rouge_rows=0, test_rows=TEST_EXAMPLES, samples=0),
        generation={"no_repeat_ngram_size": 2} if is_scratch else {},
    )


def run_demo(config: Config, console: Console) -> None:
    """Run the whole demonstration; everything is written beside `config.output`."""
    started = time.monotonic()
    folder = config.output.parent
    (folder / "data").mkdir(parents=True)
    console.rule(f"[bold]tfmodels demo: {config.model}")
    write_line(console, "Documents: Python objects with their docstring cut out. Targets: its first sentence.")
    split = split_by_module(build_corpus())
    test = spread(split.test, TEST_EXAMPLES)
    _write_parts(Split(split.train, split.validation, test), folder / "data")
    before = _answer_before(config, test, console, started)
    result = fit(config, console=console)
    predictions = _predictions(config.output)
    scores = {name: {metric: mean for metric, (mean, *_) in each.items()} for name, each in result.figures.items()}
    scores = {**before, "trained model": scores["model"], **baselines(test)}
    note = f"{len(test)} documents of modules not trained on; rouge-score {rouge_version()}"
    print_rouge(console, scores, note, len(test))
    print_samples(console, _samples(test, predictions))
    is_same = _serve(config, test[0], predictions[0], folder, console)
    report = {"model": config.model, "rouge": scores, "savedmodel_equals_model": is_same}
    (folder / "report.json").write_text(
        json.dumps({**report, "seconds": round(time.monotonic() - started)}, indent=2) + "\n", encoding="utf-8"
    )
    _print_where(console, folder, config, time.monotonic() - started)


def _write_parts(split: Split, folder: Path) -> None:
    for name in ("train", "validation", "test"):
        write_jsonl(getattr(split, name), folder / f"{name}.jsonl")


def _answer_before(
    config: Config, test: Sequence[Example], console: Console, started: float
) -> dict[str, dict[str, float]]:
    """The first answer of a model that has learned already, and its scores; nothing for a model from scratch."""
    source = find_model(config.model)
    if source.folder is None:
        return {}
    import_backend()
    from tfmodels.auto import load_pretrained

    model, tokenizer = load_pretrained(source.folder)
    inputs = tokenizer([test[0].document], max_length=config.lengths.sources[-1])
    (answer,) = tokenizer.batch_decode(model.generate(**inputs))
    write_line(console, f"{config.model} reads {test[0].module}: {test[0].name}, and writes before any training here:")
    write_line(console, f"  {answer}")
    write_line(console, f"  the first answer, {time.monotonic() - started:.0f} s after the start")
    changes = {"lengths": config.lengths, "evaluation": config.evaluation, "data": config.data}
    scored = evaluate(source.folder, [str(config.data.test[0])], changes=changes)
    return {"before training": {metric: mean for metric, (mean, *_) in scored.figures["model"].items()}}


def _predictions(output: Path) -> list[str]:
    lines = (output / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["prediction"] for line in lines]


def _samples(test: Sequence[Example], summaries: Sequence[str]) -> list[Sample]:
    """The first documents, whatever the model wrote of them."""
    return [
        Sample(example.document, example.summary, summary, f"{example.module}: {example.name}")
        for example, summary in list(zip(test, summaries, strict=True))[:SAMPLES]
    ]


def _serve(config: Config, example: Example, expected: str, folder: Path, console: Console) -> bool:
    """Export, ask the SavedModel in a process of its own, and return whether it answers as the model did."""
    import_backend()
    from export import export_saved_model
    from export.client.saved_model_client import ask_in_fresh_process
    from tfmodels.auto import load_pretrained

    model, tokenizer = load_pretrained(config.output / "model")
    served = export_saved_model(model, tokenizer, folder / "served" / "1", lengths=config.lengths.sources)
    (answer,) = ask_in_fresh_process(served.parent, text=[example.document])["text"]
    write_line(console, "The SavedModel, alone in a fresh process (neither keras nor tfmodels), answers the first one:")
    write_line(console, f"  {answer or '(nothing)'}")
    is_same = answer == expected
    write_line(console, "  the same as the model's" if is_same else "  which differs from the model's")
    return is_same


def _print_where(console: Console, folder: Path, config: Config, seconds: float) -> None:
    note = (
        "[bold]This is a demonstration.[/] For real work start from a public checkpoint, whose model and vocabulary it "
        "then keeps: --model google/long-t5-tglobal-base"
    )
    console.print(Panel(note, title=f"done in {seconds / 60:.1f} minutes", width=min(console.width, 100)))
    run: Any = config.output
    # Not wrapped and not in a box: these lines are to be copied.
    for line in (
        f"model and tokenizer  {run}/model",
        f"SavedModel           {folder}/served/1",
        f"loss, figures        {run}/loss.png  {run}/metrics.jsonl  {folder}/report.json",
        f"held-out documents   {folder}/data/test.jsonl",
        f"TensorBoard          .venv/bin/tensorboard --logdir {run}/tensorboard",
        "ask it more:",
        f'  .venv/bin/python -m export ask {folder}/served "def area(width, height): return width * height"',
        f"  .venv/bin/python -m export ask {folder}/served --file some_module.py",
        "train on your own documents:",
        "  .venv/bin/python -m training --data.train train.jsonl --model google/long-t5-tglobal-base --output out/mine",
    ):
        write_line(console, line)
