"""Tables and curves for a terminal, plain text for anything else.

Everything takes plain data, so a report can be printed again from saved figures.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from training.reporting.terminal import box_of, has_unicode, printable

_BLOCKS = " ▁▂▃▄▅▆▇█"
_ASCII_BLOCKS = " .:-=+*#@"
_CURVE_ROWS = 8
_CURVE_WIDTH = 64
_WIDEST_POINT = 6

# With so many documents an interval is narrower than the differences that one looks for.
_ENOUGH_ROWS = 50


@dataclass(frozen=True)
class Sample:
    """A held-out document with its reference and the sentence that a model wrote."""

    document: str
    reference: str
    prediction: str
    name: str = ""


def print_curve(console: Console, history: Mapping[str, Sequence[float]]) -> None:
    """Print each series as a small plot of text with its first, last and best value.

    Args:
        console: the console to print to.
        history: the values of each series in order, `{"loss": [...], "val_loss": [...]}`, such as `fit` returns.
            Series without a finite value are left out; values that are not finite leave a gap.
    """
    for name, values in history.items():
        finite = [value for value in values if math.isfinite(value)]
        if not finite:
            continue
        figures = f"first {finite[0]:.3f}   last {finite[-1]:.3f}   lowest {min(finite):.3f}"
        console.print(Text.assemble((name, "bold"), f"   {figures}   ({len(values)} points)"))
        console.print(Text(_curve(console, values), style="cyan"))
        console.print()


def print_rouge(
    console: Console,
    scores: Mapping[str, Mapping[str, float | tuple[float, float, float]]],
    note: str = "",
    rows: int | None = None,
) -> None:
    """Print a table of systems and metrics; the best system of each metric stands in bold with a star.

    Args:
        console: the console to print to.
        scores: for each system, its metrics, `{"trained model": {"rouge1": 31.2, ...}, ...}`. A metric that a system
            lacks is left blank. A metric may be a mean with the two ends of its interval, as of `rouge_report`.
        note: a line below the table, such as the library's version and the number of documents.
        rows: the number of documents. With 50 or more the intervals are not printed.
    """
    metrics = list(dict.fromkeys(metric for system in scores.values() for metric in system))
    best = {metric: max(_mean(system[metric]) for system in scores.values() if metric in system) for metric in metrics}
    has_intervals = rows is None or rows < _ENOUGH_ROWS
    table = table_of(console, "ROUGE on held-out documents", caption=note)
    table.add_column("system", overflow="fold")
    for metric in metrics:
        table.add_column(metric, justify="right", overflow="fold")
    for name, system in scores.items():
        cells = [_score_cell(system.get(metric), best[metric], has_intervals) for metric in metrics]
        table.add_row(Text(printable(console, name)), *cells)
    console.print(table)


def print_samples(console: Console, samples: Sequence[Sample], document_lines: int = 8) -> None:
    """Print each document, cut to some lines, above its reference and the model's sentence."""
    for sample in samples:
        lines = printable(console, sample.document).expandtabs(4).split("\n")
        width = max(console.width - 4, 20)
        shown = [line if len(line) <= width else line[: width - 3] + "..." for line in lines[:document_lines]]
        if len(lines) > document_lines:
            shown.append(f"... ({len(lines) - document_lines} more lines)")
        body = Text.assemble(
            ("\n".join(shown) + "\n\n", "dim"),
            ("reference  ", "bold green"),
            printable(console, sample.reference) + "\n",
            ("model      ", "bold cyan"),
            printable(console, sample.prediction) or "(nothing)",
        )
        title = Text(printable(console, sample.name)) if sample.name else None
        console.print(Panel(body, title=title, title_align="left", box=box_of(console), safe_box=True))


def table_of(console: Console, title: str, caption: str = "") -> Table:
    """An empty table in the style of all."""
    return Table(
        title=title, title_justify="left", caption=caption or None, caption_justify="left", box=box_of(console)
    )


def _curve(console: Console, values: Sequence[float]) -> str:
    blocks = _BLOCKS if has_unicode(console) else _ASCII_BLOCKS
    width = min(_CURVE_WIDTH, max(console.width - 12, 8))
    columns = _bucket_means(values, width)
    # A few points, one per epoch say, are drawn wide enough to be seen.
    point_width = min(max(width // len(columns), 1), _WIDEST_POINT)
    finite = [column for column in columns if column is not None]
    low, high = min(finite), max(finite)
    # A flat series is drawn at half height.
    scale = _CURVE_ROWS / (high - low) if high > low else 0.0
    heights = [0.0 if c is None else max((c - low) * scale, 0.25) if scale else _CURVE_ROWS / 2 for c in columns]
    lines = []
    for row in reversed(range(_CURVE_ROWS)):
        cells = (min(max(height - row, 0.0), 1.0) for height in heights)
        label = high if row == _CURVE_ROWS - 1 else low if row == 0 else None
        margin = f"{label:>9.3f} " if label is not None else " " * 10
        drawn = "".join(blocks[round(cell * (len(blocks) - 1))] * point_width for cell in cells)
        lines.append((margin + drawn).rstrip())
    return "\n".join(lines)


def _bucket_means(values: Sequence[float], width: int) -> list[float | None]:
    """The means of at most `width` equal runs of the values; None for a run without a finite value."""
    count = min(width, len(values))
    edges = [position * len(values) // count for position in range(count + 1)]
    runs = [[v for v in values[start:end] if math.isfinite(v)] for start, end in itertools.pairwise(edges)]
    return [sum(run) / len(run) if run else None for run in runs]


def _mean(score: float | tuple[float, float, float]) -> float:
    return score[0] if isinstance(score, tuple) else score


def _score_cell(score: float | tuple[float, float, float] | None, best: float, has_interval: bool) -> Text:
    if score is None:
        return Text("")
    text = f"{_mean(score):.2f}"
    if isinstance(score, tuple) and has_interval:
        text = f"{score[0]:.1f} [{score[1]:.1f}, {score[2]:.1f}]"
    return Text(f"{text} *", style="bold") if _mean(score) == best else Text(f"{text}  ")
