"""Set-up of every test: quiet TensorFlow, quick compilers, fixed seeds, and what runs under JAX."""

import ctypes
import fnmatch
import gc
import os
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Programs that run for milliseconds need no costly optimization, and 16-bit values are to round alike in all of them.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1 "
    "--xla_allow_excess_precision=false",
)

import keras
import pytest
from backends import IS_JAX

from tfmodels.backend.kept_programs import hand_over_programs, keep_programs

_MOST_BYTES = 2**31

# Layers, models, generation, several devices, and what compilers for accelerators get; the rest of the package is
# TensorFlow's alone, or the same under every backend.
UNDER_JAX = ("accelerators", "backend", "distribution", "generation", "layers", "modeling", "parity", "support")


def pytest_configure(config):
    """Compile equal programs once, here and in the processes that tests start: in the folder that `make test` names
    for all its runs, else in one of this run."""
    if "TFMODELS_PROGRAMS" not in os.environ:
        folder = tempfile.TemporaryDirectory()
        config.add_cleanup(folder.cleanup)
        os.environ["TFMODELS_PROGRAMS"] = folder.name
    keep_programs(most_bytes=_MOST_BYTES)
    config.add_cleanup(hand_over_programs)


def pytest_ignore_collect(collection_path, config):
    here = os.path.dirname(__file__)
    part = os.path.relpath(collection_path, here).split(os.sep)[0]
    return True if IS_JAX and part not in (".", *UNDER_JAX) else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    if IS_JAX:
        # About TensorFlow's graphs and tapes: JAX has nothing of the kind.
        others = [item for item in items if item.get_closest_marker("tensorflow") is not None]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]
    # A case that is asked for by its whole name runs.
    if not any("[" in argument for argument in config.args):
        _leave_to_the_thorough_run(items, every_test=not any("::" in argument for argument in config.args))


def _leave_to_the_thorough_run(items, every_test):
    """Mark as thorough what `quick` does not name: "*" stands for any text in the name of a case.

    Under JAX `quick_in_jax` takes its place, which names fewer cases: JAX compiles each size anew, and TensorFlow runs
    all of them through the same code of ours.
    """
    cases = {}
    for item in items:
        mark = (item.get_closest_marker("quick_in_jax") if IS_JAX else None) or item.get_closest_marker("quick")
        if mark is not None:
            cases.setdefault((item.path, item.originalname, mark.args), []).append(item)
    for (_, name, patterns), those in cases.items():
        found = {pattern: fnmatch.filter([item.callspec.id for item in those], pattern) for pattern in patterns}
        if every_test and not all(found.values()):
            nothing = [pattern for pattern, matches in found.items() if not matches]
            raise pytest.UsageError(f"quick must name cases of {name}. Received: {nothing}")
        quick = {case for matches in found.values() for case in matches}
        for item in those:
            if item.callspec.id not in quick:
                item.add_marker(pytest.mark.thorough)


@pytest.fixture(scope="module", autouse=True)
def _few_objects_to_collect():
    if IS_JAX:
        _forget_compiled_programs()
    else:
        _forget_gradients_of_past_graphs()
    # Keras collects garbage for each layer that it quantizes, and would look at everything that is imported each time.
    gc.collect()
    gc.freeze()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


def _forget_compiled_programs():
    """What another module compiles again comes from the folder of compiled programs."""
    import jax

    jax.clear_caches()


def _forget_gradients_of_past_graphs():
    """TensorFlow registers each custom gradient of a graph for good, and so keeps its graph, its model and its XLA
    programs: without this one process holds every model that it ever trained."""
    from tensorflow.python.framework import ops

    gradients = ops.gradient_registry._registry
    for name in [name for name in gradients if name.startswith("CustomGradient-")]:
        del gradients[name]


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)
