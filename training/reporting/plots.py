"""The loss of a run as a picture."""

import os
from collections.abc import Mapping, Sequence

from tfmodels.utils.files import written_whole

# Series of fewer points than this have a marker at each.
_FEW_POINTS = 30


def save_loss_plot(series: Mapping[str, Sequence[tuple[float, float]]], path: str | os.PathLike[str]) -> None:
    """Draw series over the steps at which they were measured into a PNG file, whole or not at all.

    Args:
        series: for each name its (step, value) pairs. Values that are not finite leave a gap.
        path: the file to write. Its folder must exist.

    Raises:
        ValueError: no pair in any series.
        ImportError: matplotlib is not installed.
        OSError: a file that cannot be written.
    """
    drawn = {name: list(pairs) for name, pairs in series.items() if len(pairs)}
    if not drawn:
        raise ValueError(f"series must hold at least one with a (step, value) pair. Received: series={dict(series)}")
    # A figure without pyplot has no window, no global state and needs no display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, pairs in drawn.items():
        axes.plot(*zip(*pairs, strict=True), label=name, marker="o" if len(pairs) < _FEW_POINTS else None, markersize=5)
    steps = [step for pairs in drawn.values() for step, _ in pairs]
    first, last = min(steps), max(steps)
    # One step alone would stand in limits of its own fractions.
    margin = max(0.03 * (last - first), 1.0 if last == first else 0.0)
    axes.set_xlim(first - margin, last + margin)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    with written_whole(path) as partial:
        figure.savefig(partial, format="png", dpi=120)
