"""Fine-tune a model on examples: batches, callbacks, best checkpoint, evaluation."""

import dataclasses
import functools
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
from rich.console import Console

from export.client.strict_json import finite
from tfmodels.utils.files import write_json
from training.batches import SummarizationBatches
from training.callbacks import Clock, ProgressBar, StepLosses, Validation, WarmupThenLinear
from training.checkpointing import Checkpoints
from training.evaluation import ValidationLoss, summarize
from training.examples import Example
from training.metrics import rouge, rouge_version
from training.report import save_loss_plot
from training.splits import Split, split_by_module


@dataclasses.dataclass(frozen=True)
class FinetuneSettings:
    """Settings of a training run.

    Attributes:
        source_lengths: static source lengths in tokens; a document goes to the smallest that holds it.
        target_length: static target length in tokens.
        batch_tokens: source tokens per batch, padding included; a batch of length L has batch_tokens // L rows.
        epochs: passes over the training examples.
        learning_rate: peak of the learning rate; linear warm-up over `warmup_steps`, then linear to zero.
        max_minutes: end the run after this long, the learning rate planned accordingly.
        evaluate_every: steps between validations, each with a checkpoint.
        validation_examples, test_examples: the most held-out examples that are used.
        jit_compile: train and generate under XLA.
        remat: compute each block again in the backward pass instead of keeping its values: less memory, a third more
            time.
        seed: seed of shuffling; weights and dropout are seeded where the model is made.
    """

    source_lengths: tuple[int, ...] = (256, 1024)
    target_length: int = 48
    batch_tokens: int = 8192
    epochs: int = 3
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    max_minutes: float | None = None
    evaluate_every: int = 250
    validation_examples: int = 400
    test_examples: int = 400
    jit_compile: bool = True
    remat: bool = False
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """The folder of a run's best model, its losses, and whether it was interrupted."""

    model_folder: Path
    history: dict[str, list[float]]
    interrupted: bool


def check_new_folder(output: str | os.PathLike[str]) -> Path:
    """Return `output` as a path, or raise `FileExistsError` if it exists, so that no earlier run is lost."""
    path = Path(output)
    if path.exists():
        raise FileExistsError(f"--output must not exist yet. Received: --output {os.fspath(output)}")
    return path


def hold_out(examples: Sequence[Example]) -> Split:
    """Split examples into train, validation and test; every part of a small corpus gets at least one.

    Raises:
        ValueError: fewer than three examples.
    """
    if len(examples) < 3:
        raise ValueError(
            "--data must hold at least 3 examples: one to train on, one to validate, one to test. "
            f"Received: {len(examples)}"
        )
    split = split_by_module(examples)
    train, validation, test = (list(part) for part in (split.train, split.validation, split.test))
    for part in (validation, test, train):
        if not part:
            part.append(max((train, validation, test), key=len).pop())
    return Split(train, validation, test)


def check_fits_model(model: Any, settings: FinetuneSettings) -> None:
    """Raise `ValueError` for a length beyond the model's positions."""
    for option, lengths, field in (
        ("--source-lengths", settings.source_lengths, "max_encoder_position_embeddings"),
        ("--target-length", (settings.target_length,), "max_decoder_position_embeddings"),
    ):
        limit = getattr(model.config, field, None)
        if limit is not None and max(lengths) > limit:
            raise ValueError(f"{option} must be at most {field}={limit}. Received: {max(lengths)}")


def _compile(model: Any, settings: FinetuneSettings) -> None:
    if settings.remat:
        model.gradient_checkpointing_enable()
    optimizer = keras.optimizers.AdamW(settings.learning_rate, weight_decay=0.01, beta_2=0.98, global_clipnorm=1.0)
    model.compile(optimizer=optimizer, jit_compile=settings.jit_compile)


def finetune(
    model: Any, tokenizer: Any, split: Split, output: Path, settings: FinetuneSettings, console: Console
) -> TrainingResult:
    """Train, keep the best checkpoint as `output/model`, and plot the loss as `output/loss.png`.

    TensorBoard's logs go to `output/logs`. Ctrl-C ends the run early; the best checkpoint so far is then
    kept.

    Args:
        model, tokenizer: the model to train, and its tokenizer.
        split: train and validation examples.
        output: a folder, created when missing.
        settings: settings of the run.
        console: shows the progress.

    Raises:
        ValueError: a length beyond the model's positions.
    """
    check_fits_model(model, settings)
    batches, held_out = _make_batches(split, tokenizer, settings)
    checkpoints = Checkpoints(output / "checkpoints")
    clock = Clock(len(batches) * settings.epochs, settings.max_minutes)
    step_losses = StepLosses(batches)
    validation_loss = ValidationLoss(model, held_out, settings.jit_compile)
    validation = Validation(validation_loss, checkpoints, tokenizer, settings.evaluate_every)
    validation.set_model(model)
    bar = ProgressBar(console, clock, step_losses, validation)
    callbacks = [
        WarmupThenLinear(clock, settings.learning_rate, settings.warmup_steps),
        step_losses,
        bar,
        validation,
        keras.callbacks.TensorBoard(output / "logs", update_freq=20, write_graph=False),
    ]
    shortest = min(model.generation_config.min_length, settings.target_length)
    model.generation_config = model.generation_config.replace(
        max_new_tokens=settings.target_length, min_length=shortest
    )
    _compile(model, settings)
    interrupted = False
    try:
        model.fit(batches, epochs=settings.epochs, shuffle=False, verbose=0, callbacks=callbacks)
    except KeyboardInterrupt:
        interrupted = True
        bar.close()
        console.print("interrupted: keeping the best weights so far")
        if checkpoints.best is None:
            # Without a validation, which may have to compile first.
            checkpoints.save(model, tokenizer, validation.step, math.nan)
    finally:
        bar.close()
    losses = {"training": step_losses.losses, "validation": validation.losses}
    model_folder = checkpoints.finish(output / "model")
    if any(losses.values()):
        save_loss_plot(losses, output / "loss.png")
    if not math.isfinite(checkpoints.best_loss) and not interrupted:
        console.print("[bold red]no validation loss was a finite number: the model is not usable")
    return TrainingResult(model_folder, losses, interrupted)


def _make_batches(
    split: Split, tokenizer: Any, settings: FinetuneSettings
) -> tuple[SummarizationBatches, SummarizationBatches]:
    """Training and validation batches."""
    make = functools.partial(
        SummarizationBatches,
        tokenizer=tokenizer,
        batch_tokens=settings.batch_tokens,
        source_lengths=settings.source_lengths,
        target_length=settings.target_length,
    )
    held_out = split.validation[: settings.validation_examples]
    return make(split.train, shuffle=True, seed=settings.seed), make(held_out)


def evaluate_rouge(
    model: Any,
    tokenizer: Any,
    examples: Sequence[Example],
    settings: FinetuneSettings,
) -> tuple[dict[str, float], list[str]]:
    """ROUGE of a model's summaries of held-out examples, and the summaries."""
    summaries = summarize(
        model,
        tokenizer,
        [example.document for example in examples],
        settings.source_lengths,
        jit_compile=settings.jit_compile,
        max_new_tokens=settings.target_length,
    )
    return rouge(summaries, [example.summary for example in examples]), summaries


def write_report(output: Path, report: dict[str, Any]) -> None:
    """Write the figures of a run as `output/report.json`; NaN and infinities, as of a diverged loss, are null."""
    write_json(output / "report.json", finite({"rouge_score": rouge_version(), **report}))
