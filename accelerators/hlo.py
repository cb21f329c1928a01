"""Reading optimized HLO, the text of a compiled program.

A program is a set of computations, one of them the entry. An instruction of it reads

    %name = bf16[4,64]{1,0:T(8,128)(2,1)S(1)} fusion(%first, %second), kind=kLoop, calls=%fused_computation

with the shape of its result, its opcode, its operands, and attributes. `S(1)` is the memory that holds the result.
"""

import math
import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

HBM, HOST = 0, 5
"""Memory spaces of a layout, as TPU compilers number them: the device's main memory, and the host's."""
COLLECTIVES = (
    "all-gather",
    "all-reduce",
    "all-to-all",
    "collective-broadcast",
    "collective-permute",
    "ragged-all-to-all",
    "reduce-scatter",
)
_BITS = {"pred": 8, "token": 0, "opaque": 0}
_ARRAY = re.compile(r"\b(pred|token|opaque|bf16|c64|c128|f8\w+|f4\w+|[suf]\d+)\[([\d,<= ]*)\](\{[^}]*\})?")
_SPACE = re.compile(r"S\((\d+)\)")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{\s*$")
_OPCODE = re.compile(r"(?<![\w.\-%])([a-z][\w\-]*)\(")
_CALLED = re.compile(r"(calls|to_apply|body|condition|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_NAME = re.compile(r"%([\w.\-]+)")
_TARGET = re.compile(r'custom_call_target="([^"]*)"')
_COMMENT = re.compile(r"/\*.*?\*/")


@dataclass(frozen=True)
class Array:
    """An array of an instruction's result: its dtype, its number of bytes, and the memory space that holds it."""

    dtype: str
    size: float
    space: int


@dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    name, opcode: as written. arrays: of the result, several for a tuple. operands: names. operand_text: what stands
    between the parentheses. attributes: what follows them. is_root: whether it is the computation's result.
    """

    name: str
    opcode: str
    arrays: tuple[Array, ...]
    operands: tuple[str, ...]
    operand_text: str
    attributes: str
    is_root: bool

    @cached_property
    def called(self) -> dict[str, str]:
        """The computations that the instruction names, by their roles, such as "body"."""
        return dict(_CALLED.findall(self.attributes))

    @property
    def branches(self) -> list[str]:
        """The computations of a conditional."""
        several = _BRANCHES.search(self.attributes)
        if several:
            return _NAME.findall(several[1])
        return [name for role, name in self.called.items() if role in ("true_computation", "false_computation")]

    @property
    def custom_call_target(self) -> str | None:
        """The name of the foreign code that a custom call runs."""
        found = _TARGET.search(self.attributes)
        return found[1] if found else None

    @property
    def collective(self) -> str | None:
        """The kind of collective, once for a pair of start and done."""
        opcode = self.opcode.removesuffix("-start")
        return opcode if opcode in COLLECTIVES else None

    def bytes_in(self, *spaces: int) -> float:
        """The bytes of the result in these memory spaces; without any, in all."""
        return sum(array.size for array in self.arrays if not spaces or array.space in spaces)


Computation = dict[str, Instruction]


@dataclass(frozen=True)
class Program:
    """Computations by their names, and the name of the entry."""

    computations: dict[str, Computation]
    entry: str

    def instructions(self) -> list[Instruction]:
        """The instructions of all computations."""
        return [each for computation in self.computations.values() for each in computation.values()]

    def custom_calls(self) -> Counter[str]:
        """How many custom calls each target has, each counted once however often a loop runs it."""
        targets = [each.custom_call_target for each in self.instructions()]
        return Counter(target for target in targets if target is not None)

    def collectives(self) -> Counter[str]:
        """How many collectives of each kind there are, each counted once however often a loop runs it."""
        return Counter(each.collective for each in self.instructions() if each.collective is not None)

    def dtypes(self) -> set[str]:
        """The dtypes of all results."""
        return {array.dtype for each in self.instructions() for array in each.arrays}


def parse(text: str) -> Program:
    """The program that `Compiled.as_text()` gives as text.

    Raises:
        ValueError: text without an entry computation.

    >>> parse("ENTRY %main (x: f32[2]) -> f32[2] {\\n  ROOT %x = f32[2]{0} parameter(0)\\n}").dtypes()
    {'f32'}
    """
    computations: dict[str, Computation] = {}
    entry, current = None, None
    for line in text.splitlines():
        if current is None:
            head = _COMPUTATION.match(line)
            if head and not line.startswith("HloModule"):
                current = computations[head[2]] = {}
                entry = head[2] if head[1] else entry
        elif line.startswith("}"):
            current = None
        else:
            found = _INSTRUCTION.match(line)
            if found:
                current[found[2]] = _instruction(found[2], found[3], is_root=found[1] is not None)
    if entry is None:
        raise ValueError(f"text must be an HLO program with an ENTRY. Received: {text[:80]!r}")
    return Program(computations, entry)


def arrays_of(shape: str) -> tuple[Array, ...]:
    """The arrays of a shape.

    >>> [(array.dtype, array.size, array.space) for array in arrays_of("(f32[2,3]{1,0}, bf16[8]{0:T(256)S(1)})")]
    [('f32', 24.0, 0), ('bf16', 16.0, 1)]
    """
    found = []
    for dtype, dimensions, layout in _ARRAY.findall(shape):
        sizes = [int(size) for size in re.findall(r"\d+", dimensions)]
        space = _SPACE.search(layout)
        found.append(Array(dtype, math.prod(sizes) * _bits(dtype) / 8, int(space[1]) if space else HBM))
    return tuple(found)


def _bits(dtype: str) -> int:
    return _BITS[dtype] if dtype in _BITS else int(re.findall(r"\d+", dtype)[0])


def _instruction(name: str, rest: str, is_root: bool) -> Instruction:
    text = _COMMENT.sub("", rest)
    # The shape of a tuple and the tiles of a layout hold parentheses as well; no lower-case word stands before those.
    opcode = _OPCODE.search(text)
    if opcode is None:
        return Instruction(name, "", arrays_of(text), (), "", "", is_root)
    end = _closing(text, opcode.end())
    operands = text[opcode.end() : end]
    return Instruction(
        name,
        opcode[1],
        arrays_of(text[: opcode.start()]),
        tuple(_NAME.findall(operands)),
        operands,
        text[end + 1 :],
        is_root,
    )


def _closing(text: str, start: int) -> int:
    """The place of the parenthesis that closes the one before `start`."""
    depth = 1
    for place in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0:
            return place
    return len(text)
