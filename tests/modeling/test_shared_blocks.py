"""Blocks that are traced once for all train and generate like blocks that are traced one by one."""

import contextlib

import keras
import numpy as np
import pytest
from backends import values_of
from routines import as_numpy, assert_close, randomise
from tiny import make_inputs, make_labels, make_model

from tfmodels.backend.shared_calls import calls_one_by_one

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX traces by itself")
DEEP = {
    "led": {"encoder_layers": 3, "decoder_layers": 3, "attention_window": [8, 8, 8]},
    "longt5-tglobal": {"num_layers": 3, "num_decoder_layers": 3},
}
kinds = pytest.mark.parametrize("kind", DEEP)
SHARED, ONE_BY_ONE = contextlib.nullcontext, calls_one_by_one


def deep_model(kind, dtype=None, **changes):
    keras.utils.set_random_seed(0)
    model = make_model(kind, dtype, **{**DEEP[kind], **changes})
    randomise(model)
    return model


def trained(kind, scope, jit_compile=False, change=None, dtype=None):
    """Losses of three steps, and all variables afterwards, the seeds of dropout among them."""
    model = deep_model(kind, dtype)
    if change is not None:
        change(model)
    # Not Adam: it divides by gradients, and those of a key's bias are nothing but rounding.
    model.compile(optimizer=keras.optimizers.SGD(0.1), jit_compile=jit_compile)
    batch = {**make_inputs(kind), "labels": make_labels()}
    with scope():
        losses = [model.train_on_batch(batch) for _ in range(3)]
    return as_numpy([losses, values_of(model.variables)])


def operations(model, batch, scope):
    import tensorflow as tf

    with scope():
        traced = tf.function(model, autograph=False).get_concrete_function(batch, training=True)
    return len(traced.graph.get_operations())


@kinds
def test_training_equals_that_of_blocks_traced_one_by_one(kind):
    assert_close(trained(kind, SHARED, kind == "led"), trained(kind, ONE_BY_ONE), 1e-5)


def recomputed(model):
    model.gradient_checkpointing_enable()


def partly_frozen(model):
    for block in (model.encoder.blocks[1], model.decoder.blocks[0]):
        block.trainable = False


def adapted(model):
    model.enable_lora(2)


@pytest.mark.quick("recomputed")
@pytest.mark.parametrize("change", [recomputed, partly_frozen, adapted])
def test_training_is_the_same_recomputed_partly_frozen_and_adapted(change):
    found, wanted = (trained("led", scope, change=change) for scope in (SHARED, ONE_BY_ONE))
    assert_close(found, wanted, 1e-5)


def test_mixed_precision_rounds_as_in_blocks_traced_one_by_one():
    found, wanted = (trained("longt5-tglobal", scope, dtype="mixed_bfloat16") for scope in (SHARED, ONE_BY_ONE))
    # A rounding of 16 bits may fall to either side where XLA fuses in another way.
    assert_close(found, wanted, 5e-3)


@pytest.mark.quick("led")
@kinds
def test_a_further_block_adds_a_few_operations(kind):
    batch = {**make_inputs(kind), "labels": make_labels()}
    fields = [name for name in DEEP[kind] if name.endswith("layers")]

    def counts(scope):
        deeper = dict.fromkeys(fields, 5)
        deeper |= {"attention_window": [8] * 5} if kind == "led" else {}
        models = deep_model(kind), deep_model(kind, **deeper)
        return [operations(model, batch, scope) for model in models]

    (shallow, deep), (one_by_one, all_by_themselves) = counts(SHARED), counts(ONE_BY_ONE)
    assert deep - shallow < (all_by_themselves - one_by_one) / 4


def test_a_block_with_settings_of_its_own_keeps_them():
    def outputs(scope):
        import tensorflow as tf

        model = deep_model("led")
        model.decoder.blocks[1].residual_dropout.rate = 0.9
        batch = {**make_inputs("led"), "labels": make_labels()}
        with scope():
            return as_numpy(tf.function(model, autograph=False)(batch, training=True)["logits"])

    assert_close(outputs(SHARED), outputs(ONE_BY_ONE), 1e-5)


def test_hidden_states_attentions_and_searches_are_the_same():
    def outputs(scope):
        import tensorflow as tf

        model, inputs = deep_model("led"), make_inputs("led")
        with scope():
            run = tf.function(model, autograph=False)
            asked = run(
                {**inputs, "decoder_input_ids": make_labels() % 90},
                output_attentions=True,
                output_hidden_states=True,
            )
            found = model.generate(**inputs, num_beams=2, max_new_tokens=5)
        return as_numpy(dict(asked)), np.asarray(found)

    (found, ids), (wanted, wanted_ids) = outputs(SHARED), outputs(ONE_BY_ONE)
    assert_close(found, wanted, 1e-5)
    np.testing.assert_array_equal(ids, wanted_ids)


def test_a_gradient_outside_of_training_is_right():
    import tensorflow as tf

    def gradient(scope):
        model = deep_model("longt5-tglobal")
        batch = {**make_inputs("longt5-tglobal"), "labels": make_labels()}
        kernel = model.encoder.blocks[2].feed_forward.trainable_variables[0].value

        @tf.function(autograph=False)
        def run():
            with tf.GradientTape() as tape:
                loss = model(batch)["loss"]
            return tape.gradient(loss, kernel)

        with scope():
            return as_numpy(run())

    assert_close(gradient(SHARED), gradient(ONE_BY_ONE), 1e-5)


def test_a_users_saved_model_answers(tmp_path):
    import tensorflow as tf

    model, inputs = deep_model("led"), make_inputs("led")
    run = tf.function(lambda **ids: model.encode(**ids)["last_hidden_state"], autograph=False)
    module = tf.Module()
    module.model, module.run = model, run.get_concrete_function(**{k: tf.constant(v) for k, v in inputs.items()})
    tf.saved_model.save(module, str(tmp_path), signatures={"encode": module.run})
    loaded = tf.saved_model.load(str(tmp_path)).signatures["encode"]
    (found,) = loaded(**{name: tf.constant(x) for name, x in inputs.items()}).values()
    assert_close(as_numpy(found), as_numpy(model.encode(**inputs)["last_hidden_state"]), 1e-5)
