"""A recomputed layer call equals the plain one in values, gradients and seeds, and keeps less."""

import dataclasses
import gc
import re
import subprocess
import sys
import weakref
from collections import namedtuple
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from backends import DIRECT, EAGER, GRAPH, IS_JAX, JIT_COMPILE, XLA, recomputed_parts, value_and_gradients
from keras import ops
from memory_probe import resident
from routines import as_numpy, assert_close

from tfmodels.backend.remat_layer import remat_layer

every_mode = pytest.mark.parametrize("mode", [XLA] if IS_JAX else [EAGER, GRAPH, XLA])
plain_modes = pytest.mark.parametrize("mode", [DIRECT] if IS_JAX else [EAGER, GRAPH])


def plain(layer, *args, **kwargs):
    return layer(*args, **kwargs)


Extra = namedtuple("Extra", ["shift", "scale"])


class Block(keras.layers.Layer):
    """Attention and feed-forward with everything that makes recomputing hard: seeds, statistics, masks, structures."""

    def __init__(self, width=4, hidden=8, heads=2, rate=0.0, **kwargs):
        super().__init__(autocast=False, **kwargs)
        policy = self.dtype_policy
        self.width = width
        self.attention = keras.layers.MultiHeadAttention(heads, width // heads, dropout=rate, dtype=policy)
        self.wide = keras.layers.Dense(hidden, activation="gelu", dtype=policy)
        self.narrow = keras.layers.Dense(width, dtype=policy)
        self.table = keras.layers.Embedding(5, width, dtype=policy)
        self.norm = keras.layers.BatchNormalization(dtype=policy)
        self.unused = keras.layers.Dense(2, dtype=policy)
        self.dropout = keras.layers.Dropout(rate, dtype=policy)

    def build(self, shape):
        self.attention.build(shape, shape)
        self.wide.build(shape)
        self.narrow.build((*shape[:-1], self.wide.units))
        for part in (self.table, self.norm, self.unused):
            part.build(shape)
        self.gain = self.add_weight(shape=(self.width,), initializer="ones", name="gain")

    def call(self, x, ids=None, visible=None, extra=None, training=None):
        exact = ops.cast(x, "float32") * ops.cast(self.gain, "float32")
        attended = self.attention(exact, exact, attention_mask=visible, training=training)
        x = ops.cast(x, self.compute_dtype) + self.dropout(attended, training=training)
        hidden = self.narrow(self.dropout(self.wide(x), training=training))
        if ids is not None:
            hidden = hidden + self.table(ids)
        if extra is not None:
            hidden = hidden * extra.scale[0] + ops.cast(extra.shift["by"], hidden.dtype)
        x = self.norm(x + self.dropout(hidden, training=training), training=training)
        return {"hidden": x, "ids": ids, "pair": (2 * x, None)}


class Stack(keras.layers.Layer):
    """Blocks in a row, each called by `call_block`, by default with a training flag that they inherit."""

    def __init__(self, call_block, blocks=2, rate=0.3, explicit_training=False, width=4, hidden=8, **kwargs):
        super().__init__(**kwargs)
        self.call_block = call_block
        self.explicit_training = explicit_training
        self.blocks = [Block(width, hidden, rate=rate, dtype=self.dtype_policy) for _ in range(blocks)]

    def build(self, shape):
        for block in self.blocks:
            block.build(shape)

    def call(self, x, ids=None, visible=None, extra=None, training=None):
        flag = {"training": training} if self.explicit_training else {}
        for block in self.blocks:
            x = self.call_block(block, x, ids=ids, visible=visible, extra=extra, **flag)["hidden"]
        return {"hidden": x}


def inputs_for(shape=(2, 3, 4)):
    generator = np.random.default_rng(1)
    return {
        "x": generator.normal(size=shape).astype("float32"),
        "ids": generator.integers(0, 5, shape[:2]).astype("int32"),
        "visible": np.tri(shape[1], dtype=bool)[None],
        "extra": Extra(shift={"by": generator.normal(size=shape[2:]).astype("float32")}, scale=(np.float32(0.7),)),
    }


def reset(layer, seed=5):
    """The same noise in every weight, and the same seeds, at each call."""
    generator = np.random.default_rng(0)
    for index, variable in enumerate(layer.variables):
        if "seed_generator" in variable.path:
            variable.assign([seed, index])
        else:
            noise = generator.normal(0, 0.3, variable.shape)
            variable.assign(np.abs(noise) + 0.5 if "variance" in variable.path else noise)


def outcome(layer, call, mode=DIRECT, seed=5, arguments=None):
    """Outputs, gradients for inputs and weights, and variables afterwards: all that a training step can see."""
    reset(layer, seed)

    def step(tensors):
        output = call(layer, **tensors, training=True)["hidden"]
        return ops.sum(ops.cast(output, "float32") ** 3), output

    # Autograph stays on: it is what a caller's own tf.function brings along.
    (_, output), *found = value_and_gradients(step, arguments or inputs_for(), layer, mode, autograph=True)
    found = [np.zeros(0) if x is None else x for part in found for x in part]
    return as_numpy([output, found, [v.value for v in layer.non_trainable_variables]])


def built(layer, width=4):
    layer.build((None, None, width))
    layer.built = True
    return layer


def assert_same_outcome(found, wanted, tolerance=1e-6):
    scale = max(1.0, max(np.abs(x).max(initial=0.0) for x in keras.tree.flatten(wanted)))
    assert_close(found, wanted, tolerance * scale)


@every_mode
def test_values_and_gradients_equal_those_of_a_plain_call(mode):
    layer = built(Block())
    assert_same_outcome(outcome(layer, remat_layer, mode), outcome(layer, plain, mode))


@every_mode
def test_gradients_with_dropout_equal_those_of_a_plain_call_from_the_same_seed(mode):
    layer = built(Block(rate=0.4))
    wanted = outcome(layer, plain, mode)
    assert_same_outcome(outcome(layer, remat_layer, mode), wanted)
    other_seed = outcome(layer, plain, seed=6)
    assert np.abs(other_seed[0] - wanted[0]).max() > 0.1


@pytest.fixture
def _no_graph_optimizer():
    # Grappler fuses products and biases where nothing keeps the values between, which then round once, not twice.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


@pytest.mark.usefixtures("_no_graph_optimizer")
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@plain_modes
def test_mixed_precision_rounds_as_in_a_plain_call(policy, mode):
    # The blocks hold a float32 weight in a model that casts weights, and in the backward pass that model is gone.
    for explicit in (True, False):
        layers = [built(Stack(call, explicit_training=explicit, dtype=policy)) for call in (remat_layer, plain)]
        found, wanted = (outcome(layer, plain, mode) for layer in layers)
        assert_same_outcome(found, wanted)


def test_the_training_flag_is_inherited_from_the_calling_layer():
    x = ops.convert_to_tensor(inputs_for()["x"])
    for explicit in (True, False):
        layer = built(Stack(remat_layer, explicit_training=explicit))
        for training, parts in ((True, 2), (False, 0)):
            assert recomputed_parts(lambda x, call=layer, on=training: call(x, training=on)["hidden"], x) == parts


@plain_modes
def test_calls_can_be_nested(mode):
    stack, nested = built(Stack(plain)), built(Stack(remat_layer))
    wanted = outcome(stack, plain, mode)
    assert_same_outcome(outcome(nested, remat_layer, mode), wanted)
    assert_same_outcome(outcome(stack, remat_layer, mode), wanted)


@pytest.mark.tensorflow
def test_gradients_cross_the_border_of_a_compiled_function():
    def gradients(call):
        layer = built(Block(rate=0.4))
        reset(layer)
        function = tf.function(lambda x: call(layer, x, training=True)["hidden"], autograph=False)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(function(inputs_for()["x"]) ** 3)
        return as_numpy(tape.gradient(loss, layer.narrow.kernel.value))

    assert_close(gradients(remat_layer), gradients(plain), 1e-5)


def test_frozen_weights_get_no_gradient_and_pass_one_on():
    layer = built(Block(rate=0.4))
    layer.trainable = False
    assert_same_outcome(outcome(layer, remat_layer), outcome(layer, plain))


@pytest.mark.tensorflow
def test_an_embedding_keeps_its_sparse_gradient():
    layer = keras.layers.Embedding(100, 4)
    layer.build()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(remat_layer(layer, tf.constant([3, 3, 7]), training=True) ** 2)
    assert isinstance(tape.gradient(loss, layer.embeddings.value), tf.IndexedSlices)


class TinyModel(keras.Model):
    """Embedding, recomputed blocks, head."""

    def __init__(self, call_block, **kwargs):
        super().__init__(**kwargs)
        self.embedding = keras.layers.Embedding(5, 4, dtype=self.dtype_policy)
        self.stack = built(Stack(call_block, blocks=1, dtype=self.dtype_policy))
        self.head = keras.layers.Dense(1, dtype="float32")

    def call(self, ids, training=None):
        return self.head(self.stack(self.embedding(ids), training=training)["hidden"])


@pytest.mark.quick_in_jax("float32-True")
@pytest.mark.filterwarnings("ignore:Gradients do not exist")  # for unused weights, as without recomputing
@pytest.mark.parametrize(
    ("policy", "jit_compile"),
    # Keras runs JAX without a compiler, operation by operation, where this is False.
    [*((policy, IS_JAX) for policy in ("float32", "mixed_bfloat16")), *(("mixed_float16", jit) for jit in JIT_COMPILE)],
)
def test_fit_learns_the_weights_that_it_learns_without(policy, jit_compile):
    def fitted(call_block):
        keras.utils.set_random_seed(0)
        model = TinyModel(call_block, dtype=policy)
        ids = np.random.default_rng(0).integers(0, 5, (8, 3))
        model(ids)
        reset(model)
        model.compile(keras.optimizers.SGD(1e-2), "mse", jit_compile=jit_compile)
        data = tf.data.Dataset.from_tensor_slices((ids, ids[..., None].astype("float32"))).batch(4)
        losses = model.fit(data, epochs=2, shuffle=False, verbose=0).history["loss"]
        if policy == "mixed_float16":
            assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
            assert int(model.optimizer.iterations) == 4
        return losses, as_numpy([v.value for v in model.variables if "loss_scale" not in v.path])

    (found_losses, found), (losses, wanted) = fitted(remat_layer), fitted(plain)
    assert losses[1] < losses[0]
    np.testing.assert_allclose(found_losses, losses, rtol=1e-5)
    # XLA fuses the two programs differently, so 16-bit values round differently.
    assert_same_outcome(found, wanted, 5e-3 if jit_compile else 1e-6)


def test_outside_training_it_is_the_plain_call():
    layer = built(Block(rate=0.4))
    x = ops.convert_to_tensor(inputs_for()["x"])
    for flag in ({}, {"training": False}, {"training": None}):
        assert recomputed_parts(lambda x, flag=flag: remat_layer(layer, x, **flag)["hidden"], x) == 0
    assert recomputed_parts(lambda x: remat_layer(layer, x, training=True)["hidden"], x) == 1


def test_symbolic_inputs_build_a_functional_model():
    x = keras.Input((3, 4))
    model = keras.Model(x, remat_layer(keras.layers.Dense(2), x, training=True))
    assert model(np.ones((1, 3, 4), "float32")).shape == (1, 3, 2)


def test_structures_come_back_as_they_are():
    output = remat_layer(built(Block()), ops.ones((1, 3, 4)), ids=ops.zeros((1, 3), "int32"), training=True)
    assert set(output) == {"hidden", "ids", "pair"}
    assert keras.backend.standardize_dtype(output["ids"].dtype) == "int32"
    assert output["pair"][1] is None


def test_a_layer_that_is_not_built_is_an_error():
    with pytest.raises(ValueError, match="layer must be built before it is recomputed. Received: layer=<Dense"):
        remat_layer(keras.layers.Dense(2), ops.ones((1, 2)), training=True)


class Anything(keras.layers.Layer):
    """A layer around any function."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.built = True

    def call(self, x, other=None):
        return self.function(x)


def test_parts_that_are_not_built_and_seeds_of_others_are_errors():
    unbuilt = Anything(None)
    unbuilt.function = unbuilt.part = keras.layers.Dense(2)
    # Keras itself refuses the second under JAX.
    message = "built with all its parts and own every variable .* seed generators|attach it to your layer/model"
    for layer in (unbuilt, Anything(lambda x: keras.random.dropout(x, 0.5))):
        with pytest.raises(ValueError, match=message):
            remat_layer(layer, ops.ones((1, 2)), training=True)


@pytest.mark.tensorflow
@pytest.mark.parametrize("mode", [EAGER, GRAPH])
def test_a_weight_that_the_layer_does_not_own_is_an_error(mode):
    foreign = tf.Variable(2.0, name="foreign")
    layer = Anything(lambda x: x * foreign)
    call = remat_layer if mode == EAGER else tf.function(remat_layer, autograph=False)
    with pytest.raises(ValueError, match=r"must own every variable that it uses. Received: .*foreign:0"):
        call(layer, tf.ones((1, 2)), training=True)


def test_an_object_that_could_hide_tensors_is_an_error():
    hiding = dataclasses.make_dataclass("Hiding", ["tensor"])(ops.ones(2))
    with pytest.raises(ValueError, match="args and kwargs must be tensors, .* Received: Hiding"):
        remat_layer(Anything(lambda x: x), ops.ones((1, 2)), other=hiding, training=True)
    with pytest.raises(ValueError, match="outputs of layer must be tensors, .* Received: Hiding"):
        remat_layer(Anything(lambda x: hiding), ops.ones((1, 2)), training=True)


@pytest.mark.tensorflow
@pytest.mark.parametrize("call", [plain, remat_layer])
def test_an_eager_tape_keeps_no_intermediate_value(call):
    kept = []

    def function(x):
        hidden = tf.exp(x)
        kept.append(weakref.ref(hidden))
        return tf.sin(hidden) * hidden

    x = tf.ones((2, 2))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = call(Anything(function), x, training=True)
    gc.collect()
    assert (kept[0]() is None) == (call is remat_layer)
    np.testing.assert_allclose(tape.gradient(y, x), np.e * (np.sin(np.e) + np.e * np.cos(np.e)), rtol=1e-5)


@pytest.mark.tensorflow
def test_xla_merges_neither_products_nor_masks_of_the_second_pass_with_the_first():
    def counts(call):
        layer = built(Stack(call, rate=0.1, explicit_training=True))
        x = tf.ones((2, 3, 4))

        def step(x):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(layer(x, training=True)["hidden"] ** 3)
            return tape.gradient(loss, layer.blocks[0].wide.kernel.value)

        compiled = tf.function(step, jit_compile=True, autograph=False)
        program = compiled.experimental_get_compiler_ir(x)(stage="optimized_hlo")
        # Random bits are made by exclusive or, and nothing else here is.
        return len(re.findall(r"= \S+ dot\(", program)), len(re.findall(r"= \S+ xor\(", program))

    (products, mask_steps), (products_once, mask_steps_once) = counts(remat_layer), counts(plain)
    # A block without its last projection, which no gradient asks for.
    again = ("query", "key", "value", "scores", "attended", "output", "wide")
    assert products >= products_once + 2 * len(again)
    assert mask_steps == 2 * mask_steps_once > 0


def measure(call_name, mode, length=512, width=128, hidden=512, blocks=8):
    """Peak growth of memory in MiB during training steps of a stack; for a process of its own."""
    layer = built(Stack({"plain": plain, "recompute": remat_layer}[call_name], blocks, 0.1, True, width, hidden), width)
    x = tf.constant(inputs_for((2, length, width))["x"])

    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(layer(x, training=True)["hidden"] ** 2)
        weights = [w.value for w in layer.trainable_weights]
        return [None if g is None else tf.reduce_sum(g) for g in tape.gradient(loss, weights)]

    if mode != EAGER:
        signature = [tf.TensorSpec((None, length if mode == XLA else None, width))]
        step = tf.function(step, signature, jit_compile=mode == XLA, autograph=False)
    # The graph itself takes memory, here as much as its values: it is built and run once before.
    step(x if mode == XLA else x[:, :8])
    before = resident("VmHWM")
    step(x)
    return (resident("VmHWM") - before) / 2**20


@pytest.mark.tensorflow
@pytest.mark.slow
@pytest.mark.parametrize("mode", [EAGER, GRAPH, XLA])
def test_a_stack_of_eight_blocks_trains_in_less_than_half_the_memory(mode, tmp_path):
    root, growth = Path(__file__).parents[2], {}
    for call_name in ("plain", "recompute"):
        script = f"import test_remat_layer; print('MiB', test_remat_layer.measure({call_name!r}, {mode!r}))"
        environment = {
            "PYTHONPATH": f"{root}:{root / 'tests/support'}:{Path(__file__).parent}",
            "XLA_FLAGS": f"--xla_dump_to={tmp_path / call_name}" if mode == XLA else "",
        }
        printed = subprocess.check_output([sys.executable, "-c", script], env=environment, text=True)
        growth[call_name] = float(re.search(r"MiB (\S+)", printed)[1])
        # The compiler itself takes memory; its report says what the program takes.
        for report in (tmp_path / call_name).glob("*memory-usage-report.txt"):
            growth[call_name] = int(re.search(r"Total bytes used: (\d+)", report.read_text())[1]) / 2**20
    assert growth["recompute"] < growth["plain"] / 2, growth
