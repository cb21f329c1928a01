"""What a run tells: on the screen, in `metrics.jsonl` and TensorBoard, as a plot, and in `report.json`."""

import dataclasses
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from export.client.strict_json import finite
from tfmodels.utils.files import write_json
from training.config import Logging, flat
from training.data.statistics import print_statistics
from training.metrics import rouge_version
from training.reporting.log import MetricsLog, read_metrics
from training.reporting.plots import save_loss_plot
from training.reporting.progress import UNPLANNED, Progress
from training.reporting.tables import Sample, print_curve, print_rouge, print_samples
from training.reporting.terminal import write_line

_GIGABYTE, _MEGABYTE = 1e9, 1e6


class Reporter:
    """The voice of a run.

    Args:
        console: the screen, or a file.
        folder: the folder of the run; None writes no files.
        settings: how much is told.
    """

    def __init__(self, console: Console, folder: Path | None, settings: Logging) -> None:
        self.console = console
        self._folder = folder
        self._settings = settings
        self._progress: Progress | None = None
        self._log: MetricsLog | None = None
        self._bar: Bar | None = None
        self._begun = self._last_line = time.monotonic()

    def settings(self, checked: Any) -> None:
        """Show the settings that the program chose by itself."""
        write_line(self.console, f"model {checked.config.model}, output {checked.config.output}")
        if checked.chosen:
            chosen = ", ".join(f"{name}={_short(value)}" for name, value in sorted(checked.chosen.items()))
            write_line(self.console, f"chosen by the model: {chosen}")

    def tokenizing(self, rows: int, done: int, total: int) -> None:
        """Show how far the data is tokenized."""
        text = f"tokenizing: {rows:,} rows, {done / _MEGABYTE:,.0f} of {total / _MEGABYTE:,.0f} MB"
        if self.console.is_terminal:
            if self._bar is None:
                self._bar = Bar(BarColumn(bar_width=24), TextColumn("{task.description}"), console=self.console)
                self._bar.add_task(text, total=total)
                self._bar.start()
            self._bar.update(self._bar.task_ids[0], completed=done, description=text)
        elif time.monotonic() - self._last_line >= self._settings.seconds:
            self._last_line = time.monotonic()
            write_line(self.console, text)

    def data(self, prepared: Any) -> None:
        """Show what there is to train on."""
        self._close_bar()
        report = prepared.parts.report
        rows = ", ".join(f"{count:,} {part}" for part, count in report.rows.items())
        told = f"rows: {rows}; {report.tokenized:,} tokenized now in {report.seconds:.1f} s, {report.reused:,} before"
        write_line(self.console, told)
        for message in report.messages:
            write_line(self.console, f"left out: {message}")
        if report.bad:
            write_line(self.console, f"bad rows left out: {report.bad:,}")
        print_statistics(self.console, prepared.statistics)
        shapes = ", ".join(f"{count} x {length:,}" for count, length in prepared.plan.shapes)
        memory = f"{prepared.memory / _GIGABYTE:.1f} GB" if prepared.memory >= 1e8 else "under 0.1 GB"
        write_line(
            self.console,
            f"batches of {shapes} tokens, {len(prepared.plan):,} an epoch; {_steps(prepared.total)}; "
            f"a step needs about {memory} besides the program",
        )

    def training(self, run: Any) -> None:
        """Start the progress of the steps."""
        state, folder = run.state, self._folder
        if folder is not None:
            self._log = MetricsLog(folder, state.step, has_events=self._settings.tensorboard)
        self._progress = Progress(self.console, run.state.total, state.step, line_seconds=self._settings.seconds)
        start = f"from step {state.step:,}" if state.step else "from the start"
        self._progress.begin(f"training {run.model.count_params():,} weights {start}; compiling the first step")

    @property
    def total(self) -> int:
        """The steps of the whole run."""
        return self._progress.total if self._progress else 0

    @total.setter
    def total(self, total: int) -> None:
        if self._progress is not None:
            self._progress.total = total

    def step(self, step: int, figures: Mapping[str, float]) -> None:
        """Count a step: its loss, learning rate, gradient norm and tokens."""
        if self._progress is not None:
            shown = self._progress.step(figures)
            if self._log is not None:
                self._log.write("train", step, shown)

    def validation(self, step: int, figures: Mapping[str, float]) -> None:
        """Show the figures of held-out rows."""
        if self._progress is not None:
            self._progress.validation(figures)
        if self._log is not None:
            self._log.write("validation", step, figures)

    def note(self, text: str) -> None:
        """Show a line."""
        if self._progress is not None:
            self._progress.note(text)
        else:
            write_line(self.console, text)

    def test(self, scored: Any, samples: int) -> None:
        """Show the scores on the test rows, and the first texts."""
        self.close()
        if self._folder is not None:
            self._curves(self._folder)
        print_scores(self.console, scored)
        shown = list(zip(scored.documents, scored.references, scored.texts, scored.places, strict=True))[:samples]
        print_samples(self.console, [Sample(*each) for each in shown])

    def finish(self, checked: Any, state: Any, prepared: Any, figures: Mapping[str, Any]) -> None:
        """Write `report.json`, from which the run can be repeated, and say where everything is."""
        folder = self._folder
        if folder is None:
            return
        report = {
            "settings": flat(checked.config),
            "state": {name: value for name, value in dataclasses.asdict(state).items() if name != "settings"},
            "rows": prepared.parts.report.rows,
            "files": prepared.files,
            "data_key": prepared.parts.train.key,
            "scores": figures,
            "rouge_score": rouge_version(),
            "seconds": round(time.monotonic() - self._begun, 1),
        }
        write_json(folder / "report.json", finite(report))
        model = folder / "model"
        write_line(self.console, f"model and tokenizer: {model}")
        write_line(
            self.console, f"figures: {folder / 'report.json'}, {folder / 'metrics.jsonl'}, {folder / 'loss.png'}"
        )
        command = ["python", "-m", "export", "--model", str(model), "--output", str(folder / "served")]
        write_line(self.console, f"serve it: {shlex.join(command)}")

    def _curves(self, folder: Path) -> None:
        lines = read_metrics(folder)
        series = {
            kind: [
                (line["step"], line["loss"]) for line in lines if line["kind"] == kind and line.get("loss") is not None
            ]
            for kind in ("train", "validation")
        }
        series = {name: points for name, points in series.items() if points}
        if series:
            save_loss_plot(series, folder / "loss.png")
            print_curve(self.console, {name: [loss for _, loss in points] for name, points in series.items()})

    def close(self) -> None:
        """End bars and files; more than once is well."""
        self._close_bar()
        if self._progress is not None:
            self._progress.close()
        if self._log is not None:
            self._log.close()

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def print_scores(console: Console, scored: Any) -> None:
    """Print the table of a model's scores and of the trivial baseline."""
    rows = len(scored.texts)
    few = "; with so few, the brackets are where the mean may lie" if rows < 50 else ""
    print_rouge(console, scored.figures, f"{rows} documents{few}; rouge-score {rouge_version()}", rows)


def _short(value: Any) -> str:
    return "/".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)


def _steps(total: int) -> str:
    return f"{total:,} steps" if total < UNPLANNED else "as many steps as fit into the time"
