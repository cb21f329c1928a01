"""`python -m accelerators check`: compile all sorts of programs for TPUs, and hold what came out against the rules."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from accelerators.jobs import Job
from accelerators.rules import (
    ALLOWED_COLLECTIVES,
    collective_faults,
    custom_call_faults,
    float64_faults,
    gather_faults,
    host_faults,
    memory_faults,
)

TARGET = "v5e"
_CHIPS = 4
_MANY_CHIPS = 16
# The most memory of a chip in MB, of intermediate values and in all, about twice what was found. What the first leaves
# out, as it lies in the chip's fast memory, the second counts. A tiny LED's positions are those of 16,384 tokens.
_TINY_LIMITS: dict[str, dict[str, tuple[float, float]]] = {
    "led": {"train": (2, 50), "greedy": (5, 12), "beams": (6, 12), "encode": (3, 12)},
    "longt5-tglobal": {"train": (2, 5), "greedy": (4, 1.5), "beams": (5, 1.5), "encode": (2, 1)},
    "longt5-local": {"train": (2, 5), "greedy": (4, 1.5), "beams": (5, 1.5), "encode": (2, 1)},
}
# Neighbours exchange keys and values; every chip gets the summaries of all.
_DIVIDED: dict[str, tuple[tuple[float, float], frozenset[str]]] = {
    "led": ((3, 12), frozenset({"collective-permute"})),
    "longt5-tglobal": ((2, 1), frozenset({"collective-permute", "all-gather"})),
    "longt5-local": ((2, 1), frozenset({"collective-permute"})),
}
# With each weight divided, too. A bias of relative positions is whole, and each chip has the gradient of its heads'
# columns: they are gathered, 32 rows of them.
_PARALLEL: dict[str, tuple[tuple[float, float], frozenset[str]]] = {
    "led": ((30, 40), frozenset()),
    "longt5-tglobal": ((2, 5), frozenset({"all-gather"})),
    "longt5-local": ((2, 5), frozenset({"all-gather"})),
}
# A few rows: a gathered kernel or table has more, even in a tiny model.
_GATHERED_BYTES = 8192
# So many documents that a step of attention takes a few heads at a time: the batch stays divided over the chips.
_MANY_DOCUMENTS = 64
_MANY_LIMITS: dict[str, tuple[float, float]] = {"led": (2, 35), "longt5-tglobal": (2, 80)}
# All scores of a layer at once would be 600 MB for the window of LED, in 16 bits.
_LAYER_LENGTH = 16384
_LAYER_LIMITS: dict[str, dict[str, tuple[float, float]]] = {
    "led": {"attention": (25, 400), "attention gradient": (110, 600)},
    "longt5-tglobal": {"attention": (25, 500)},
}


class Case(NamedTuple):
    """A job, the most MB of a chip that it may take: for intermediate values, and in all; allowed collectives, and the
    most bytes that one all-gather may give to a chip."""

    job: Job
    temp_mb: float
    peak_mb: float
    collectives: frozenset[str] = ALLOWED_COLLECTIVES
    gathered_bytes: float = 0


class Result(NamedTuple):
    """A case, the figures of its program (None: it does not compile), and its faults."""

    case: Case
    figures: Any
    faults: list[str]


def cases() -> list[Case]:
    """All that is compiled: all sorts of programs of tiny models on four chips, training on 16, real layers on one."""
    tiny = [
        Case(Job(family, what, 64, batch=_CHIPS, size="tiny", target=8, chips=_CHIPS), *limits)
        for family, whats in _TINY_LIMITS.items()
        for what, limits in whats.items()
    ]
    layers = [
        Case(Job(family, what, _LAYER_LENGTH), *limits)
        for family, whats in _LAYER_LIMITS.items()
        for what, limits in whats.items()
    ]
    many = [
        Case(Job(family, "train", 64, batch=_MANY_CHIPS, size="tiny", target=8, chips=_MANY_CHIPS), *limits["train"])
        for family, limits in _TINY_LIMITS.items()
    ]
    batches = [
        Case(Job(family, "encode", 256, batch=_MANY_DOCUMENTS, size="tiny", target=8, chips=_CHIPS), *limits)
        for family, limits in _MANY_LIMITS.items()
    ]
    divided = [
        (Job(family, "encode divided", 128, size="tiny", chips=_CHIPS), *allowed)
        for family, allowed in _DIVIDED.items()
    ]
    parallel = [
        (Job(family, "train parallel", 64, batch=chips, size="tiny", target=8, chips=chips), *allowed)
        for family, allowed in _PARALLEL.items()
        for chips in (_CHIPS, _MANY_CHIPS)
    ]
    gathering = [
        Case(job, *limits, ALLOWED_COLLECTIVES | further, _GATHERED_BYTES)
        for job, limits, further in divided + parallel
    ]
    return tiny + many + batches + gathering + layers


def check(case: Case) -> Result:
    """Compile one case, and list its faults."""
    from accelerators.compiling import compile_job

    try:
        compiled = compile_job(case.job, TARGET)
    except Exception as error:  # whatever a compiler raises is the fault that is looked for
        return Result(case, None, [f"it does not compile: {first_line(error)}"])
    faults = [
        *host_faults(compiled.program, compiled.host_bytes),
        *custom_call_faults(compiled.program),
        *float64_faults(compiled.program),
        *collective_faults(compiled.program, case.collectives),
        *gather_faults(compiled.program, case.gathered_bytes),
        *memory_faults("intermediate values", compiled.figures.temp_mb, case.temp_mb),
        *memory_faults("peak memory", compiled.figures.peak_mb, case.peak_mb),
    ]
    return Result(case, compiled.figures, faults)


def first_line(error: BaseException) -> str:
    """The kind and the first line of an error.

    >>> first_line(ValueError("no\\nsuch"))
    'ValueError: no'
    """
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200] if lines else ''}"


def run(
    chosen: Sequence[Case], show: Callable[[str], None] = print, check_one: Callable[[Case], Result] = check
) -> int:
    """Check the cases, print a table, and each fault as one line on stderr. Returns 1 if there is any, else 0."""
    show("| program | compile s | arguments MB | temp MB | peak MB | collectives |")
    show("| --- | --- | --- | --- | --- | --- |")
    results = []
    for case in chosen:
        result = check_one(case)
        results.append(result)
        show(row(result))
    faults = [f"{result.case.job.name}: {fault}" for result in results for fault in result.faults]
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    show(f"\n{len(results)} programs compiled for {TARGET}, {len(faults)} faults")
    return 1 if faults else 0


def row(result: Result) -> str:
    """One line of the table."""
    job, figures = result.case.job, result.figures
    name = f"{job.name}, {job.chips} chips" if job.chips > 1 else job.name
    if figures is None:
        return f"| {name} | failed | | | | |"
    collectives = ", ".join(f"{count} {kind}" for kind, count in sorted(figures.collectives.items()))
    memory = " | ".join(f"{value:.1f}" for value in (figures.arguments_mb, figures.temp_mb, figures.peak_mb))
    return f"| {name} | {figures.compile_s:.1f} | {memory} | {collectives} |"
