"""How far a mean over few rows may be off."""

from collections.abc import Sequence

import numpy as np

_CHUNK = 1 << 20


def bootstrap_interval(
    scores: Sequence[float], seed: int = 0, samples: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """The percentile interval of the mean by the bootstrap (Efron and Tibshirani, 1993, chapter 13).

    Rows are drawn by splitmix64 (Steele et al., 2014), so that one seed has one interval under every version of NumPy.

    Args:
        scores: the scores of all rows.
        seed: seed of the draws.
        samples: how often as many rows as there are are drawn, each with replacement.
        level: the fraction of the means that lie inside.

    Raises:
        ValueError: no scores, no samples, or a level outside of 0 to 1.

    >>> bootstrap_interval([3.0, 3.0, 3.0])
    (3.0, 3.0)
    """
    values = np.asarray(scores, "float64").reshape(-1)
    if not values.size:
        raise ValueError("scores must hold at least one row. Received: 0 rows")
    if samples < 1:
        raise ValueError(f"samples must be at least 1. Received: samples={samples}")
    if not 0 < level < 1:
        raise ValueError(f"level must be above 0 and below 1. Received: level={level}")
    means = []
    rows_at_once = max(1, _CHUNK // values.size)
    for start in range(0, samples, rows_at_once):
        rows = np.arange(start, min(start + rows_at_once, samples), dtype="uint64")
        places = rows[:, None] * np.uint64(values.size) + np.arange(values.size, dtype="uint64")
        drawn = _splitmix64(places, seed) % np.uint64(values.size)
        means.append(values[drawn.astype("int64")].mean(axis=1))
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _splitmix64(places: np.ndarray, seed: int) -> np.ndarray:
    """The outputs of the generator at given places of its sequence: uint64 of the same shape."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed % 2**64) + (places + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
