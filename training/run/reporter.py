"""What a run tells: on the screen, in `metrics.jsonl` and TensorBoard, and in `report.json`."""

from pathlib import Path
from typing import Any

from rich.console import Console

from training.config import Logging


class Reporter:
    """Temporary."""

    def __init__(self, console: Console, folder: Path, settings: Logging) -> None:
        self.console = console
        self.total = 0

    def settings(self, checked: Any) -> None:
        self.console.print(checked.chosen)

    def tokenizing(self, rows: int, done: int, total: int) -> None:
        pass

    def data(self, prepared: Any) -> None:
        print(prepared.parts.report, prepared.total, prepared.plan.shapes)

    def training(self, run: Any) -> None:
        print("training from", run.state.step, "to", run.state.total)

    def step(self, step: int, figures: dict[str, float], seconds: float, compiled: bool) -> None:
        print(step, figures, round(seconds, 2), compiled, flush=True)

    def validation(self, step: int, figures: dict[str, float]) -> None:
        print("validation", step, figures)

    def note(self, text: str) -> None:
        print("note", text, flush=True)

    def test(self, scored: Any, samples: int) -> None:
        print(scored.figures)

    def finish(self, *args: Any) -> None:
        pass

    def close(self) -> None:
        pass
