"""Weights of 16 and of 64 bits are used as they are stored, in every way that a model runs."""

import os

import keras
import numpy as np
import pytest
from backends import FEW_STEPS, IS_JAX, JIT_COMPILE, direct
from routines import as_numpy, assert_close
from tiny import make_inputs, make_labels, make_model, model_class, one_layer

KINDS = ("led", "longt5-tglobal")
TIED = {"led": True, "longt5-tglobal": False}
DTYPES = (
    ("bfloat16", "float16") if IS_JAX and "JAX_ENABLE_X64" not in os.environ else ("bfloat16", "float16", "float64")
)
SEARCHES = (
    {},
    {"num_beams": 2},
    {"do_sample": True, "top_k": 0, "seed": 3},
    {"num_beams": 2, "do_sample": True, "top_k": 0, "seed": 3},
)

every_kind = pytest.mark.parametrize("kind", KINDS)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_mode = pytest.mark.parametrize("jit_compile", JIT_COMPILE)
INPUTS = {kind: make_inputs(kind, 21, lengths=(21, 16, 9)) for kind in KINDS}


def make(kind, dtype):
    return make_model(kind, dtype=dtype, **one_layer(kind), tie_word_embeddings=TIED[kind])


def dtypes_of(layer):
    """The dtypes of a layer's matrices as a computation reads them now."""
    return {keras.backend.standardize_dtype(v.value.dtype) for v in layer.weights if v.name in ("kernel", "embeddings")}


@pytest.mark.quick("search0-*-led-bfloat16", "search3-True-longt5-tglobal-float16")
@pytest.mark.quick_in_jax("search0-True-led-bfloat16", "search3-True-longt5-tglobal-float16")
@every_dtype
@every_kind
@every_mode
@pytest.mark.parametrize("search", SEARCHES)
def test_a_search_scores_tokens_as_one_pass_of_the_decoder_does(kind, dtype, search, jit_compile):
    model = make(kind, dtype)
    # Without special tokens, which one of the two does not count.
    settings = {"max_new_tokens": 3, **search, "suppress_tokens": [0, 1, 2]}
    settings |= {"jit_compile": jit_compile, "return_dict": True}
    found = model.generate(**INPUTS[kind], **settings)
    decoded = found["sequences"][:, 1:]
    scores = as_numpy(model.score(INPUTS[kind], decoded, length_penalty=1.0, jit_compile=jit_compile))
    np.testing.assert_allclose(as_numpy(found["sequences_scores"]), scores, rtol=0.03)


@pytest.mark.quick("led-float16")
@every_dtype
@every_kind
def test_weights_inside_the_loop_have_the_dtype_of_the_policy(kind, dtype):
    model, seen = make(kind, dtype), []

    def look(tokens, position, scores):
        # LongT5's table of position biases, and its output projections under float16, are float32 on purpose.
        seen.append(dtypes_of(model.decoder.blocks[0].self_attention))
        return scores

    steps = list(model.generate_stream(**INPUTS[kind], max_new_tokens=2, processors=[look]))
    assert len(steps) <= 2
    model.generate(**INPUTS[kind], max_new_tokens=2, processors=[look])
    assert len(seen) >= 2
    assert seen == [{dtype}] * len(seen)


@pytest.mark.quick("led-bfloat16-True", "longt5-tglobal-float64-False")
@pytest.mark.quick_in_jax("led-bfloat16-True", "longt5-tglobal-float16-False")
@pytest.mark.parametrize("remat", [False, True])
@every_dtype
@every_kind
def test_a_step_of_training_sees_the_stored_weights_and_keeps_their_dtypes(kind, dtype, remat):
    model, seen = make(kind, dtype), []
    if remat:
        model.gradient_checkpointing_enable()
    model.compile(optimizer=keras.optimizers.SGD(0.1), **FEW_STEPS)
    before = [keras.backend.standardize_dtype(v.dtype) for v in model.variables]
    projection = model.decoder.blocks[0].self_attention.q_proj
    own_call, own_logits = projection.call, model.logits
    projection.call = lambda *args, **kwargs: seen.append(dtypes_of(projection)) or own_call(*args, **kwargs)
    head = model.get_output_embeddings()
    model.logits = lambda *args: seen.append(dtypes_of(head)) or own_logits(*args)
    losses = model.fit({**INPUTS[kind], "labels": make_labels()}, batch_size=3, epochs=2, verbose=0).history["loss"]
    assert losses[1] < losses[0]
    assert len(seen) > 2
    assert seen == [{dtype}] * len(seen)
    assert [keras.backend.standardize_dtype(v.dtype) for v in model.variables] == before


@pytest.mark.quick("longt5-tglobal-float16")
@every_dtype
@every_kind
def test_files_give_back_weights_of_every_dtype(kind, dtype, tmp_path):
    model = make(kind, dtype)
    inputs = {**INPUTS[kind], "decoder_input_ids": np.full((3, 4), 5, "int32")}
    wanted = as_numpy(direct(model, inputs)["logits"])
    model.save(tmp_path / "model.keras")
    model.save_pretrained(tmp_path / "folder")
    loaded = model_class(kind).from_pretrained(tmp_path / "folder", dtype="auto")
    for again in (keras.saving.load_model(tmp_path / "model.keras"), loaded):
        assert dtypes_of(again.decoder.blocks[0].self_attention) == {dtype}
        assert_close(as_numpy(direct(again, inputs)["logits"]), wanted, 1e-6)


@pytest.mark.skipif(not IS_JAX, reason="TensorFlow has 64-bit numbers always")
def test_numbers_that_jax_would_make_smaller_are_refused():
    with pytest.raises(ValueError, match=r"dtype must be of at most 32 bits.*Received: dtype='float64'"):
        make("led", "float64")
