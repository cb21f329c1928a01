"""What one run of a compiled program costs, loops counted as often as they run.

XLA's own `cost_analysis` counts the body of a loop once.
"""

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from accelerators.hlo import HBM, Computation, Instruction, Program

_TRIPS = re.compile(r"known_trip_count[^0-9]*(\d+)")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
# What the compiler writes where it has no estimate of an operation.
_UNRATED = 2**63 - 1
_CLONE = re.compile(r"([.\d]+|\.clone|\.remat)+$")
# They move nothing, or what they move is counted where it starts, or inside what they call.
_FREE = {
    "parameter", "constant", "iota", "tuple", "get-tuple-element", "bitcast", "opt-barrier", "after-all",
    "partition-id", "replica-id", "async-update",
}  # fmt: skip
_VIEWS = ("bitcast", "reshape")
_SLICES = ("dynamic-slice", "slice", "gather")


@dataclass(frozen=True)
class Costs:
    """cycles: the TPU compiler's estimate; 0 from other compilers, infinite where an operation has none. hbm_bytes:
    what the main memory reads and writes. collective_bytes: results of each kind of collective. heaviest: cycles
    by the names of instructions.
    """

    cycles: float = 0
    hbm_bytes: float = 0
    collective_bytes: Counter[str] = field(default_factory=Counter)
    heaviest: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: "Costs") -> "Costs":
        return Costs(
            self.cycles + other.cycles,
            self.hbm_bytes + other.hbm_bytes,
            self.collective_bytes + other.collective_bytes,
            self.heaviest + other.heaviest,
        )

    def times(self, count: int) -> "Costs":
        """The costs of so many runs."""
        return Costs(
            self.cycles * count,
            self.hbm_bytes * count,
            Counter({name: size * count for name, size in self.collective_bytes.items()}),
            Counter({name: cycles * count for name, cycles in self.heaviest.items()}),
        )


def program_costs(program: Program, open_loops: int = 1) -> Costs:
    """The costs of one run: of the entry, and of all that it calls as often as it calls it.

    A loop that ends by a condition on its values, as a search does, counts `open_loops` times. A conditional costs as
    much as the dearest of its branches. Bytes are those of operands and results in the device's main memory. A fusion
    that reads only slices of an operand reads those.
    """

    @cache
    def of(name: str) -> Costs:
        computation = program.computations.get(name, {})
        return sum((instruction_costs(each, computation) for each in computation.values()), Costs())

    def instruction_costs(each: Instruction, computation: Computation) -> Costs:
        if each.opcode == "while":
            trips = _trip_count(each, program)
            return of(each.called["body"]).times(open_loops if trips is None else trips)
        if each.opcode == "conditional":
            return max((of(name) for name in each.branches), key=lambda x: (x.cycles, x.hbm_bytes), default=Costs())
        if each.opcode == "call":
            return of(each.called["to_apply"])
        found = _CYCLES.search(each.attributes)
        cycles = float(found[1]) if found else 0.0
        if cycles >= _UNRATED:
            cycles = math.inf
        collectives = Counter({each.collective: each.bytes_in()} if each.collective else {})
        heaviest = Counter({_CLONE.sub("", each.name): int(cycles)} if 0 < cycles < math.inf else {})
        return Costs(cycles, _hbm_bytes(each, computation, program), collectives, heaviest)

    return of(program.entry)


def product_operations(jaxpr: Any) -> float:
    """The floating-point operations of all matrix products in a traced program: two for each multiply-add.

    Loops of a known length count as often as they run, others once; of branches the dearest. What each chip does by
    itself counts for all of them.

    >>> import jax, numpy as np
    >>> product_operations(jax.make_jaxpr(lambda x: x @ x)(np.ones((2, 2))).jaxpr)
    16
    """
    total: float = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            total += 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[axis] for axis in contracted)
        parts = [product_operations(part) for part in _inner(equation)]
        if equation.primitive.name == "cond":
            total += max(parts, default=0)
        else:
            total += sum(parts) * _times(equation)
    return total


def _times(equation: Any) -> int:
    """How often, on all chips together, the programs inside an equation run."""
    if equation.primitive.name == "shard_map":
        return equation.params["mesh"].size
    return equation.params["length"] if equation.primitive.name == "scan" else 1


def _inner(equation: Any) -> list[Any]:
    """The traced programs inside an equation."""
    values = [x for value in equation.params.values() for x in (value if isinstance(value, (tuple, list)) else [value])]
    closed = [getattr(value, "jaxpr", value) for value in values]
    return [value for value in closed if hasattr(value, "eqns")]


def _trip_count(loop: Instruction, program: Program) -> int | None:
    """How often a loop runs: as the compiler notes it, or the one number that its condition compares with."""
    noted = _TRIPS.search(loop.attributes)
    if noted:
        return int(noted[1])
    condition = program.computations.get(loop.called["condition"], {}).values()
    numbers = [each.operand_text for each in condition if each.opcode == "constant" and each.operand_text.isdigit()]
    is_compound = any(each.opcode in ("and", "or", "not") for each in condition)
    return int(numbers[0]) if len(numbers) == 1 and not is_compound else None


def _hbm_bytes(each: Instruction, computation: Computation, program: Program) -> float:
    if each.opcode in _FREE or each.opcode.endswith("-done"):
        return 0
    if each.opcode.endswith("-start"):
        return _moved_bytes(each)
    fused = program.computations.get(each.called.get("calls", ""), {}) if each.opcode == "fusion" else {}
    operands = [computation.get(name) for name in each.operands]
    reads = [
        min(operand.bytes_in(HBM), _read_bytes(each, fused, place, program)) if operand is not None else 0
        for place, operand in enumerate(operands)
    ]
    return sum(reads) + min(each.bytes_in(HBM), _written_bytes(each, computation, fused))


def _moved_bytes(start: Instruction) -> float:
    """The bytes of a copy that runs beside other work: (sources, results, context), counted where each is in HBM."""
    arrays = [array for array in start.arrays if array.size and array.dtype != "u32"]
    if not arrays:
        return 0
    size = min(array.size for array in arrays)
    return size * sum(array.space == HBM for array in (arrays[0], arrays[-1]))


def _read_bytes(each: Instruction, fused: Computation, place: int, program: Program) -> float:
    """At most so many bytes are read of an operand; a fusion may hold further ones, which read slices."""
    if each.opcode in _SLICES and place == 0:
        return each.bytes_in()
    if each.opcode == "dynamic-update-slice" and place == 0:
        return 0
    parameters = [x.name for x in fused.values() if x.opcode == "parameter" and x.operand_text.strip() == str(place)]
    if not parameters:
        return math.inf
    names, total = set(parameters), 0.0
    for user in fused.values():  # in the order of execution
        if not names & set(user.operands):
            continue
        if user.opcode in _VIEWS:
            names.add(user.name)
        elif user.opcode in _SLICES and user.operands[0] in names:
            total += user.bytes_in()
        elif user.opcode == "fusion":
            inner = program.computations.get(user.called.get("calls", ""), {})
            places = [place for place, name in enumerate(user.operands) if name in names]
            total += sum(_read_bytes(user, inner, place, program) for place in places)
        elif user.opcode != "dynamic-update-slice" or user.operands[0] not in names:
            return math.inf
    return total


def _written_bytes(each: Instruction, computation: Computation, fused: Computation) -> float:
    """At most so many bytes are written: an update in place writes what is new."""
    root, block = each, computation
    if fused:
        root, block = next((x for x in fused.values() if x.is_root), each), fused
    if root.opcode != "dynamic-update-slice":
        return math.inf
    update = block.get(root.operands[1])
    return update.bytes_in() if update is not None else math.inf
