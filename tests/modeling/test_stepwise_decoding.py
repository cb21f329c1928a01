"""Decoding one token at a time equals decoding all at once, with a cache of fixed size or a growing one."""

import keras
import numpy as np
import pytest
from backends import Compiled, direct
from routines import as_numpy, assert_close
from tiny import KINDS, make_inputs, make_model

every_kind = pytest.mark.parametrize("kind", KINDS)
TARGET = np.random.default_rng(7).integers(5, 90, (3, 9)).astype("int32")


def prepare(kind, **changes):
    model, inputs = make_model(kind, **changes), make_inputs(kind)
    return model, inputs["attention_mask"], direct(model.encode, **inputs)


def all_at_once(model, mask, encoded, **inputs):
    return as_numpy(direct(model.decode, TARGET, encoded, encoder_attention_mask=mask, **inputs)["logits"])


@pytest.mark.quick_in_jax("sizes0-led", "sizes1-longt5-tglobal", "sizes2-longt5-local")
@every_kind
@pytest.mark.parametrize("sizes", [[1] * 9, [4, 1, 1, 3], [9]])
def test_some_tokens_at_a_time_equal_all_at_once_in_a_static_cache(kind, sizes):
    model, mask, encoded = prepare(kind)
    cache, found, start = model.init_cache(3, 12, encoded), [], 0
    for size in sizes:
        tokens = TARGET[:, start : start + size]
        outputs = direct(model.decode, tokens, encoded, encoder_attention_mask=mask, past_key_values=cache)
        cache, start = outputs["past_key_values"], start + size
        assert int(cache.position) == start
        found.append(as_numpy(outputs["logits"]))
    assert_close(np.concatenate(found, axis=1), all_at_once(model, mask, encoded))


@pytest.mark.quick_in_jax("led")
@every_kind
def test_a_growing_cache_equals_all_at_once(kind):
    model, mask, encoded = prepare(kind)
    outputs = direct(model.decode, TARGET[:, :3], encoded, encoder_attention_mask=mask, use_cache=True)
    found = [as_numpy(outputs["logits"])]
    for start in range(3, 9):
        past = outputs["past_key_values"]
        assert past[0][0].shape == (3, 4, start, 8)
        outputs = direct(model.decode, TARGET[:, start : start + 1], encoder_attention_mask=mask, past_key_values=past)
        found.append(as_numpy(outputs["logits"]))
    assert_close(np.concatenate(found, axis=1), all_at_once(model, mask, encoded))


@pytest.mark.quick_in_jax("longt5-tglobal")
@every_kind
def test_a_decoder_mask_counts_the_tokens_so_far(kind):
    model, mask, encoded = prepare(kind)
    target_mask = np.ones_like(TARGET)
    target_mask[1, :2] = target_mask[2, 4] = 0
    wanted = all_at_once(model, mask, encoded, decoder_attention_mask=target_mask)
    cache, found = model.init_cache(3, 9, encoded), []
    for position in range(9):
        outputs = model.decode(
            TARGET[:, position : position + 1],
            encoded,
            encoder_attention_mask=mask,
            decoder_attention_mask=target_mask[:, : position + 1],
            past_key_values=cache,
        )
        cache = outputs["past_key_values"]
        found.append(as_numpy(outputs["logits"]))
    assert_close(np.concatenate(found, axis=1), wanted)


@pytest.mark.quick_in_jax("longt5-local")
@every_kind
def test_a_compiled_step_keeps_its_shapes_and_traces_once(kind):
    model, mask, encoded = prepare(kind)

    def decode(tokens, cache):
        outputs = model.decode(tokens, encoder_attention_mask=mask, past_key_values=cache)
        return outputs["logits"], outputs["past_key_values"]

    step = Compiled(decode, model, autograph=True)
    cache, found = model.init_cache(3, 9, encoded), []
    for position in range(9):
        logits, cache = step(TARGET[:, position : position + 1], cache)
        found.append(as_numpy(logits))
    assert step.traces == 1
    assert_close(np.concatenate(found, axis=1), all_at_once(model, mask, encoded), 2e-5)


def test_beams_share_their_documents_cross_keys():
    model, mask, encoded = prepare("longt5-tglobal")
    cache = model.init_cache(6, 4, encoded)
    assert cache.keys_values[0][1].shape[0] == 6
    assert cache.cross[0][1].shape[0] == 3
    tokens = np.repeat(TARGET[:, :1], 2, axis=0)
    outputs = direct(
        model.decode,
        tokens,
        encoder_attention_mask=mask,
        past_key_values=cache,
        output_attentions=True,
        output_hidden_states=True,
    )
    logits = as_numpy(outputs["logits"])
    assert_close(logits[::2], all_at_once(model, mask, encoded)[:, :1])
    assert_close(logits[::2], logits[1::2])
    assert outputs["cross_attentions"][0].shape == (6, 4, 1, 53)
    assert len(outputs["decoder_hidden_states"]) == 3


def test_encoder_outputs_may_be_a_tuple_as_in_the_reference():
    model, mask, encoded = prepare("led")
    as_tuple = direct(model.decode, TARGET, (encoded["last_hidden_state"],), encoder_attention_mask=mask)
    assert_close(as_numpy(as_tuple["logits"]), all_at_once(model, mask, encoded))


@pytest.mark.quick_in_jax("led")
@every_kind
def test_a_model_without_a_head_decodes_to_hidden_states(kind):
    model, inputs = make_model(kind, head="Model"), make_inputs(kind)
    encoded = direct(model.encode, **inputs)
    found = direct(model.decode, TARGET, encoded, encoder_attention_mask=inputs["attention_mask"])
    assert_close(
        as_numpy(found), as_numpy({"last_hidden_state": model(inputs, decoder_input_ids=TARGET)["last_hidden_state"]})
    )


def test_bad_calls_are_errors_that_name_the_argument():
    model, mask, encoded = prepare("led")
    with pytest.raises(ValueError, match="batch_size must be a multiple of 3 documents. Received: 4"):
        model.init_cache(4, 5, encoded)
    with pytest.raises(ValueError, match="max_length must be at most max_decoder_position_embeddings=32. Received: 33"):
        model.init_cache(3, 33, encoded)
    with pytest.raises(ValueError, match="encoder_outputs or past_key_values must be given"):
        model.decode(TARGET)
    with pytest.raises(ValueError, match="exactly one of decoder_input_ids, decoder_inputs_embeds must be given"):
        model.decode(encoder_outputs=encoded)
    with pytest.raises(ValueError, match="past_key_values must be from init_cache, or hold"):
        model.decode(TARGET, encoded, encoder_attention_mask=mask, past_key_values=((keras.ops.ones((1, 1)),),))
    with pytest.raises(ValueError, match="encoder_outputs must be what encode returned"):
        model.decode(TARGET, keras.ops.ones((3, 4)))
