"""One job compiled for one target, and the figures of it."""

import math
import time
from dataclasses import asdict, dataclass
from typing import Any

import keras

from accelerators.costs import product_operations, program_costs
from accelerators.hlo import Program, parse
from accelerators.jobs import Job
from accelerators.programs import Placement, make_function
from accelerators.targets import TARGETS
from tfmodels.backend.devices import compiling_for

_MB = 1e6


@dataclass(frozen=True)
class Figures:
    """What a compiler says of a program, of one chip.

    arguments_mb, temp_mb, peak_mb: memory. teraflop: of all matrix products of the traced program, of all chips.
    hbm_gb: read from and written to the main memory in one run. cycles_ms: the TPU compiler's estimate of the time of
    one run; 0 from a GPU's, which makes none, and of a program with an operation that has none. collectives: how many
    of each kind. collective_mb: their results in one run. custom_calls: how many of each target. heaviest_ms: the
    estimate by names of instructions.
    """

    compile_s: float
    compile_cpu_s: float
    arguments_mb: float
    temp_mb: float
    peak_mb: float
    teraflop: float
    hbm_gb: float
    cycles_ms: float
    collectives: dict[str, int]
    collective_mb: float
    custom_calls: dict[str, int]
    heaviest_ms: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Compiled:
    """A compiled program: its text, parsed, its memory on the host, and its figures."""

    text: str
    program: Program
    host_bytes: int
    figures: Figures


def compile_job(job: Job, target_name: str) -> Compiled:
    """Compile a job for a target. Whatever the compiler refuses is its error."""
    target = TARGETS[target_name]
    placement = Placement.over(target.devices(job.chips))
    with compiling_for(target.kind):
        traced = make_function(job, placement).trace()
        lowered = traced.lower(lowering_platforms=(target.platform,))
    started, cpu = time.perf_counter(), time.process_time()
    compiled = lowered.compile()
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    text, memory = compiled.as_text(), compiled.memory_analysis()
    program = parse(text)
    costs = program_costs(program, open_loops=job.target)
    figures = Figures(
        compile_s=round(seconds, 1),
        compile_cpu_s=round(cpu_seconds, 1),
        arguments_mb=round(memory.argument_size_in_bytes / _MB, 2),
        temp_mb=round(memory.temp_size_in_bytes / _MB, 2),
        peak_mb=round(memory.peak_memory_in_bytes / _MB, 2),
        teraflop=round(product_operations(traced.jaxpr.jaxpr) / 1e12, 6),
        hbm_gb=round(costs.hbm_bytes / 1e9, 4),
        cycles_ms=round(costs.cycles / target.gigahertz / 1e6, 4) if math.isfinite(costs.cycles) else 0.0,
        collectives=dict(program.collectives()),
        collective_mb=round(sum(costs.collective_bytes.values()) / _MB, 3),
        custom_calls=dict(program.custom_calls()),
        heaviest_ms={name: round(cycles / target.gigahertz / 1e6, 4) for name, cycles in costs.heaviest.most_common(8)},
    )
    host = memory.host_temp_size_in_bytes + memory.host_argument_size_in_bytes + memory.host_output_size_in_bytes
    keras.backend.clear_session()
    return Compiled(text, program, host, figures)
