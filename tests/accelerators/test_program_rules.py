"""`make tpu-check` refuses what must not be in a program: each rule on texts of programs, and on compiled ones."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from accelerators import check, rules
from accelerators.__main__ import main
from accelerators.hlo import parse
from accelerators.jobs import Job

PLAIN = "  %{name} = {shape} {opcode}(%x){rest}\n"


def program(shape="f32[4]{0}", opcode="add", rest=""):
    """A program of one instruction."""
    line = PLAIN.format(name="y", shape=shape, opcode=opcode, rest=rest)
    return parse(f"HloModule test\n\nENTRY %main (x: f32[4]) -> f32[4] {{\n  %x = f32[4]{{0}} parameter(0)\n{line}}}\n")


def faults(found):
    """The faults of a program by all rules but the memory's."""
    return [
        *rules.host_faults(found),
        *rules.custom_call_faults(found),
        *rules.float64_faults(found),
        *rules.collective_faults(found),
    ]


def compiled(function, *arguments):
    return parse(jax.jit(function).lower(*arguments).compile().as_text())


def test_a_plain_program_has_no_faults():
    assert not faults(program())
    assert not faults(program(rest=', custom_call_target="AllocateBuffer"', opcode="custom-call"))
    assert not faults(program(opcode="all-reduce", rest=", channel_id=1, replica_groups={{0,1}}, to_apply=%add"))
    assert not faults(compiled(lambda x: jnp.sin(x) @ x, np.ones((3, 3), "float32")))


@pytest.mark.parametrize(
    ("shape", "opcode", "rest", "fault"),
    [
        ("f32[4]{0}", "custom-call", ', custom_call_target="New"', "an unknown custom call: New"),
        ("f32[4]{0}", "custom-call", ', custom_call_target="xla_ffi_python_cpu_callback"', "a call to the host: xla"),
        ("f32[4]{0}", "custom-call", ', custom_call_target="MoveToHost"', "a call to the host: MoveToHost y"),
        ("(f32[4]{0}, u32[], token[])", "send", ", channel_id=1, is_host_transfer=true", "from the host: send y"),
        ("token[]", "send-done", ", channel_id=1, is_host_transfer=true", "from the host: send-done y"),
        ("(f32[4]{0}, token[])", "infeed", "", "from the host: infeed y"),
        ("token[]", "outfeed", "", "from the host: outfeed y"),
        ("f32[4]{0:T(128)S(5)}", "copy", "", "an array in the host's memory: copy y"),
        ("f64[4]{0}", "convert", "", "64-bit floats: f64"),
        ("(s32[], c128[2]{0})", "tuple", "", "64-bit floats: c128"),
        ("f32[8]{0}", "all-gather", ", channel_id=1, dimensions={0}", "1 unexpected all-gather"),
        ("(f32[4]{0}, f32[8]{0})", "all-gather-start", ", dimensions={0}", "1 unexpected all-gather"),
        ("f32[8]{0}", "all-to-all", ", channel_id=1, dimensions={0}", "1 unexpected all-to-all"),
    ],
)
def test_what_must_not_be_there_is_named(shape, opcode, rest, fault):
    assert any(fault in each for each in faults(program(shape, opcode, rest)))


def test_the_hosts_memory_is_a_fault():
    assert rules.host_faults(program(), 8) == ["8 bytes of the host's memory"]


def test_an_operation_that_falls_back_to_the_host_is_found_in_a_compiled_program():
    shape = jax.ShapeDtypeStruct((3,), "float32")
    found = compiled(lambda x: jax.pure_callback(np.sin, shape, x) + 1, np.ones(3, "float32"))
    assert any("a call to the host" in fault for fault in faults(found))


def test_64_bits_are_found_in_a_compiled_program():
    with jax.enable_x64(True):
        found = compiled(lambda x: x + 1, np.ones(3))
    assert rules.float64_faults(found) == ["64-bit floats: f64"]


@pytest.mark.parametrize(("found", "is_fault"), [(1.0, False), (2.0, False), (2.1, True), (float("nan"), True)])
def test_memory_above_its_limit_is_a_fault(found, is_fault):
    assert bool(rules.memory_faults("peak memory", found, 2.0)) == is_fault


@pytest.mark.parametrize(("most", "is_fault"), [(32, False), (31, True), (0, True)])
def test_a_gathered_array_above_its_limit_is_a_fault(most, is_fault):
    found = rules.gather_faults(program("f32[8]{0}", "all-gather", ", channel_id=1, dimensions={0}"), most)
    assert found == ([f"an all-gather of 32 bytes, where at most {most} are allowed: y"] if is_fault else [])


FIGURES = types.SimpleNamespace(
    compile_s=1.0, arguments_mb=2.0, temp_mb=3.0, peak_mb=4.0, collectives={"all-reduce": 2}
)
CASE = check.Case(Job("led", "encode", 64, size="tiny"), 1.0, 1.0)


@pytest.mark.parametrize(("found", "status"), [([], 0), (["64-bit floats: f64", "1 unexpected all-gather"], 1)])
def test_the_check_fails_with_a_line_for_each_fault(found, status, capsys):
    assert (
        check.run([CASE, CASE._replace(temp_mb=2.0)], check_one=lambda case: check.Result(case, FIGURES, found))
        == status
    )
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [f"error: {CASE.job.name}: {fault}" for fault in found] * 2
    assert "| led tiny encode 64 x 1 bfloat16 | 1.0 | 2.0 | 3.0 | 4.0 | 2 all-reduce |" in printed.out
    assert printed.out.endswith(f"2 programs compiled for v5e, {2 * len(found)} faults\n")


def test_a_program_that_does_not_compile_fails_the_check(capsys):
    assert check.run([CASE], check_one=lambda case: check.Result(case, None, ["it does not compile: E: no"])) == 1
    assert "| failed |" in capsys.readouterr().out


def test_every_program_is_checked_once_and_has_limits():
    found = check.cases()
    assert len({case.job.name for case in found}) == len(found) == 29
    assert {case.job.what for case in found} == {
        "train",
        "train parallel",
        "greedy",
        "beams",
        "encode",
        "encode divided",
        "attention",
        "attention gradient",
    }
    assert min(min(case.temp_mb, case.peak_mb) for case in found) > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"family": "bart"}, "family must be one of led, .*Received: 'bart'"),
        ({"what": "decode"}, "what must be one of encode, .*Received: 'decode'"),
        ({"size": "large"}, "size must be one of base, tiny. Received: 'large'"),
        ({"batch": 3, "chips": 2}, "batch must be a multiple of chips=2. Received: batch=3"),
    ],
)
def test_a_bad_job_is_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        Job(**{"family": "led", "what": "encode", "length": 64, **change})


@pytest.mark.parametrize("program", ["check", "report"])
def test_a_choice_of_nothing_is_an_error(program, capsys, monkeypatch):
    monkeypatch.setattr("accelerators.targets.set_environment", lambda: None)
    assert main([program, "--only", "no such"]) == 2
    assert "--only must be part of a program's name" in capsys.readouterr().err
