"""The rows of the benchmark and what each must reach.

A row's figures, which targets speak of:
    time_ratio: theirs / ours, seconds; of their eager and their compiled model the quicker.
    memory_ratio: ours / theirs, peak memory; of the two the smaller.
    ceiling_share: needed operations per second over the machine's matrix-product rate.
    ours_peak_gb: peak memory of our process, 10**9 bytes.
    compile_seconds: our first training step minus a later one.
    bandwidth_share: of the machine's memory bandwidth, what greedy steps that read no more than they must would take
        in the seconds of the whole search. These hold the making of the encoder cache, too, which is no step;
        "ours_step_bandwidth_share", for which there is no target, is of the steps' seconds alone.

Ours beside that of the row named in `compared_to`, each where a target speaks of it:
    token_time_ratio: time per token.
    xla_speed_share: speed; that of the same search under XLA is 1.
    step_time_ratio: time per step, the encoder cache made before.
    float32_speed_ratio, float32_peak_ratio: tokens per second, and peak memory; those of float32 weights are 1.
    added_memory_share: what a search takes beyond model, document and compiled program, more than the other row's, over
        the bytes of the encoder cache. Each is the growth of a process's resident memory, the same to 10**5 bytes from
        process to process, save for a buffer more or less now and then. Whole peaks would say less: compilers leave
        some 10**7 bytes behind.
"""

import dataclasses
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.models import FAMILIES, SHRINK, config_fields
from benchmarks.task import COMPILED, OURS, PEERS, SIDES, THEIRS, Task

QUICK_LENGTH = 4096
PLOT_LENGTHS = (1024, 2048, 8192)
# An eager reference has nothing to compile: where one run takes minutes, a short one starts its threads as well.
_SHORT_WARMUP = 1024
_SHARED_WITH_TASK = (
    "family", "job", "length", "size", "half_window", "gradient_checkpointing", "beams", "without_xla",
    "measures_memory", "dtype",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Target:
    """What a figure must reach: `at_least` or, where that is false, at most `limit`."""

    figure: str
    limit: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Whether the value reaches the target.

        >>> Target("time_ratio", 2.0, at_least=True).met(1.9), Target("memory_ratio", 0.8).met(0.8)
        (False, True)
        """
        return value >= self.limit if self.at_least else value <= self.limit


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of the benchmark.

    name: shown and chosen by `--only`. base_length: tokens at the size "base". compared_to: another row's name, for
    the figures that compare. most_rounds: turns at most, however many are asked for. sides: "ours", "theirs" and
    "compiled", which is theirs under torch.compile.
    """

    name: str
    family: str
    job: str
    length: int
    base_length: int
    size: str = "base"
    sides: tuple[str, ...] = SIDES
    half_window: bool = False
    gradient_checkpointing: bool = False
    beams: int = 1
    without_xla: bool = False
    measures_memory: bool = False
    dtype: str = "float32"
    compared_to: str | None = None
    targets: tuple[Target, ...] = ()
    most_rounds: int | None = None

    @property
    def is_quick(self) -> bool:
        """Whether the row belongs to the short benchmark."""
        return self.base_length == QUICK_LENGTH and self.job != "decode"

    @property
    def is_plotted(self) -> bool:
        """Whether the row is a point of the plots over length."""
        return self.job == "encode" and not self.half_window

    def task(self, side: str, backend: str, quick: bool) -> Task:
        """What one worker runs for this row."""
        is_long = self.base_length > QUICK_LENGTH or (quick and self.job == "train")
        shared = {field: getattr(self, field) for field in _SHARED_WITH_TASK}
        return Task(
            side=THEIRS if side in PEERS else side,
            torch_compile=side == COMPILED,
            backend=backend if side == OURS else "tensorflow",
            repeats=1 if is_long else 2,
            warmup_length=min(_SHORT_WARMUP, self.length) if side == THEIRS and is_long else None,
            **shared,
        )


def _sided(time: float, memory: float, share: float | None = None) -> tuple[Target, ...]:
    targets = [Target("time_ratio", time, at_least=True), Target("memory_ratio", memory)]
    if share is not None:
        targets.append(Target("ceiling_share", share, at_least=True))
    return tuple(targets)


_SHARES = {4096: 0.75, 16384: 0.65}
_ENCODE = {
    ("led", 4096): (3.5, 0.8),
    ("led", 16384): (2.5, 0.5),
    ("longt5-tglobal", 4096): (2.0, 0.8),
    ("longt5-tglobal", 16384): (3.0, 0.35),
    ("longt5-local", 4096): (2.0, 0.9),
}
_TRAIN = {"led": (3.0, 0.6), "longt5-tglobal": (3.0, 0.4)}
_ALL_SIDES = (OURS, *PEERS)
_CHECKPOINTED_PEAK_GB = {"led": 12.0, "longt5-tglobal": 14.0}
_COMPILE_SECONDS = Target("compile_seconds", 120.0)
_BANDWIDTH = Target("bandwidth_share", 0.6, at_least=True)
_ADDED_MEMORY = Target("added_memory_share", 0.15)
_WITHOUT_XLA = Target("xla_speed_share", 0.65, at_least=True)
_BEAMS_PER_STEP = Target("step_time_ratio", 2.5)
# The peak is that of a process which makes the weights, in float32 where the initializers draw them.
_SIXTEEN_BITS = (Target("float32_speed_ratio", 0.5, at_least=True), Target("float32_peak_ratio", 1.0))
_LINEAR = Target("token_time_ratio", 1.2)
_FASTER = Target("token_time_ratio", 1.0)


def all_rows(size: str = "base") -> list[Row]:
    """Every row, in the order in which they run; at the size "tiny" with short documents.

    >>> [row.name for row in all_rows() if row.job == "train"][0]
    'led train 4096'
    """
    maker = _RowMaker(size)
    rows = [
        maker.row(family, "encode", length, targets=_sided(*limits, _SHARES[length]), sides=_ALL_SIDES)
        for (family, length), limits in _ENCODE.items()
    ]
    rows += [
        maker.row(family, "train", QUICK_LENGTH, targets=(*_sided(*limits), _COMPILE_SECONDS), sides=_ALL_SIDES)
        for family, limits in _TRAIN.items()
    ]
    for family in ("led", "longt5-local"):
        compared_to = maker.name(family, "encode", QUICK_LENGTH)
        ours = {"sides": (OURS,), "compared_to": compared_to}
        rows.append(maker.row(family, "encode", QUICK_LENGTH, half_window=True, targets=(_FASTER,), **ours))
        rows.append(maker.row(family, "encode", 65536, targets=(_LINEAR,), most_rounds=1, **ours))
    for family, peak in _CHECKPOINTED_PEAK_GB.items():
        checkpointed = {"gradient_checkpointing": True, "sides": (OURS,), "most_rounds": 1}
        rows.append(maker.row(family, "train", 16384, targets=(Target("ours_peak_gb", peak),), **checkpointed))
    for family in ("led", "longt5-tglobal"):
        rows += _decode_rows(maker, family)
    rows += [maker.row(family, "encode", length, most_rounds=1) for family in FAMILIES for length in PLOT_LENGTHS]
    return rows


def _decode_rows(maker: "_RowMaker", family: str) -> list[Row]:
    """Decoding alone: each search beside theirs and without XLA, its memory, then ours for a long document."""

    def row(base_length: int, beams: int, *targets: Target, **fields: object) -> Row:
        return maker.row(family, "decode", base_length, beams=beams, targets=targets, **fields)

    def without_xla(other: Row) -> Row:
        return row(QUICK_LENGTH, other.beams, _WITHOUT_XLA, without_xla=True, sides=(OURS,), compared_to=other.name)

    measured = {"measures_memory": True, "sides": (OURS,), "most_rounds": 1}
    greedy = row(QUICK_LENGTH, 1, Target("time_ratio", 2.0, at_least=True), _BANDWIDTH)
    beams = row(QUICK_LENGTH, 4, Target("time_ratio", 6.0, at_least=True))
    memory = row(QUICK_LENGTH, 1, **measured)
    beams_memory = row(QUICK_LENGTH, 4, _ADDED_MEMORY, compared_to=memory.name, **measured)
    long = row(16384, 1, sides=(OURS,))
    long_beams = row(16384, 4, _BEAMS_PER_STEP, sides=(OURS,), compared_to=long.name)
    ours = {"sides": (OURS,), "compared_to": greedy.name}
    sixteen_bits = row(QUICK_LENGTH, 1, *_SIXTEEN_BITS, dtype="bfloat16", **ours)
    return [
        greedy,
        sixteen_bits,
        without_xla(greedy),
        beams,
        without_xla(beams),
        memory,
        beams_memory,
        long,
        long_beams,
    ]


class _RowMaker:
    """Rows of one size, with names that say what is not usual about them."""

    def __init__(self, size: str) -> None:
        self.size = size

    def length(self, base_length: int) -> int:
        return base_length if self.size == "base" else base_length // SHRINK

    def name(self, family: str, job: str, base_length: int, **changes: object) -> str:
        length = self.length(base_length)
        parts = [family, job, str(length)]
        if changes.get("half_window"):
            fields, field = config_fields(family, self.size, length, half_window=True), FAMILIES[family].window_field
            parts.append(f"{field} {fields[field]}")
        if changes.get("gradient_checkpointing"):
            parts.append("checkpointed")
        if job == "decode":
            parts.append(f"beams {changes.get('beams', 1)}")
        if changes.get("without_xla"):
            parts.append("without XLA")
        if changes.get("measures_memory"):
            parts.append("memory")
        if changes.get("dtype"):
            parts.append(f"{changes['dtype']} weights")
        return " ".join(parts)

    def row(self, family: str, job: str, base_length: int, **fields: object) -> Row:
        name = self.name(family, job, base_length, **fields)
        return Row(name, family, job, self.length(base_length), base_length, self.size, **fields)  # type: ignore[arg-type]


def chosen_rows(rows: Sequence[Row], only: Sequence[str], quick: bool) -> list[Row]:
    """The rows whose names hold one of the texts of `only` (all where it is empty); under `quick` the quick ones.

    Raises:
        ValueError: a text that no row's name holds.

    >>> [row.name for row in chosen_rows(all_rows(), ["led train"], quick=True)]
    ['led train 4096']
    """
    return chosen_by_name([row for row in rows if row.is_quick or not quick], only)


def chosen_by_name(
    candidates: Sequence[Any], only: Sequence[str], name_of: Callable[[Any], str] = operator.attrgetter("name")
) -> list[Any]:
    """The candidates whose names hold one of the texts of `only`, all where it is empty.

    Raises:
        ValueError: a text that no name holds.

    >>> chosen_by_name(["led train", "led encode"], ["train"], str)
    ['led train']
    """
    for text in only:
        if not any(text in name_of(each) for each in candidates):
            names = ", ".join(map(name_of, candidates))
            raise ValueError(f"--only must be part of a row's name: {names}. Received: --only {text}")
    return [each for each in candidates if not only or any(text in name_of(each) for text in only)]


def verdicts(row: Row, figures: Mapping[str, float]) -> dict[str, bool | None]:
    """For each target of the row whether it is met, or None where its figure was not measured."""
    return {
        target.figure: target.met(figures[target.figure]) if target.figure in figures else None
        for target in row.targets
    }
