"""Reports of a training run: the table of a corpus, and the other parts under their earlier names."""

import math
import os
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from training.reporting import plots
from training.reporting.tables import Sample, print_curve, print_rouge, print_samples, table_of
from training.reporting.terminal import has_unicode
from training.splits import CorpusSummary

__all__ = ["Sample", "print_corpus", "print_curve", "print_rouge", "print_samples", "save_loss_plot"]

_BAR_WIDTH = 40


def print_corpus(console: Console, summary: CorpusSummary) -> None:
    """Print the counts of each part and the histogram of document lengths."""
    table = table_of(console, "Corpus")
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


def save_loss_plot(history: Mapping[str, Sequence[float]], path: str | os.PathLike) -> None:
    """As `training.reporting.plots.save_loss_plot`, of series without steps: each spans the same run.

    Args:
        history: as in `print_curve`.
        path: the file to write. Its folder must exist.

    Raises:
        ValueError: no value in any series.
        ImportError: matplotlib is not installed.
        OSError: a file that cannot be written.
    """
    if not any(len(values) for values in history.values()):
        raise ValueError(f"history must hold at least one series with a value. Received: history={dict(history)}")
    longest = max(map(len, history.values()))
    plots.save_loss_plot(
        {name: [((i + 1) * longest / len(v), x) for i, x in enumerate(v)] for name, v in history.items()}, path
    )


def _histogram(console: Console, summary: CorpusSummary) -> Table:
    largest = max(bin.count for bin in summary.histogram)
    bar = "█" if has_unicode(console) else "#"
    table = Table(title="Document lengths in characters", title_justify="left", box=None, show_header=False)
    # The default overflow writes an ellipsis, which some encodings lack.
    table.add_column(justify="right", overflow="fold")
    table.add_column(justify="right", overflow="fold")
    table.add_column(no_wrap=True, overflow="crop")
    for bin in summary.histogram:
        width = math.ceil(_BAR_WIDTH * bin.count / largest)
        table.add_row(f"{bin.low:,} to {bin.high - 1:,}", f"{bin.count:,}", Text(bar * width, style="cyan"))
    return table
