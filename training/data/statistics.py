"""What a corpus is like in tokens: how long, how much is cut, how much is padding."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from training.data.columns import TokenStore

_SHARES = (50, 90, 99)
_MOST_CUT = 0.1


@dataclass(frozen=True)
class Sizes:
    """How many tokens the rows of one part have before they are cut; all 0 for a part without rows."""

    part: str
    column: str
    rows: int
    tokens: int
    median: int
    percentile_90: int
    percentile_99: int
    longest: int


@dataclass(frozen=True)
class Cut:
    """The share of rows that are longer than a length, and the share of all tokens that is lost by cutting to it."""

    column: str
    length: int
    rows: float
    tokens: float


@dataclass(frozen=True)
class Bucket:
    """The training rows whose smallest source length is this one, and the share of padding among their places."""

    length: int
    rows: int
    padding: float


@dataclass(frozen=True)
class Statistics:
    """What `statistics_of` counts; `warnings` are sentences for the user."""

    sizes: tuple[Sizes, ...]
    cuts: tuple[Cut, ...]
    buckets: tuple[Bucket, ...]
    warnings: tuple[str, ...]


def statistics_of(
    stores: Mapping[str, TokenStore],
    source_lengths: Sequence[int],
    target_length: int,
    source: str = "source",
    target: str = "target",
) -> Statistics:
    """Count the tokens of all parts, and what some lengths would cut and pad.

    Args:
        stores: the parts by name, `parts.stores`; cuts and buckets are of the part "train".
        source_lengths: the source lengths, ascending; rows that are longer than the last are cut to it.
        target_length: the length of labels.
        source, target: the columns.

    Raises:
        ValueError: lengths that are not ascending.
    """
    lengths = list(source_lengths)
    if not lengths or any(first >= second for first, second in itertools.pairwise([0, *lengths])):
        raise ValueError(f"source_lengths must be positive and ascending. Received: source_lengths={source_lengths}")
    sizes = [
        _sizes(part, column, store.true_sizes(column)) for column in (source, target) for part, store in stores.items()
    ]
    train = stores["train"]
    wanted = [(source, length) for length in lengths] + [(target, target_length)]
    cuts = [_cut(column, length, train.true_sizes(column)) for column, length in wanted]
    kept = np.minimum(train.true_sizes(source), lengths[-1])
    return Statistics(tuple(sizes), tuple(cuts), _buckets(kept, lengths), _warnings(cuts, lengths[-1]))


def print_statistics(console: Console, statistics: Statistics) -> None:
    """Print the tables."""
    table = _table(console, "Tokens", ("part", "tokens of", "rows", "tokens", "median", "90 %", "99 %", "longest"), 2)
    for size in statistics.sizes:
        counts = (size.rows, size.tokens, size.median, size.percentile_90, size.percentile_99, size.longest)
        table.add_row(size.part, size.column, *(f"{count:,}" for count in counts))
    console.print(table)
    table = _table(console, "Cut in training", ("tokens of", "length", "rows cut", "tokens lost"), 1)
    for cut in statistics.cuts:
        table.add_row(cut.column, f"{cut.length:,}", _percent(cut.rows), _percent(cut.tokens))
    console.print(table)
    table = _table(console, "Batches for training", ("source length", "rows", "padding"), 0)
    for bucket in statistics.buckets:
        table.add_row(f"{bucket.length:,}", f"{bucket.rows:,}", _percent(bucket.padding))
    console.print(table)


def _sizes(part: str, column: str, sizes: np.ndarray) -> Sizes:
    if not len(sizes):
        return Sizes(part, column, 0, 0, 0, 0, 0, 0)
    # A length that some row has, never one between two rows.
    median, percentile_90, percentile_99 = map(int, np.percentile(sizes, _SHARES, method="inverted_cdf"))
    total, longest = int(sizes.sum(dtype="int64")), int(sizes.max())
    return Sizes(part, column, len(sizes), total, median, percentile_90, percentile_99, longest)


def _cut(column: str, length: int, sizes: np.ndarray) -> Cut:
    lost = np.maximum(sizes, length).sum(dtype="int64") - length * len(sizes)
    total = max(int(sizes.sum(dtype="int64")), 1)
    return Cut(column, length, int(np.sum(sizes > length)) / max(len(sizes), 1), int(lost) / total)


def _buckets(kept: np.ndarray, lengths: Sequence[int]) -> tuple[Bucket, ...]:
    places = np.searchsorted(lengths, kept)
    counts = np.bincount(places, minlength=len(lengths))
    tokens = np.bincount(places, weights=kept, minlength=len(lengths))
    return tuple(
        Bucket(length, int(count), float(1 - token / (count * length)) if count else 0.0)
        for length, count, token in zip(lengths, counts, tokens, strict=True)
    )


def _warnings(cuts: Sequence[Cut], longest: int) -> tuple[str, ...]:
    return tuple(
        f"{_percent(cut.rows)} of the rows have a {cut.column} of more than {cut.length:,} tokens and are cut, "
        f"by {_percent(cut.tokens)} of all {cut.column} tokens"
        for cut in cuts
        # Shorter source lengths are those of buckets: they cut nothing.
        if cut.rows > _MOST_CUT and (cut is cuts[-1] or cut.length == longest)
    )


def _percent(share: float) -> str:
    """
    >>> _percent(0.00004), _percent(0.5)
    ('<0.1 %', '50.0 %')
    """
    return "<0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def _table(console: Console, title: str, headings: Sequence[str], left: int) -> Table:
    has_unicode = console.encoding.lower().replace("-", "").startswith("utf")
    table = Table(title=title, title_justify="left", box=box.ROUNDED if has_unicode else box.ASCII)
    for index, heading in enumerate(headings):
        # The default overflow writes an ellipsis, which some encodings lack.
        table.add_column(heading, justify="left" if index < left else "right", overflow="fold")
    return table
