"""An encoder over a document that is divided along its length is the encoder: values, gradients, dropout, errors.

What needs four devices runs in a process that starts with them; `python -m tests.distribution.sharded` prints it.
"""

from math import prod

import keras
import numpy as np
import pytest
from backends import IS_JAX
from tiny import make_encoder, make_inputs, make_model

from tests.distribution import sharded
from tfmodels.backend.devices import compiling_for
from tfmodels.distribution import ShardedEncoder

jax_alone = pytest.mark.skipif(not IS_JAX, reason="ShardedEncoder is JAX's")


# Some 10 to 15 seconds of a CPU each, nearly all of it to compile two programs with their gradients, and two without.
@pytest.mark.quick
@pytest.mark.quick_in_jax("led-few-slots", "longt5-tglobal")
@pytest.mark.parametrize("kind", sharded.KINDS)
def test_four_devices_encode_as_one(kind):
    neighbours, row = sharded.run([kind])
    assert neighbours["margins"]
    assert row["forward"] <= 1e-6
    assert row["training"] <= 1e-6
    assert row["gradients"] <= 1e-5
    assert row["seeds"]
    assert row["divided"] == "P(None, 'length')"
    gathered = row["collectives"].pop("all-gather")
    # One sum for each shard and row, of marks; and LongT5's summaries, one for four tokens: (B, H, G, D).
    few = sharded.BATCH * sharded.WIDTH * 128 // 4
    assert all(shape == [sharded.DEVICES, sharded.BATCH] or prod(shape) <= few for shape in gathered)
    assert kind == "longt5-tglobal" or all(len(shape) == 2 for shape in gathered)
    # The other operations carry margins, or what is computed for all devices: nothing with a token's worth for each.
    others = [shape for shapes in row["collectives"].values() for shape in shapes]
    assert all(prod(shape) < sharded.BATCH * sharded.WIDTH * 128 for shape in others)


def one_device():
    import jax

    return jax.sharding.Mesh(np.array(jax.devices()[:1]), ("length",))


@jax_alone
@pytest.mark.parametrize("kind", ["led", "longt5-tglobal"])
def test_on_one_device_it_is_the_encoder_in_every_call_format(kind):
    model = make_model(kind)
    inputs = make_inputs(kind, 21, lengths=(21, 12, 9))
    encode = ShardedEncoder(model, keras.distribution.DeviceMesh((1,), ("length",), ["cpu:0"]))
    wanted = model.encode(**inputs)["last_hidden_state"]
    mask = inputs["attention_mask"][..., None]
    embeds = model.get_input_embeddings()(inputs["input_ids"])
    embedded = {**inputs, "input_ids": None, "inputs_embeds": embeds}
    for found in (encode(inputs), encode(**inputs), encode(**embedded)):
        np.testing.assert_allclose(found["last_hidden_state"] * mask, wanted * mask, atol=1e-5)
    target = np.ones((3, 4), "int32")
    logits = [
        model(encoder_outputs=outputs, attention_mask=inputs["attention_mask"], decoder_input_ids=target)["logits"]
        for outputs in (encode(inputs), model.encode(**inputs))
    ]
    np.testing.assert_allclose(*logits, atol=1e-5)


@jax_alone
def test_its_program_follows_the_kind_of_device_and_gradient_checkpointing():
    import jax

    encoder = make_encoder("longt5-local")
    encode = ShardedEncoder(encoder, one_device())
    embeds = np.ones((1, 32, encoder.config.d_model), "float32")

    def program(training):
        def gradient(embeds):
            return jax.grad(lambda x: encode(inputs_embeds=x, training=training)["last_hidden_state"].sum())(embeds)

        return str(jax.make_jaxpr(gradient)(embeds))

    programs = [program(training=True)]
    encoder.gradient_checkpointing = True
    programs += [program(training=True), program(training=False)]
    with compiling_for("tpu"):
        programs.append(program(training=False))
    assert len({len(text) for text in programs}) == 4


@jax_alone
def test_bad_arguments_are_errors_that_name_them():
    led = make_encoder("led")
    with pytest.raises(ValueError, match=r"axis must be one of the mesh's axes \['length'\]. Received: axis='tokens'"):
        ShardedEncoder(led, one_device(), axis="tokens")
    with pytest.raises(ValueError, match="model must be an encoder or have one. Received: Dense"):
        ShardedEncoder(keras.layers.Dense(1), one_device())
    encode = ShardedEncoder(led, one_device())
    ids = np.ones((1, 200), "int32")
    with pytest.raises(ValueError, match="input_ids must have at most max_encoder_position_embeddings=160 tokens"):
        encode(ids)
    with pytest.raises(ValueError, match="max_global_tokens"):
        encode(ids[:, :100], global_attention_mask=ids[:, :100])
    with pytest.raises(ValueError, match="Received: global_attention_mask"):
        ShardedEncoder(make_encoder("longt5-local"), one_device())(ids, global_attention_mask=ids)
    with pytest.raises(ValueError, match="exactly one|input_ids"):
        encode()


@pytest.mark.skipif(IS_JAX, reason="about the other backend")
def test_tensorflow_is_refused():
    with pytest.raises(ValueError, match="ShardedEncoder must run under JAX. Received: the backend tensorflow"):
        ShardedEncoder(make_encoder("led"), None)
