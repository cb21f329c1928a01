"""What a benchmark shows: a line as each row ends, and a table, in a terminal or anything else."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.instructions import instructions
from benchmarks.jobs import Row, Target
from benchmarks.task import OURS, PEERS

MISSED = "MISSED"
_WIDTH_OF_A_FILE = 200
_UNKNOWN = "-"

Figures = Mapping[str, float]


def make_console() -> Console:
    """The terminal; a file or pipe gets lines wide enough for the tables."""
    console = Console()
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=_WIDTH_OF_A_FILE)


def make_table(console: Console, title: str, first: str, others: Sequence[str]) -> Table:
    """An empty table of names and figures, in plain characters where the console knows no others."""
    has_unicode = console.encoding.lower().replace("-", "").startswith("utf")
    table = Table(title=title, title_justify="left", box=box.ROUNDED if has_unicode else box.ASCII)
    # The default overflow writes an ellipsis, which not every encoding has.
    table.add_column(first, overflow="fold")
    for heading in others:
        table.add_column(heading, justify="right", overflow="fold")
    return table


def print_ceiling(console: Console, ceiling: Mapping[str, Any]) -> None:
    """Prints every engine's matrix-product rates, the best of all, and the memory bandwidth."""
    for engine, rates in ceiling["engines"].items():
        shown = ", ".join(f"{shape} {rate:.0f}" for shape, rate in rates.items())
        console.print(f"matrix products, {engine}: {shown} GFLOP/s", highlight=False)
    console.print(f"ceiling: {ceiling['gflops']:.0f} GFLOP/s, {ceiling['gb_per_second']:.1f} GB/s", highlight=False)


def print_row(console: Console, position: int, count: int, name: str, figures: Figures) -> None:
    """Prints what a row took as soon as it is known."""
    sides = [
        f"{side} {figures[f'{side}_seconds']:.2f} s, {figures[f'{side}_peak_gb']:.2f} GB"
        for side in (OURS, *PEERS)
        if f"{side}_seconds" in figures
    ]
    console.print(f"{position}/{count} {name}: {'; '.join(sides)}", highlight=False)


def print_table(console: Console, rows: Sequence[Row], figures: Mapping[str, Figures]) -> None:
    """Prints every row with its targets; a figure that misses its own is marked."""
    seconds, memory = ([f"{side} {unit}" for side in (OURS, *PEERS)] for unit in ("s", "GB"))
    headings = (*seconds, "theirs / ours", *memory, "ours / theirs", "of ceiling", "further")
    table = make_table(console, f"Ours beside transformers, eager and compiled; {instructions()}", "job", headings)
    for row in rows:
        row_figures = figures[row.name]
        table.add_row(
            row.name,
            *(_plain(row_figures, f"{side}_seconds") for side in (OURS, *PEERS)),
            _with_target(row, row_figures, "time_ratio"),
            *(_plain(row_figures, f"{side}_peak_gb") for side in (OURS, *PEERS)),
            _with_target(row, row_figures, "memory_ratio"),
            _with_target(row, row_figures, "ceiling_share"),
            _further(row, row_figures),
        )
    console.print(table)


def _plain(figures: Figures, name: str) -> str:
    return number(figures[name]) if name in figures else _UNKNOWN


def number(value: float) -> str:
    """Three significant digits without an exponent.

    >>> number(0.01234), number(1.5), number(123.4)
    ('0.0123', '1.50', '123')
    """
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3g}"


def _with_target(row: Row, figures: Figures, name: str) -> Text:
    """A figure with its target beside it where the row has one."""
    target = next((target for target in row.targets if target.figure == name), None)
    if name not in figures:
        return Text(_UNKNOWN if target is None else f"not measured ({_limit(target)})")
    if target is None:
        return Text(number(figures[name]))
    return judged(number(figures[name]), target, figures[name])


def judged(shown: str, target: Target, value: float) -> Text:
    """`shown` and the target, marked where the value misses it."""
    if target.met(value):
        return Text(f"{shown} ({_limit(target)})")
    return Text(f"{shown} ({_limit(target)}) {MISSED}", style="bold red")


def _limit(target: Target) -> str:
    return f"{'>=' if target.at_least else '<='} {target.limit:g}"


_FURTHER = {
    "compile_seconds": "compiling, s",
    "token_time_ratio": "time per token",
    "ours_peak_gb": "GB",
    "bandwidth_share": "of bandwidth",
    "added_memory_share": "memory added, of cache",
    "xla_speed_share": "of speed under XLA",
    "step_time_ratio": "time per step",
    "float32_speed_ratio": "of float32's speed",
    "float32_peak_ratio": "of float32's peak",
    "ours_tokens_per_second": "ours, tokens/s",
    "theirs_tokens_per_second": "theirs, tokens/s",
}
_SHOWN_WITHOUT_TARGET = ("ours_tokens_per_second", "theirs_tokens_per_second")


def _further(row: Row, figures: Figures) -> Text:
    """The figures that have no column of their own, a line each."""
    lines = []
    for name, label in _FURTHER.items():
        is_shown = name in figures and name in _SHOWN_WITHOUT_TARGET
        if is_shown or any(target.figure == name for target in row.targets):
            lines.append(Text(f"{label}: ") + _with_target(row, figures, name))
    return Text("\n").join(lines)
