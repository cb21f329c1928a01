"""What a compiled program must not hold. Each rule gives a list of faults, one line each; none if all is well."""

import math
from collections.abc import Collection

from accelerators.hlo import HOST, Program

# What the TPU's compiler itself puts into programs: a buffer without values, a promise that indices are in bounds,
# several arrays seen as one, and indices stored in fewer bits.
ALLOWED_CUSTOM_CALLS = frozenset(
    {"AllocateBuffer", "AssumeGatherIndicesInBound", "ConcatBitcast", "GatherScatterIndicesBitpacked"}
)
# The gradients' sum; and in a search the question whether any chip still has work.
ALLOWED_COLLECTIVES = frozenset({"all-reduce"})
_HOST_OPCODES = ("infeed", "outfeed", "send", "recv")
_HOST_WORDS = ("callback", "host", "python")
_WIDE = ("f64", "c128")


def host_faults(program: Program, host_bytes: int = 0) -> list[str]:
    """Work or data that leaves the device: transfers, calls back into Python, arrays in the host's memory.

    Args:
        program: compiled.
        host_bytes: the host's memory that the program uses, as the compiler says.
    """
    faults = []
    for each in program.instructions():
        target = each.custom_call_target or ""
        if each.opcode.removesuffix("-done") in _HOST_OPCODES or "is_host_transfer=true" in each.attributes:
            faults.append(f"a transfer to or from the host: {each.opcode} {each.name}")
        elif any(word in target.lower() for word in _HOST_WORDS):
            faults.append(f"a call to the host: {target} {each.name}")
        elif any(array.space == HOST for array in each.arrays):
            faults.append(f"an array in the host's memory: {each.opcode} {each.name}")
    if host_bytes:
        faults.append(f"{host_bytes} bytes of the host's memory")
    return faults


def custom_call_faults(program: Program, allowed: Collection[str] = ALLOWED_CUSTOM_CALLS) -> list[str]:
    """Custom calls that are not in the list: code that the compiler did not make, or a version of it that is new."""
    return [f"an unknown custom call: {target}" for target in program.custom_calls() if target not in allowed]


def float64_faults(program: Program) -> list[str]:
    """Numbers of 64 bits, which accelerators emulate or refuse."""
    return [f"64-bit floats: {dtype}" for dtype in _WIDE if dtype in program.dtypes()]


def collective_faults(program: Program, allowed: Collection[str] = ALLOWED_COLLECTIVES) -> list[str]:
    """Collectives that are not expected: an all-gather brings a whole batch, or all the weights, to every chip."""
    return [
        f"{count} unexpected {name}" for name, count in sorted(program.collectives().items()) if name not in allowed
    ]


def gather_faults(program: Program, most_bytes: float) -> list[str]:
    """All-gathers of more than a few rows: of a batch, of a document, or of weights."""
    gathers = [each for each in program.instructions() if each.collective == "all-gather"]
    return [
        f"an all-gather of {each.bytes_in():,.0f} bytes, where at most {most_bytes:,.0f} are allowed: {each.name}"
        for each in gathers
        if each.bytes_in() > most_bytes
    ]


def memory_faults(what: str, found_mb: float, limit_mb: float) -> list[str]:
    """More memory than the limit; not a number is too much."""
    is_within = not math.isnan(found_mb) and found_mb <= limit_mb
    return [] if is_within else [f"{found_mb:g} MB of {what}, where at most {limit_mb:g} are allowed"]
