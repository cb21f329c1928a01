"""Costs of a compiled program: loops count as often as they run, and bytes where they are in main memory."""

import math

import jax
import numpy as np
import pytest

from accelerators.costs import product_operations, program_costs
from accelerators.hlo import parse

LOOP = """HloModule test

%fused (p: f32[8,4], i: s32[]) -> f32[1,4] {
  %p = f32[8,4]{1,0} parameter(0)
  %i = s32[] parameter(1)
  %zero = s32[] constant(0)
  ROOT %s = f32[1,4]{1,0} dynamic-slice(%p, %i, %zero), dynamic_slice_sizes={1,4}
}

%body (a: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %a = (s32[], f32[8,4]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%a), index=0
  %x = f32[8,4]{1,0} get-tuple-element(%a), index=1
  %row.1 = f32[1,4]{1,0:T(2,128)S(1)} fusion(%x, %i), kind=kLoop, calls=%fused, backend_config={"estimated_cycles":"10"}
  %sum = f32[1,4]{1,0} all-reduce(%row.1), to_apply=%add
  ROOT %t = (s32[], f32[8,4]{1,0}) tuple(%i, %x)
}

%condition (a: (s32[], f32[8,4])) -> pred[] {
  %a = (s32[], f32[8,4]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%a), index=0
  %limit = s32[] constant(8)
  ROOT %c = pred[] compare(%i, %limit), direction=LT
}

ENTRY %main (x: f32[8,4]) -> f32[8,4] {
  %x = f32[8,4]{1,0} parameter(0)
  %n = s32[] constant(0)
  %t = (s32[], f32[8,4]{1,0}) tuple(%n, %x)
  %w = (s32[], f32[8,4]{1,0}) while(%t), condition=%condition, body=%bodyNOTE
  %copy = f32[8,4]{1,0} copy(%x), backend_config={"estimated_cycles":"5"}
  ROOT %y = f32[8,4]{1,0} get-tuple-element(%w), index=1
}
"""
NOTE = ', backend_config={"known_trip_count":{"n":"3"}}'


@pytest.mark.parametrize(("note", "trips"), [("", 8), (NOTE, 3)])
def test_a_loop_counts_as_often_as_it_runs(note, trips):
    costs = program_costs(parse(LOOP.replace("NOTE", note)))
    assert costs.cycles == 10 * trips + 5
    # In the loop: the slice and the index that are read, the sum that is written; what is in fast memory is left out.
    assert costs.hbm_bytes == (16 + 4 + 16) * trips + 2 * 8 * 4 * 4
    assert costs.collective_bytes == {"all-reduce": 16 * trips}
    assert costs.heaviest == {"row": 10 * trips, "copy": 5}


def test_an_operation_without_an_estimate_leaves_the_program_without_one():
    costs = program_costs(parse(LOOP.replace("NOTE", "").replace('"10"', f'"{2**63 - 1}"')))
    assert math.isinf(costs.cycles)
    assert costs.heaviest == {"copy": 5}


def test_a_loop_that_ends_by_a_value_counts_as_often_as_is_said():
    open_loop = LOOP.replace("NOTE", "").replace("ROOT %c = pred[] compare", "ROOT %c = pred[] and")
    assert program_costs(parse(open_loop)).cycles == 15
    assert program_costs(parse(open_loop), open_loops=7).cycles == 75


def test_a_conditional_costs_as_much_as_its_dearest_branch():
    branches = "".join(
        f"%b{n} (x: f32[4]) -> f32[4] {{\n  %x = f32[4]{{0}} parameter(0)\n"
        f'  ROOT %y = f32[4]{{0}} negate(%x), backend_config={{"estimated_cycles":"{n}"}}\n}}\n\n'
        for n in (3, 9)
    )
    entry = (
        "ENTRY %main (x: f32[4], i: s32[]) -> f32[4] {\n  %x = f32[4]{0} parameter(0)\n  %i = s32[] parameter(1)\n"
        "  ROOT %c = f32[4]{0} conditional(%i, %x, %x), branch_computations={%b3, %b9}\n}\n"
    )
    assert program_costs(parse(branches + entry)).cycles == 9


def test_a_fusion_within_a_fusion_reads_slices_as_well():
    def fusion(name, called):
        return (
            f"%{name} (p: f32[8,4], i: s32[]) -> f32[1,4] {{\n  %p = f32[8,4]{{1,0}} parameter(0)\n"
            "  %i = s32[] parameter(1)\n"
            f"  ROOT %s = f32[1,4]{{1,0}} fusion(%p, %i), kind=kLoop, calls=%{called}\n}}\n\n"
        )

    inner = LOOP[LOOP.index("%fused") : LOOP.index("%body")]
    entry = fusion("main", "outer").replace("%main", "ENTRY %main")
    assert program_costs(parse(inner + fusion("outer", "fused") + entry)).hbm_bytes == 16 + 4 + 16


def test_text_that_is_no_program_is_refused():
    with pytest.raises(ValueError, match="text must be an HLO program with an ENTRY. Received: 'nothing'"):
        parse("nothing")


def test_the_programs_that_jax_compiles_are_read():
    def function(x):
        return jax.lax.scan(lambda carry, part: (carry @ x + part, part.sum()), x, np.ones((5, 4, 4), "float32"))

    x = np.ones((4, 4), "float32")
    program = parse(jax.jit(function).lower(x).compile().as_text())
    assert {"while", "parameter"} <= {each.opcode for each in program.instructions()}
    assert program.dtypes() >= {"f32", "s32"}
    assert program_costs(program).hbm_bytes >= 5 * 3 * x.nbytes
    assert product_operations(jax.make_jaxpr(function)(x).jaxpr) == 5 * 2 * 4**3


def test_products_of_every_chip_count():
    mesh = jax.sharding.AbstractMesh((4,), ("length",))
    spec = jax.sharding.PartitionSpec("length")
    function = jax.shard_map(lambda x: x @ x.T, mesh=mesh, in_specs=spec, out_specs=spec)
    x = jax.ShapeDtypeStruct((8, 3), "float32")
    assert product_operations(jax.make_jaxpr(function)(x).jaxpr) == 4 * 2 * 2 * 2 * 3
