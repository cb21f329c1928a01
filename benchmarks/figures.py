"""From the runs of a row to its figures: medians, ratios, shares. Names: see `benchmarks.jobs`."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.arithmetic import encoder_operations
from benchmarks.decoding import cross_cache_bytes, step_bytes
from benchmarks.jobs import Row
from benchmarks.models import GLOBAL_TOKENS, NEW_TOKENS, config_fields
from benchmarks.task import OURS, PEERS

Runs = Mapping[str, Sequence[Mapping[str, float]]]
"""For each side the figures of each of its processes."""
Figures = Mapping[str, float]


def row_figures(
    row: Row, runs: Runs, others: Mapping[str, Figures], ceiling: Mapping[str, Any] | None = None
) -> dict[str, float]:
    """The figures of one row.

    Args:
        row: what was run.
        runs: the figures of the workers.
        others: figures of earlier rows by name, for `compared_to`.
        ceiling: of the machine, where it is known: "gflops" and "gb_per_second", see `benchmarks.ceiling`.

    Returns:
        "ours_seconds", "ours_peak_gb", and where measured the same of "theirs" and of "compiled", "time_ratio",
        "memory_ratio"; of "encode" and "train" "ours_seconds_per_token"; of "train" "compile_seconds"; of "encode"
        "needed_gflop", "needed_gflops", "ceiling_share"; of "decode", also for theirs, "ours_tokens_per_second"
        and "ours_step_seconds", where memory is measured "ours_search_gb", and greedy "step_gb", "bandwidth_share",
        "ours_step_bandwidth_share"; and what comes of `compared_to`.
    """
    figures = {
        f"{side}_{name}": statistics.median(run[name] for run in side_runs)
        for side, side_runs in runs.items()
        for name in ("seconds", "peak_gb", "search_gb")
        if name in side_runs[0]
    }
    peers = [side for side in PEERS if side in runs]
    if OURS in runs and peers:
        figures["time_ratio"] = min(figures[f"{peer}_seconds"] for peer in peers) / figures["ours_seconds"]
        figures["memory_ratio"] = figures["ours_peak_gb"] / min(figures[f"{peer}_peak_gb"] for peer in peers)
    if row.job == "decode":
        figures |= _step_figures(row, runs)
    if OURS not in runs:
        return figures
    if row.job == "train":
        figures["compile_seconds"] = statistics.median(run["first_seconds"] - run["seconds"] for run in runs[OURS])
    if row.job != "decode":
        figures["ours_seconds_per_token"] = figures["ours_seconds"] / row.length
    figures |= _shares(row, figures, ceiling)
    return figures | _compared(row, figures, others.get(row.compared_to or "", {}))


def _step_figures(row: Row, runs: Runs) -> dict[str, float]:
    """How fast each side makes tokens, and the seconds of a step after the first."""
    figures, tokens = {}, NEW_TOKENS[row.size]
    for side, side_runs in runs.items():
        figures[f"{side}_tokens_per_second"] = tokens / statistics.median(run["seconds"] for run in side_runs)
        steps = statistics.median(run["seconds"] - run["start_seconds"] for run in side_runs)
        figures[f"{side}_step_seconds"] = steps / (tokens - 1)
    return figures


def _shares(row: Row, figures: Figures, ceiling: Mapping[str, Any] | None) -> dict[str, float]:
    """What the row's work needs and, where the ceiling is known, the shares of it that our side reaches."""
    shares = {}
    if row.job == "encode":
        shares["needed_gflop"] = needed_gflop(row)
        shares["needed_gflops"] = shares["needed_gflop"] / figures["ours_seconds"]
        if ceiling is not None:
            shares["ceiling_share"] = shares["needed_gflops"] / ceiling["gflops"]
    if row.job == "decode" and row.beams == 1 and row.dtype == "float32":
        shares["step_gb"] = step_bytes(row.family, _fields(row), row.length) / 1e9
        if ceiling is not None:
            at_ceiling = shares["step_gb"] / ceiling["gb_per_second"]
            shares["bandwidth_share"] = at_ceiling * figures["ours_tokens_per_second"]
            shares["ours_step_bandwidth_share"] = at_ceiling / figures["ours_step_seconds"]
    return shares


def _share_of_cache(row: Row, own: float, other: float) -> float:
    return (own - other) * 1e9 / cross_cache_bytes(row.family, _fields(row), row.length)


_COMPARISONS: dict[str, tuple[str, Callable[[Row, float, float], float]]] = {
    "token_time_ratio": ("ours_seconds_per_token", lambda _, own, other: own / other),
    "xla_speed_share": ("ours_seconds", lambda _, own, other: other / own),
    "step_time_ratio": ("ours_step_seconds", lambda _, own, other: own / other),
    "float32_speed_ratio": ("ours_tokens_per_second", lambda _, own, other: own / other),
    "float32_peak_ratio": ("ours_peak_gb", lambda _, own, other: own / other),
    "added_memory_share": ("ours_search_gb", _share_of_cache),
}
"""For each figure that compares two rows, what it is made of and how."""


def _compared(row: Row, own: Figures, other: Figures) -> dict[str, float]:
    """The figures that the row's targets want of it and of the row that it is compared to."""
    figures_of_targets = {target.figure for target in row.targets}
    return {
        figure: compare(row, own[name], other[name])
        for figure, (name, compare) in _COMPARISONS.items()
        if figure in figures_of_targets and name in own and name in other
    }


def needed_gflop(row: Row) -> float:
    """What the row's encoder needs, in 10**9 operations."""
    return sum(encoder_operations(row.family, _fields(row), row.length, GLOBAL_TOKENS).values()) / 1e9


def _fields(row: Row) -> dict[str, Any]:
    return config_fields(row.family, row.size, row.length, row.half_window)
