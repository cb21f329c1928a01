"""Callbacks of training: learning rate, losses, validation with checkpoints, progress bar."""

import time
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from training.batches import SummarizationBatches
from training.checkpointing import Checkpoints
from training.evaluation import ValidationLoss

# Weight of the newest step in the displayed loss.
_SMOOTHING = 0.05


class Clock:
    """The progress of a run in steps and, with a limit, in minutes."""

    def __init__(self, steps: int, max_minutes: float | None) -> None:
        self.steps = steps
        self.max_minutes = max_minutes
        self.start = time.monotonic()

    def fraction(self, step: int) -> float:
        """The larger fraction, of steps or of minutes, from 0 to 1."""
        fraction = step / self.steps
        if self.max_minutes is not None:
            fraction = max(fraction, (time.monotonic() - self.start) / (60 * self.max_minutes))
        return min(fraction, 1.0)


class WarmupThenLinear(keras.callbacks.Callback):
    """Learning rate: linear warm-up, then linear to zero at the end of the run; stops the run when its time is up."""

    def __init__(self, clock: Clock, learning_rate: float, warmup_steps: int) -> None:
        super().__init__()
        self.clock = clock
        self.learning_rate = learning_rate
        self.warmup_steps = warmup_steps
        self.step = 0

    def on_train_begin(self, logs: Any = None) -> None:
        """Start the clock: compiling is part of the time, building the corpus is not."""
        self.clock.start = time.monotonic()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Set the rate of this step."""
        warmup = min(1.0, (self.step + 1) / self.warmup_steps)
        remaining = 1.0 - self.clock.fraction(self.step)
        self.model.optimizer.learning_rate = self.learning_rate * warmup * remaining
        self.step += 1

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Stop when the time is up."""
        if self.clock.fraction(self.step) >= 1.0:
            self.model.stop_training = True


class StepLosses(keras.callbacks.Callback):
    """The loss of each step, recovered from the mean that `fit` reports, over all labels since the epoch began."""

    def __init__(self, batches: SummarizationBatches) -> None:
        super().__init__()
        self.batches = batches
        self.losses: list[float] = []
        self._labels = 0
        self._sum = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the mean anew."""
        self._labels, self._sum = 0, 0.0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Add the loss of this step."""
        labels = self.batches.num_labels(batch)
        self._labels += labels
        total = float(logs["loss"]) * self._labels
        self.losses.append((total - self._sum) / labels)
        self._sum = total


class Validation(keras.callbacks.Callback):
    """Validation loss and a checkpoint, every few steps and at the end."""

    def __init__(self, loss: ValidationLoss, checkpoints: Checkpoints, tokenizer: Any, every: int) -> None:
        super().__init__()
        self.loss = loss
        self.checkpoints = checkpoints
        self.tokenizer = tokenizer
        self.every = every
        self.step = 0
        self.losses: list[float] = []
        self._saved_step = -1

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Validate every `every` steps."""
        self.step += 1
        if self.step % self.every == 0:
            self.run()

    def on_train_end(self, logs: Any = None) -> None:
        """Validate the last weights."""
        self.run()

    def run(self) -> None:
        """Validate and save, unless these weights are saved already."""
        if self._saved_step == self.step:
            return
        loss = self.loss()
        self.losses.append(loss)
        self.checkpoints.save(self.model, self.tokenizer, self.step, loss)
        self._saved_step = self.step


class ProgressBar(keras.callbacks.Callback):
    """A bar with losses and tokens per second; without a terminal, a line every 100 steps.

    Must come after `step_losses` among the callbacks, whose last loss it shows.
    """

    def __init__(self, console: Console, clock: Clock, step_losses: StepLosses, validation: Validation) -> None:
        super().__init__()
        self.console = console
        self.clock = clock
        self.step_losses = step_losses
        self.validation = validation
        self.step = 0
        self.smoothed: float | None = None
        self.tokens_per_second = 0.0
        columns = (
            TextColumn("training"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self.progress = Progress(*columns, console=console, disable=not console.is_terminal)

    def on_train_begin(self, logs: Any = None) -> None:
        """Show the bar."""
        self.task = self.progress.add_task("training", total=1.0, figures="compiling")
        self.progress.start()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Start the step's time."""
        self._started = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Update the figures."""
        rate = self.step_losses.batches.num_tokens(batch) / max(time.monotonic() - self._started, 1e-9)
        loss = self.step_losses.losses[-1]
        self.smoothed = loss if self.smoothed is None else self.smoothed + _SMOOTHING * (loss - self.smoothed)
        self.tokens_per_second = rate if self.step < 10 else 0.9 * self.tokens_per_second + 0.1 * rate
        self.step += 1
        self.progress.update(self.task, completed=self.clock.fraction(self.step), figures=self.figures())
        if not self.console.is_terminal and self.step % 100 == 0:
            self.console.print(f"{self.clock.fraction(self.step):4.0%}  {self.figures()}")

    def figures(self) -> str:
        """Step, losses and speed in one line."""
        validation = f"  validation {self.validation.losses[-1]:.3f}" if self.validation.losses else ""
        return f"step {self.step}  loss {self.smoothed:.3f}{validation}  {self.tokens_per_second:,.0f} tokens/s"

    def close(self) -> None:
        """Remove the bar."""
        self.progress.stop()
