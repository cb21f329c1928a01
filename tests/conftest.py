"""Set-up of every test: quiet TensorFlow, quick compilers, fixed seeds, and what runs under JAX."""

import gc
import os
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
from covering import covering

# Layers, models and generation; the rest of the package is TensorFlow's alone, or the same under every backend.
UNDER_JAX = ("backend", "generation", "layers", "modeling", "parity", "support")


def pytest_addoption(parser):
    parser.addoption("--every-case", action="store_true", help="run every case of tests that are covered by fewer")


def pytest_configure(config):
    if IS_JAX:
        _keep_compiled_programs(config)


def _keep_compiled_programs(config):
    """Compile equal programs once: JAX itself does not know a loop again that another call has run."""
    import jax

    folder = tempfile.TemporaryDirectory()
    config.add_cleanup(folder.cleanup)
    jax.config.update("jax_compilation_cache_dir", folder.name)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def pytest_ignore_collect(collection_path, config):
    here = os.path.dirname(__file__)
    part = os.path.relpath(collection_path, here).split(os.sep)[0]
    return True if IS_JAX and part not in (".", *UNDER_JAX) else None


def pytest_collection_modifyitems(config, items):
    kept = items
    if IS_JAX:
        # About TensorFlow's graphs and tapes: JAX has nothing of the kind.
        kept = [item for item in items if item.get_closest_marker("tensorflow") is None]
    if not config.getoption("--every-case"):
        # Compiling anew for each size is most of the time of JAX, and of the tests that say so. TensorFlow runs all
        # pairs of sizes, kinds and heads of the others.
        many = [item for item in kept if IS_JAX or item.get_closest_marker("covered") is not None]
        fewer = {id(item) for item in many} - {id(item) for item in covering(many)}
        kept = [item for item in kept if id(item) not in fewer]
    chosen = set(map(id, kept))
    config.hook.pytest_deselected(items=[item for item in items if id(item) not in chosen])
    items[:] = kept


@pytest.fixture(scope="module", autouse=True)
def _few_objects_to_collect():
    # Keras collects garbage for each layer that it quantizes, and would look at everything that is imported each time.
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)
