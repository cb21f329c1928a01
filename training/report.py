"""Reports of a training run: tables and curves for a terminal, plain text for anything else, and a PNG of the loss.

Everything takes plain data, so a report can be printed again from saved figures.
"""

import itertools
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tfmodels.utils.files import written_whole
from training.splits import CorpusSummary

_BLOCKS = " ▁▂▃▄▅▆▇█"
_ASCII_BLOCKS = " .:-=+*#@"
_BAR_WIDTH = 40
_CURVE_ROWS = 8
_CURVE_WIDTH = 64
_WIDEST_POINT = 6

# Escape sequences in a document or a model's sentence must not reach the terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class Sample:
    """A held-out document with its reference and the sentence that a model wrote."""

    document: str
    reference: str
    prediction: str
    name: str = ""


def print_corpus(console: Console, summary: CorpusSummary) -> None:
    """Print the counts of each part and the histogram of document lengths."""
    table = _table(console, "Corpus")
    table.add_column("part", overflow="fold")
    for heading in ("examples", "modules", "characters", "median", "longest"):
        table.add_column(heading, justify="right", overflow="fold")
    for part in (*summary.parts, summary.total):
        counts = (part.examples, part.modules, part.characters, part.median, part.longest)
        is_total = part is summary.total
        table.add_row(part.name, *(f"{count:,}" for count in counts), style="bold" if is_total else None)
    console.print(table)
    if summary.histogram:
        console.print(_histogram(console, summary))


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


def print_rouge(console: Console, scores: Mapping[str, Mapping[str, float]], note: str = "") -> None:
    """Print a table of systems and metrics; the best system of each metric stands in bold with a star.

    Args:
        console: the console to print to.
        scores: for each system, its metrics, `{"trained model": {"rouge1": 31.2, ...}, ...}`. A metric that a system
            lacks is left blank.
        note: a line below the table, such as the library's version and the number of documents.
    """
    metrics = list(dict.fromkeys(metric for system in scores.values() for metric in system))
    best = {metric: max(system[metric] for system in scores.values() if metric in system) for metric in metrics}
    table = _table(console, "ROUGE on held-out documents", caption=note)
    table.add_column("system", overflow="fold")
    for metric in metrics:
        table.add_column(metric, justify="right", overflow="fold")
    for name, system in scores.items():
        cells = [_score_cell(system.get(metric), best[metric]) for metric in metrics]
        table.add_row(Text(_printable(console, name)), *cells)
    console.print(table)


def print_samples(console: Console, samples: Sequence[Sample], document_lines: int = 8) -> None:
    """Print each document, cut to some lines, above its reference and the model's sentence."""
    for sample in samples:
        lines = _printable(console, sample.document).expandtabs(4).split("\n")
        width = max(console.width - 4, 20)
        shown = [line if len(line) <= width else line[: width - 3] + "..." for line in lines[:document_lines]]
        if len(lines) > document_lines:
            shown.append(f"... ({len(lines) - document_lines} more lines)")
        body = Text.assemble(
            ("\n".join(shown) + "\n\n", "dim"),
            ("reference  ", "bold green"),
            _printable(console, sample.reference) + "\n",
            ("model      ", "bold cyan"),
            _printable(console, sample.prediction) or "(nothing)",
        )
        title = Text(_printable(console, sample.name)) if sample.name else None
        console.print(Panel(body, title=title, title_align="left", box=_box(console), safe_box=True))


def save_loss_plot(history: Mapping[str, Sequence[float]], path: str | os.PathLike) -> None:
    """Draw every series of a training history over its steps or epochs into a PNG file, whole or not at all.

    Args:
        history: as in `print_curve`.
        path: the file to write. Its folder must exist.

    Raises:
        ValueError: no value in any series.
        ImportError: matplotlib is not installed.
        OSError: a file that cannot be written.
    """
    series = {name: list(values) for name, values in history.items() if len(values)}
    if not series:
        raise ValueError(f"history must hold at least one series with a value. Received: history={dict(history)}")
    # A figure without pyplot has no window, no global state and needs no display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, values in series.items():
        # A series with fewer points (validation) spans the same run.
        longest = max(map(len, series.values()))
        steps = [(position + 1) * longest / len(values) for position in range(len(values))]
        axes.plot(steps, values, label=name, marker="o" if len(values) <= 30 else None, markersize=4)
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    with written_whole(path) as partial:
        figure.savefig(partial, format="png", dpi=120)


def _table(console: Console, title: str, caption: str = "") -> Table:
    return Table(title=title, title_justify="left", caption=caption or None, caption_justify="left", box=_box(console))


def _box(console: Console) -> box.Box:
    return box.ROUNDED if _has_unicode(console) else box.ASCII


def _has_unicode(console: Console) -> bool:
    return console.encoding.lower().replace("-", "").startswith("utf")


def _printable(console: Console, text: str) -> str:
    return _CONTROL.sub(" ", text).encode(console.encoding, "replace").decode(console.encoding)


def _histogram(console: Console, summary: CorpusSummary) -> Table:
    largest = max(bin.count for bin in summary.histogram)
    bar = "█" if _has_unicode(console) else "#"
    table = Table(title="Document lengths in characters", title_justify="left", box=None, show_header=False)
    # The default overflow writes an ellipsis, which some encodings lack.
    table.add_column(justify="right", overflow="fold")
    table.add_column(justify="right", overflow="fold")
    table.add_column(no_wrap=True, overflow="crop")
    for bin in summary.histogram:
        width = math.ceil(_BAR_WIDTH * bin.count / largest)
        table.add_row(f"{bin.low:,} to {bin.high - 1:,}", f"{bin.count:,}", Text(bar * width, style="cyan"))
    return table


def _curve(console: Console, values: Sequence[float]) -> str:
    blocks = _BLOCKS if _has_unicode(console) else _ASCII_BLOCKS
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


def _score_cell(score: float | None, best: float) -> Text:
    if score is None:
        return Text("")
    return Text(f"{score:.2f} *", style="bold") if score == best else Text(f"{score:.2f}  ")
