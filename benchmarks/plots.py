"""Plots over the length: time per token and peak memory, ours and theirs.

The plot of the README is drawn from figures that are written down:
python -m benchmarks.plots docs/performance/encode.json docs/performance/encode.png
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.jobs import Row
from benchmarks.task import OURS, SIDES

PLOTS = {
    "time-per-token.png": ("seconds", "milliseconds per token"),
    "peak-memory.png": ("peak_gb", "peak memory, GB"),
}
_MILLI = 1e3
Lines = Mapping[tuple[str, str], Sequence[tuple[int, float]]]
"""For each family and side the points (tokens, value)."""


def save_plots(rows: Sequence[Row], figures: Mapping[str, Mapping[str, float]], folder: Path) -> list[Path]:
    """Draw the encoders' plots.

    Args:
        rows: those that ran; only encoders with their usual window are points.
        figures: of each row, see `benchmarks.figures.row_figures`.
        folder: where to; it must exist.

    Returns:
        The files, none where no row is a point.
    """
    written = []
    for name, (figure, label) in PLOTS.items():
        lines = plot_lines(rows, figures, figure)
        if lines:
            draw_lines(lines, label, folder / name)
            written.append(folder / name)
    return written


def plot_lines(
    rows: Sequence[Row], figures: Mapping[str, Mapping[str, float]], figure: str
) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """For each family and side the points (tokens, value) by length; seconds become milliseconds per token."""
    lines: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for row in rows:
        for side in SIDES:
            value = figures.get(row.name, {}).get(f"{side}_{figure}")
            if row.is_plotted and value is not None:
                shown = _MILLI * value / row.length if figure == "seconds" else value
                lines.setdefault((row.family, side), []).append((row.length, shown))
    return {key: sorted(points) for key, points in lines.items()}


def read_lines(path: Path) -> tuple[Lines, str]:
    """Lines and their label from a file of figures: {"label", "families": {family: {side: {tokens: value}}}}."""
    figures = json.loads(path.read_text(encoding="utf-8"))
    lines = {
        (family, side): sorted((int(tokens), value) for tokens, value in points.items())
        for family, sides in figures["families"].items()
        for side, points in sides.items()
    }
    return lines, figures["label"]


def draw_lines(lines: Lines, label: str, path: Path) -> None:
    """Draw lines over the length into a PNG file; `label` is that of the values."""
    # A figure without pyplot has no window, no global state and needs no display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    from tfmodels.utils.files import written_whole

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    families = list(dict.fromkeys(family for family, _ in lines))
    for (family, side), points in lines.items():
        lengths, values = zip(*points, strict=True)
        style, name = ("o-", f"{family}, tfmodels") if side == OURS else ("s--", f"{family}, transformers")
        axes.plot(lengths, values, style, markersize=4, color=f"C{families.index(family)}", label=name)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(bottom=0)
    axes.set_xlabel("tokens")
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    with written_whole(path) as partial:
        figure.savefig(partial, format="png", dpi=100)


def main() -> None:
    """Draw a file of figures."""
    parser = argparse.ArgumentParser("python -m benchmarks.plots", description="Draw figures that are written down.")
    parser.add_argument("figures", type=Path, help="a JSON file")
    parser.add_argument("plot", type=Path, help="a PNG file")
    options = parser.parse_args()
    draw_lines(*read_lines(options.figures), options.plot)


if __name__ == "__main__":
    main()
