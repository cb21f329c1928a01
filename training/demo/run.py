"""The main job on real documents: corpus, training, ROUGE, export, and an answer from the SavedModel alone."""

import time
from collections.abc import Sequence
from pathlib import Path

import keras
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from export import export_saved_model
from export.client.saved_model_client import ask_in_fresh_process
from training.demo.baselines import constant_baseline, name_baseline
from training.demo.python_corpus import build_corpus
from training.examples import Example, spread
from training.finetune import FinetuneSettings, TrainingResult, evaluate_rouge, finetune, write_report
from training.metrics import rouge, rouge_version
from training.presets import PRESETS
from training.report import Sample, print_corpus, print_curve, print_rouge, print_samples
from training.splits import corpus_summary, split_by_module, write_jsonl

PRESET = "longt5-tglobal-tiny"
"""The model that is trained unless another is named."""
VOCABULARY = 4096
SAMPLES = 5
# Documents are cut to 256 tokens, which two cores can learn from in minutes: short rows mean more examples per second,
# and without enough examples a small model never looks at its source.
SETTINGS = FinetuneSettings(
    source_lengths=(64, 128, 256),
    target_length=24,
    batch_tokens=4096,
    epochs=20,
    learning_rate=1e-3,
    warmup_steps=100,
    evaluate_every=500,
    max_minutes=8.5,
)


def run_demo(preset: str, output: Path, settings: FinetuneSettings, console: Console) -> None:
    """Run the whole demonstration; everything is written under `output`."""
    started = time.monotonic()
    output.mkdir(parents=True)
    console.rule(f"[bold]tfmodels demo: {preset}")
    console.print("Documents: Python objects with their docstring cut out. Targets: the docstring's first sentence.")
    split = split_by_module(build_corpus())
    print_corpus(console, corpus_summary(split))
    test = spread(split.test, settings.test_examples)

    write_jsonl(test, output / "held-out.jsonl")

    keras.utils.set_random_seed(settings.seed)  # the weights are drawn when the model is made
    with console.status("training the vocabulary"):
        model, tokenizer = PRESETS[preset].create(split.train, VOCABULARY)
    model.generation_config = model.generation_config.replace(no_repeat_ngram_size=2)
    console.print(f"model: {preset}, {model.count_params():,} weights, {tokenizer.vocab_size:,} pieces, from scratch")

    with console.status("untrained model"):
        untrained, _ = evaluate_rouge(model, tokenizer, test, settings)
    result = finetune(model, tokenizer, split, output, settings, console)
    if result.interrupted:
        console.print(f"the model so far: {escape(str(result.model_folder))}")
        raise KeyboardInterrupt
    print_curve(console, result.history)
    model = type(model).from_pretrained(result.model_folder)
    with console.status("held-out documents"):
        trained, summaries = evaluate_rouge(model, tokenizer, test, settings)
    scores = _scores(test, untrained, trained)
    print_rouge(
        console, scores, f"{len(test)} held-out documents of modules not trained on; rouge-score {rouge_version()}"
    )
    print_samples(console, _samples(test, summaries))

    served = export_saved_model(model, tokenizer, output / "served" / "1", lengths=settings.source_lengths)
    (answer,) = ask_in_fresh_process(served.parent, text=[test[0].document])["text"]
    console.print("The SavedModel, alone in a fresh process (neither keras nor tfmodels), answers the first one:")
    console.print(f"  [bold cyan]{escape(answer) or '(nothing)'}")
    is_same = answer == summaries[0]
    console.print("  the same as the model's" if is_same else "  [red]which differs from the model's")
    write_report(
        output,
        {
            "model": preset,
            "rouge": scores,
            "history": result.history,
            "seconds": round(time.monotonic() - started),
            "savedmodel_equals_model": is_same,
        },
    )
    _print_where(console, output, result, time.monotonic() - started)


def _scores(
    test: Sequence[Example], untrained: dict[str, float], trained: dict[str, float]
) -> dict[str, dict[str, float]]:
    references = [example.summary for example in test]
    return {
        "untrained model": untrained,
        'constant "Return the"': rouge([constant_baseline(example) for example in test], references),
        "name split into words": rouge([name_baseline(example) for example in test], references),
        "trained model": trained,
    }


def _samples(test: Sequence[Example], summaries: Sequence[str]) -> list[Sample]:
    return [
        Sample(example.document, example.summary, summary, f"{example.module}: {example.name}")
        for example, summary in spread(list(zip(test, summaries, strict=True)), SAMPLES)
    ]


def _print_where(console: Console, output: Path, result: TrainingResult, seconds: float) -> None:
    note = (
        "[bold]This is a demonstration.[/] A small model that is trained for minutes writes plausible openings and "
        "often misses the point. For real work start from a public checkpoint, whose model and vocabulary it then "
        "keeps: --model google/long-t5-tglobal-base"
    )
    console.print(Panel(note, title=f"done in {seconds / 60:.1f} minutes", width=min(console.width, 100)))
    # Not wrapped and not in a box: these lines are to be copied.
    for line in (
        f"model and tokenizer  {result.model_folder}",
        f"SavedModel           {output}/served/1",
        f"loss, figures        {output}/loss.png  {output}/report.json",
        f"held-out documents   {output}/held-out.jsonl",
        f"TensorBoard          .venv/bin/tensorboard --logdir {output}/logs",
        "ask it more:",
        f'  .venv/bin/python -m export ask {output}/served "def area(width, height): return width * height"',
        f"  .venv/bin/python -m export ask {output}/served --file some_module.py",
        "train on your own documents:",
        "  .venv/bin/python -m training --data train.jsonl --model google/long-t5-tglobal-base --output out/base",
    ):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
