"""The loop of a run: the one place that calls `fit`, with everything that happens between two steps."""

import dataclasses
import math
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfmodels.backend.trainer_state import sync_variables
from tfmodels.modeling.model_card import write_card
from training.config import Config, known
from training.data.feed import feed
from training.data.plan import Batch, Plan
from training.metrics import rouge
from training.run.build import guarded
from training.run.checkpoints import Checkpoints
from training.run.evaluation import HeldOut
from training.run.folder import MODEL
from training.run.guard import MOST_IN_A_ROW, Diverged, is_finite_step, write_bad_rows
from training.run.schedule import learning_rate_at, usable_warmup
from training.run.state import TrainerState
from training.run.variables import save_variables, training_variables

VARIABLES, STATE = "trainer.safetensors", "state.json"
_PLANNING_STEPS = 10
_EVALUATIONS = 20


@dataclasses.dataclass
class Run:
    """All parts of a run.

    Attributes:
        config: the resolved settings.
        model, tokenizer: the compiled model, and its tokenizer.
        task: what is learned.
        train, validation: stores of tokens; `validation` may be empty.
        plan: the order of the training batches.
        state: position and history, changed in place.
        checkpoints: where the run is saved.
        report: takes the figures: `step`, `validation`, `note`.
        poll: called at every safe point; what it raises ends the run.
        interruptible: a scope that may be left at any point, as what happens in it is repeated or changes no variable.
        output: the folder of the run.
    """

    config: Config
    model: Any
    tokenizer: Any
    task: Any
    train: Any
    validation: Any
    plan: Plan
    state: TrainerState
    checkpoints: Checkpoints
    report: Any
    poll: Callable[[], None]
    output: Path
    interruptible: Callable[[], AbstractContextManager[None]] = nullcontext

    def save(self) -> bool:
        """Write a checkpoint of the current step."""
        self.checkpoints.keep = self.config.steps.keep
        return self.checkpoints.save(self.state.step, self._write, self.state.best_step)

    def _write(self, folder: Path) -> None:
        (folder / MODEL).mkdir()
        write_card(self.model, folder / MODEL, self.output.resolve().name, source=MODEL)
        self.model.save_pretrained(folder / MODEL)
        self.tokenizer.save_pretrained(folder / MODEL)
        save_variables(folder / VARIABLES, training_variables(self.model))
        self.state.write(folder / STATE)


class Loop:
    """Train to the last step, or until something ends the run.

    Args:
        run: the parts.
        held_out: rows for the loss; None without validation rows.
        written: rows for texts; None for none.

    Attributes:
        has_trained: whether a batch is counted, so that the variables are those of the state.
    """

    def __init__(self, run: Run, held_out: HeldOut | None, written: HeldOut | None) -> None:
        self.run = run
        self.held_out = held_out
        self.written = written
        self.has_trained = False
        self._saved_at = time.monotonic()
        self._bad: list[tuple[int, list[int]]] = []
        self._measured: list[tuple[float, int]] = []
        self._plans = not run.state.is_planned

    @property
    def total(self) -> int:
        """The steps of the whole run."""
        if self.run.state.total is None:
            raise ValueError("state.total must be planned before training. Received: None")
        return self.run.state.total

    def train(self) -> None:
        """Call `fit` for the remaining steps.

        Raises:
            Diverged: three steps in a row without a finite loss or gradient.
            SavingFailed: four checkpoints in a row that could not be written.
            Stopped: a signal.
        """
        run, accumulate = self.run, known(self.run.config.optim.accumulate)
        if run.state.step == 0:
            run.save()  # a disk that cannot be written is known before the first step
        elif self._is_evaluation_due():
            self.evaluate()
            self._end_without_patience()
        first = run.state.step * accumulate + run.state.batches
        remaining = self.total * accumulate - first
        if remaining <= 0:
            return
        batches = feed(self._arrays, first, remaining)
        run.model.fit(
            batches,
            epochs=1,
            steps_per_epoch=remaining,
            shuffle=False,
            verbose=0,
            callbacks=[_Steps(self, accumulate)],
        )

    def _arrays(self, number: int) -> dict[str, np.ndarray]:
        batch = self.run.plan.batch(number)
        return self.run.task.batch(self.run.train, batch.rows, batch.length, batch.fill_to)

    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        optim = self.run.config.optim
        warmup, _ = usable_warmup(known(optim.warmup), self.total)  # `fit` tells when it is shortened
        peak, schedule = known(optim.learning_rate), known(optim.schedule)
        return learning_rate_at(self.run.state.step, self.total, peak, schedule, warmup)

    def after_step(
        self, batches: list[Batch], loss: float, norm: float, rate: float, seconds: float, compiled: bool
    ) -> None:
        """Everything between two steps.

        Args:
            batches: the batches of the step.
            loss: mean loss per label.
            norm: norm of the gradient before clipping.
            rate: learning rate.
            seconds: the step's time.
            compiled: whether a program was compiled in this time.
        """
        run, state = self.run, self.run.state
        rows = [int(row) for batch in batches for row in batch.rows]
        tokens = self._tokens(rows)
        state.step += 1
        state.tokens += tokens
        state.seconds += 0.0 if compiled else seconds
        run.report.step(
            state.step,
            {"loss": loss, "learning_rate": rate, "gradient_norm": norm, "tokens": tokens, "rows": len(rows)},
        )
        self._guard(rows, loss, norm)
        if not compiled:
            self._measured.append((seconds, sum(batch.length * batch.fill_to for batch in batches)))
        self._plan_by_minutes()
        improved = False
        if self._is_evaluation_due():
            improved = self.evaluate()
            self._end_without_patience()
        if improved or self._is_checkpoint_due():
            if run.save():
                run.report.note(f"checkpoint {run.checkpoints.path(state.step)}")
            self._saved_at = time.monotonic()
        if state.step >= self.total:
            run.model.stop_training = True
        run.poll()

    def evaluate(self) -> bool:
        """Measure the held-out rows, and return whether the model is the best so far."""
        run, state, steps = self.run, self.run.state, self.run.config.steps
        with run.interruptible():
            figures = self._measure()
        value = figures.get(steps.best, math.nan)
        value = value if steps.best == "loss" else -value
        improved = math.isfinite(value) and (state.best is None or value < state.best)
        if improved:
            state.best, state.best_step, state.evaluations_since_best = value, state.step, 0
        else:
            state.evaluations_since_best += 1
        state.evaluated_step = state.step
        run.report.validation(state.step, figures)
        return improved

    def _measure(self) -> dict[str, float]:
        figures: dict[str, float] = {}
        if self.held_out is not None:
            figures["loss"] = self.held_out.loss()
        if self.written is not None:
            texts = self.written.texts(self.run.tokenizer)
            references = [self.run.validation.texts(int(row))[1] for row in self.written.rows]
            figures |= rouge(texts, references)
        return figures

    def _tokens(self, rows: list[int]) -> int:
        return int(sum(np.asarray(self.run.train.sizes(column))[rows].sum() for column in self.run.task.columns))

    def _is_evaluation_due(self) -> bool:
        state = self.run.state
        if self.held_out is None or state.evaluated_step == state.step or state.step == 0:
            return False
        every = self.run.config.steps.evaluate_every or max(1, math.ceil(self.total / _EVALUATIONS))
        return state.step % every == 0 or state.step >= self.total

    def _is_checkpoint_due(self) -> bool:
        steps, state = self.run.config.steps, self.run.state
        by_steps = steps.checkpoint_every is not None and state.step % steps.checkpoint_every == 0
        by_time = time.monotonic() - self._saved_at >= 60 * steps.checkpoint_minutes
        return by_steps or by_time or state.step >= self.total

    def _end_without_patience(self) -> None:
        """Make this step the last one after too many evaluations; before it is saved, so that no resume goes beyond."""
        state, steps = self.run.state, self.run.config.steps
        if steps.patience is not None and state.evaluations_since_best >= steps.patience:
            self.run.report.note(f"no better {steps.best} for {state.evaluations_since_best} evaluations: ending")
            state.total = state.step

    def _guard(self, rows: list[int], loss: float, norm: float) -> None:
        run, state = self.run, self.run.state
        is_scaled = guarded(run.model) is not run.model.optimizer
        if is_finite_step(loss, norm, is_scaled):
            state.bad_steps = 0
            self._bad.clear()
            return
        state.bad_steps += 1
        state.skipped_steps += 1
        self._bad.append((state.step, rows))
        run.report.note(f"step {state.step}: loss {loss}, gradient norm {norm}: the update is left out")
        if state.bad_steps >= MOST_IN_A_ROW:
            places = write_bad_rows(run.output / "bad-batch", self._bad, run.task, run.train)
            listed = ", ".join(places[:8]) + (", ..." if len(places) > 8 else "")
            raise Diverged(
                f"{state.bad_steps} steps in a row had no finite loss or gradient, the last one step {state.step}. "
                f"Their rows are in {run.output / 'bad-batch'}: {listed}"
            )

    def _plan_by_minutes(self) -> None:
        """After some steps, the number of steps that fit into `max_minutes`; it is then part of the state."""
        run, minutes = self.run, self.run.config.steps.max_minutes
        if minutes is None or len(self._measured) != _PLANNING_STEPS or not self._plans:
            return
        self._plans = False
        seconds, tokens = (sum(each) for each in zip(*self._measured, strict=True))
        accumulate = known(run.config.optim.accumulate)
        mean_tokens = np.mean([rows * length for rows, length in run.plan.epoch_shapes()]) * accumulate
        left = 60 * minutes - run.state.seconds
        planned = run.state.step + max(0, int(left / (seconds / tokens * mean_tokens)))
        run.state.total = min(self.total, planned)
        run.state.is_planned = True
        run.report.note(f"{run.state.total:,} steps fit into {minutes:g} minutes")
        warn_of_warmup(run.config, run.state.total)
        run.report.total = run.state.total


def warn_of_warmup(config: Config, total: int) -> None:
    """Warn when a warm-up is too long for so many steps."""
    _, message = usable_warmup(known(config.optim.warmup), total)
    if message:
        warnings.warn(message, stacklevel=2)


class _Steps(keras.callbacks.Callback):
    """From Keras' batches to steps of one or several batches."""

    def __init__(self, loop: Loop, accumulate: int) -> None:
        super().__init__()
        self._loop = loop
        self._accumulate = accumulate
        self._first = ExitStack()
        self._shapes: set[tuple[int, int]] = set()
        state, plan = loop.run.state, loop.run.plan
        # A run that was stopped within a step goes on within it.
        self._batches = [plan.batch(state.step * accumulate + index) for index in range(state.batches)]
        self._rate = loop.learning_rate()
        self._seconds, self._compiled = 0.0, False

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Set the learning rate of a step."""
        self._started = time.monotonic()
        if not self._loop.has_trained:  # the first batch compiles, and what it changes is saved nowhere yet
            self._first.enter_context(self._loop.run.interruptible())
        if not self._batches:
            self._rate = self._loop.learning_rate()
        self.model.optimizer.learning_rate = self._rate

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count a batch; after the last one of a step, the step."""
        run, state = self._loop.run, self._loop.run.state
        self._first.close()
        self._loop.has_trained = True
        number = state.step * self._accumulate + len(self._batches)
        rows = run.plan.batch(number)
        labels = int(np.asarray(run.train.sizes(run.task.label_column))[rows.rows].sum())
        loss = float(logs["loss"])
        self._seconds += time.monotonic() - self._started
        self._compiled |= (rows.fill_to, rows.length) not in self._shapes
        self._shapes.add((rows.fill_to, rows.length))
        self._batches.append(rows)
        total = (math.nan if state.batches_loss is None else state.batches_loss) + loss * labels
        state.batches_loss = total if math.isfinite(total) else None
        state.batches_labels += labels
        if len(self._batches) < self._accumulate:
            state.batches = len(self._batches)
            try:
                run.poll()
            except BaseException:
                sync_variables(self.model)  # what is saved now holds the gradients of a part of a step
                raise
            return
        sync_variables(self.model)
        norm = float(guarded(self.model).gradient_norm)
        mean = total / max(state.batches_labels, 1)
        state.batches, state.batches_loss, state.batches_labels = 0, 0.0, 0
        arguments = (self._batches, mean, norm, self._rate, self._seconds, self._compiled)
        self._batches, self._seconds, self._compiled = [], 0.0, False
        self._loop.after_step(*arguments)
