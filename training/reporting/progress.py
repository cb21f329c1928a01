"""The progress of a run: a bar on a terminal, lines that a log file can hold anywhere else."""

import math
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from rich import progress
from rich.console import Console
from rich.table import Column
from rich.text import Text

from training.reporting.terminal import printable, write_line

# Weight of the newest step in the displayed loss.
_SMOOTHING = 0.05
UNPLANNED = 10**9
"""The total of a run whose steps are planned by its first ones."""

_SECONDS_BETWEEN_LINES = 30.0
_STEPS_OF_A_SPEED = 50
_STEPS_OF_A_MEDIAN = 501


class Progress:
    """Show the steps of a run.

    On a terminal a bar. Elsewhere one line at the start, one at the first step, then at most one each `line_seconds`,
    one at the last step, and one for each validation and note: never wrapped, without escape codes, written at once.

    The first step compiles: its time is shown apart, and is no part of the speed or of the time that is left, which is
    the median step's seconds times the steps to go. Time between `validation` or `note` and the step before is no
    step's.

    Args:
        console: where to show it.
        total: the steps of the run.
        start_step: the steps that are done already.
        clock: seconds since any moment.
        line_seconds: seconds between lines where the console is no terminal.

    >>> import io
    >>> console = Console(file=io.StringIO())
    >>> progress = Progress(console, total=2, clock=lambda: 0.0)
    >>> progress.begin("compiling")
    >>> figures = progress.step({"loss": 2.345, "learning_rate": 3e-5})
    >>> console.file.getvalue().splitlines()[1][:38]
    'step 1/2  loss 2.345  lr 3.0e-05  mem '
    """

    def __init__(
        self,
        console: Console,
        total: int,
        start_step: int = 0,
        clock: Callable[[], float] = time.monotonic,
        line_seconds: float = _SECONDS_BETWEEN_LINES,
    ) -> None:
        self.console = console
        self.total = total
        self.current = start_step
        self.clock = clock
        self.line_seconds = line_seconds
        self.compile_seconds: float | None = None
        self.smoothed: float | None = None
        self.validation_loss: float | None = None
        self._is_finite = True
        self._figures: dict[str, Any] = {}
        self._since = self._last_line = clock()
        self._seconds: deque[float] = deque(maxlen=_STEPS_OF_A_MEDIAN)
        self._speeds: deque[tuple[float, float]] = deque(maxlen=_STEPS_OF_A_SPEED)
        self._bar: progress.Progress | None = None

    def begin(self, text: str) -> None:
        """Start, and say what happens until the first step."""
        self._since = self._last_line = self.clock()
        if not self.console.is_terminal:
            write_line(self.console, text)
            return
        # A narrow terminal wraps the figures; by default it would cut the time that is left.
        figures = progress.TextColumn("{task.fields[line]}", markup=False, table_column=Column(no_wrap=False))
        columns = (progress.BarColumn(bar_width=24), figures)
        self._bar = progress.Progress(*columns, console=self.console)
        self._task = self._bar.add_task("", total=self.total, completed=self.current, line=self._shown(text))
        self._bar.start()

    def step(self, figures: Mapping[str, Any]) -> dict[str, Any]:
        """Count a step and show its figures.

        Args:
            figures: numbers by name: "loss", "learning_rate", "gradient_norm", and "tokens", those of the step.

        Returns:
            The figures with "seconds", "memory_mb" and "tokens_per_second" (of the latest steps) as far as known: what
            a log keeps.
        """
        now = self.clock()
        seconds, self._since = now - self._since, now
        self.current += 1
        is_first = self.compile_seconds is None
        if is_first:
            self.compile_seconds = seconds
        else:
            self._seconds.append(seconds)
        self._figures = {**figures, "seconds": seconds, "memory_mb": peak_memory_mb()}
        if "tokens" in figures and not is_first:
            self._speeds.append((float(figures["tokens"]), seconds))
            tokens, elapsed = (sum(each) for each in zip(*self._speeds, strict=True))
            self._figures["tokens_per_second"] = tokens / max(elapsed, 1e-9)
        self._smooth(float(figures["loss"]) if "loss" in figures else None)
        known = {name: value for name, value in self._figures.items() if value is not None}
        if self._bar is not None:
            self._bar.update(self._task, completed=self.current, line=self._shown(self.line()))
            if is_first:
                self.note(f"first step {seconds:,.1f} s, with compilation")
        elif is_first:
            self._write(f"{self.line()}  first step {seconds:,.1f} s, with compilation")
        elif self.current >= self.total or now - self._last_line >= self.line_seconds:
            self._write(self.line())
        return known

    def validation(self, figures: Mapping[str, Any]) -> None:
        """Show the figures of a validation, the loss first."""
        loss = figures.get("loss")
        self.validation_loss = self.validation_loss if loss is None else float(loss)
        shown = "  ".join(f"{name} {_number(value)}" for name, value in figures.items())
        self.note(f"validation at step {self.of_total()}  {shown}")

    def note(self, text: str) -> None:
        """Show a line of text, such as the name of a checkpoint."""
        if self._bar is not None:
            self._bar.console.print(Text(printable(self.console, text)), soft_wrap=True)
        else:
            write_line(self.console, text)
        self._since = self.clock()

    def close(self) -> None:
        """End the bar. More than once is well."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def line(self) -> str:
        """The figures of the newest step in one line."""
        speed, memory = self._figures.get("tokens_per_second"), self._figures.get("memory_mb")
        rate, norm = self._figures.get("learning_rate"), self._figures.get("gradient_norm")
        left = self.seconds_left()
        loss = self.smoothed if self._is_finite else self._figures["loss"]
        parts = (
            f"step {self.of_total()}",
            None if loss is None else f"loss {_number(loss)}",
            None if self.validation_loss is None else f"validation {_number(self.validation_loss)}",
            None if speed is None else f"{speed:,.0f} tokens/s",
            None if rate is None else f"lr {float(rate):.1e}",
            None if norm is None else f"grad {float(norm):.3g}",
            None if memory is None else f"mem {memory:,.0f} MB",
            None if left is None else f"left {_hours(left)}",
        )
        return "  ".join(part for part in parts if part is not None)

    def seconds_left(self) -> float | None:
        """The median step's seconds times the steps to go; None before the second step of this process."""
        if not self._seconds or self.total >= UNPLANNED:
            return None
        return statistics.median(self._seconds) * max(self.total - self.current, 0)

    def of_total(self) -> str:
        """The newest step and, once it is planned, the number of all."""
        return f"{self.current:,}" if self.total >= UNPLANNED else f"{self.current:,}/{self.total:,}"

    def _smooth(self, loss: float | None) -> None:
        """Move the shown loss. One that is not finite is shown once and does not spoil the following."""
        self._is_finite = loss is None or math.isfinite(loss)
        if loss is not None and self._is_finite:
            self.smoothed = loss if self.smoothed is None else self.smoothed + _SMOOTHING * (loss - self.smoothed)

    def _write(self, line: str) -> None:
        self._last_line = self.clock()
        write_line(self.console, line)

    def _shown(self, text: str) -> str:
        return printable(self.console, text)


def peak_memory_mb() -> float | None:
    """The largest memory of this process so far, in megabytes; None where the system does not say.

    >>> peak_memory_mb() > 1
    True
    """
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e6 / 1024)


def _number(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, (int, float)) else f"{float(value):,.4g}"


def _hours(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
