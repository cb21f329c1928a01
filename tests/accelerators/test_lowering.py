"""Every sort of program lowers for CPUs, TPUs and both makers' GPUs.

On 2 cores the quick cases take 10 seconds.
"""

import pytest
from backends import IS_JAX

from accelerators.jobs import Job
from tfmodels.backend.devices import compiling_for

if not IS_JAX:
    pytest.skip("lowers what JAX traces", allow_module_level=True)

import jax

from accelerators.programs import make_function

PLATFORMS = {"cpu": ["cpu"], "tpu": ["tpu"], "gpu": ["cuda", "rocm"]}


@pytest.mark.quick_in_jax("led-*-*", "longt5-tglobal-train-tpu", "longt5-tglobal-beams-gpu")
@pytest.mark.parametrize("kind", PLATFORMS)
@pytest.mark.parametrize("what", ["encode", "train", "greedy", "beams"])
@pytest.mark.parametrize("family", ["led", "longt5-tglobal", "longt5-local"])
def test_a_program_lowers_for_every_platform_and_calls_no_host(family, what, kind):
    job = Job(family, what, length=32, size="tiny", target=4)
    with compiling_for(kind):
        function = make_function(job)
        exported = jax.export.export(function.function, platforms=PLATFORMS[kind])(*function.arguments)
    assert list(exported.platforms) == PLATFORMS[kind]
    text = exported.mlir_module()
    assert "callback" not in text
    assert "f64" not in text
