"""The scores of a run's model, of its validation and of its test, with what they were measured on."""

import contextlib
import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.config import Config
from training.data.request import held_out_shares
from training.evaluating import LEAD, MODEL
from training.reporting.log import read_metrics
from training.run.checkpoints import Checkpoints
from training.run.folder import RunFolder
from training.run.loop import STATE
from training.run.state import TrainerState

_NO_FIGURES = ("kind", "step", "time")
# How many rows the figures of the validation have at most.
_ROWS, _LOSS_ROWS = "evaluation.rouge_rows", "evaluation.loss_rows"


@dataclasses.dataclass(frozen=True)
class Score:
    """A figure of a model on some rows.

    Attributes:
        metric: such as "loss" or "rougeL".
        value: the figure.
        rows: rows that it was measured on.
        interval: where the mean of so many rows may lie, or None.
        baseline: the figure of the document's first sentences, or None.
    """

    metric: str
    value: float
    rows: int
    interval: tuple[float, float] | None = None
    baseline: float | None = None


@dataclasses.dataclass(frozen=True)
class PartScores:
    """The scores of one part of the data.

    Attributes:
        part: "validation" or "test".
        files: names of the files, without their folders.
        share: the share of the files that the part is, held out of training; 0: all of them.
        scores: the figures, all of them finite.
    """

    part: str
    files: Sequence[str]
    share: float
    scores: Sequence[Score]


def scores_of(
    folder: RunFolder,
    step: int,
    figures: Mapping[str, Mapping[str, Any]],
    config: Config,
    files: Mapping[str, Sequence[Path]],
    sizes: Mapping[str, int],
) -> list[PartScores]:
    """The scores of the model of a step; a part without any is left out.

    Args:
        folder: the run's.
        step: the step of the model.
        figures: of the test, as in the report; {} without test rows.
        config: resolved settings.
        files: the files of each part.
        sizes: the number of rows of each part.
    """
    shares = held_out_shares({part: list(paths) for part, paths in files.items()}, (config.data.hold_out,) * 2)
    test_rows = min(sizes["test"], config.evaluation.test_rows)
    scores = {"validation": _validation(folder, step, sizes["validation"]), "test": _test(figures, test_rows)}
    return [
        PartScores(part, [path.name for path in files[part] or files["train"]], share, told)
        for (part, each), share in zip(scores.items(), shares, strict=True)
        if (told := [score for score in each if math.isfinite(score.value)])
    ]


def _validation(folder: RunFolder, step: int, size: int) -> list[Score]:
    """The figures of the validation at a step, from the log; none where it has been removed."""
    with contextlib.suppress(OSError, ValueError):
        # The settings of that step: those of now may be others.
        settings = TrainerState.read(Checkpoints(folder.checkpoints).path(step) / STATE).settings
        lines = [line for line in read_metrics(folder.path) if (line.get("kind"), line["step"]) == ("validation", step)]
        return [
            Score(name, value, min(size, settings[_LOSS_ROWS if name == "loss" else _ROWS]))
            for name, value in (lines[-1] if lines else {}).items()
            if name not in _NO_FIGURES and isinstance(value, (int, float))
        ]
    return []


def _test(figures: Mapping[str, Mapping[str, Any]], rows: int) -> list[Score]:
    """The figures of a report: for each system and metric, mean, lower and upper end of the interval."""
    baselines = {metric: mean for metric, (mean, *_) in figures.get(LEAD, {}).items()}
    return [
        Score(metric, mean, rows, (low, high), baselines.get(metric))
        for metric, (mean, low, high) in figures.get(MODEL, {}).items()
    ]
