"""From the runs of a row to its figures: medians, ratios, shares. Names: see `benchmarks.jobs`."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.arithmetic import encoder_operations
from benchmarks.jobs import Row
from benchmarks.models import GLOBAL_TOKENS, config_fields
from benchmarks.task import OURS, THEIRS

Runs = Mapping[str, Sequence[Mapping[str, float]]]
"""For each side the figures of each of its processes."""


def row_figures(
    row: Row, runs: Runs, others: Mapping[str, Mapping[str, float]], ceiling_gflops: float | None
) -> dict[str, float]:
    """The figures of one row.

    Args:
        row: what was run.
        runs: what the workers found.
        others: figures of earlier rows by name, for `compared_to`.
        ceiling_gflops: the machine's matrix-product rate in 10**9 operations a second, where it is known.

    Returns:
        "ours_seconds", "ours_seconds_per_token", "ours_peak_gb", and where measured "theirs_seconds", "theirs_peak_gb",
        "time_ratio", "memory_ratio", "compile_seconds", "needed_gflop", "needed_gflops", "ceiling_share",
        "token_time_ratio".
    """
    figures = {
        f"{side}_{name}": statistics.median(run[name] for run in found)
        for side, found in runs.items()
        for name in ("seconds", "peak_gb")
    }
    if OURS in runs and THEIRS in runs:
        figures["time_ratio"] = figures["theirs_seconds"] / figures["ours_seconds"]
        figures["memory_ratio"] = figures["ours_peak_gb"] / figures["theirs_peak_gb"]
    if OURS not in runs:
        return figures
    if row.job == "train":
        figures["compile_seconds"] = statistics.median(run["first_seconds"] - run["seconds"] for run in runs[OURS])
    if row.job == "encode":
        figures["needed_gflop"] = needed_gflop(row)
        figures["needed_gflops"] = figures["needed_gflop"] / figures["ours_seconds"]
        if ceiling_gflops is not None:
            figures["ceiling_share"] = figures["needed_gflops"] / ceiling_gflops
    figures["ours_seconds_per_token"] = figures["ours_seconds"] / row.length
    compared = others.get(row.compared_to or "", {}).get("ours_seconds_per_token")
    if compared is not None:
        figures["token_time_ratio"] = figures["ours_seconds_per_token"] / compared
    return figures


def needed_gflop(row: Row) -> float:
    """What the row's encoder needs, in 10**9 operations."""
    fields: dict[str, Any] = config_fields(row.family, row.size, row.length, row.half_window)
    return sum(encoder_operations(row.family, fields, row.length, GLOBAL_TOKENS).values()) / 1e9
