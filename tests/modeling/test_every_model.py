"""The contract of every kind of model with every head: one result however it is run, called, composed and stored.

What a row keeps whatever stands beside it is in `test_invariance.py`. One layer each: the parity tests run two.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from backends import FEW_STEPS, JIT_COMPILE, TRACES_OF_FIT, direct
from routines import as_numpy, assert_close, assert_eager_graph_and_xla_agree, assert_survives_keras_file
from tiny import (
    HEADS,
    KINDS,
    make_encoder,
    make_inputs,
    make_inputs_for,
    make_labels,
    make_model,
    one_layer,
)

every_kind = pytest.mark.parametrize("kind", KINDS)
every_model = pytest.mark.parametrize(("kind", "head"), [(kind, head) for kind in KINDS for head in HEADS])
# Each head and each kind; pairs that stand in one test stand in no other, as far as that goes.
TURNS = (
    ("led-ForConditionalGeneration", "longt5-local-Model", "longt5-tglobal-ForQuestionAnswering"),
    ("longt5-tglobal-ForConditionalGeneration", "led-Model", "longt5-local-ForSequenceClassification"),
    ("longt5-local-ForConditionalGeneration", "longt5-tglobal-Model", "led-ForSequenceClassification"),
    ("led-ForQuestionAnswering", "longt5-tglobal-ForConditionalGeneration", "longt5-local-ForQuestionAnswering"),
)
OWN_OUTPUTS = {
    "Model": {"last_hidden_state"},
    "ForConditionalGeneration": {"logits", "loss"},
    "ForSequenceClassification": {"logits", "loss"},
    "ForQuestionAnswering": {"start_logits", "end_logits", "loss"},
}
SOURCES = ("input_ids", "attention_mask")


def make(kind, head, dtype=None):
    return make_model(kind, head=head, dtype=dtype, **one_layer(kind))


@pytest.mark.quick(*TURNS[0], *TURNS[1], "led-ForSequenceClassification")
@pytest.mark.quick_in_jax(*TURNS[1], "led-ForQuestionAnswering")
@every_model
def test_eager_graph_and_xla_agree_and_trace_once(kind, head):
    assert_eager_graph_and_xla_agree(make(kind, head), make_inputs_for(kind, head), 2e-5)


@pytest.mark.quick_in_jax("led")
@every_kind
def test_all_outputs_of_an_encoder_agree_in_eager_graph_and_xla(kind):
    encoder = make_encoder(kind, output_attentions=True, output_hidden_states=True, **one_layer(kind))
    assert_eager_graph_and_xla_agree(encoder, make_inputs(kind), 2e-5)


@pytest.mark.quick("*-mixed_float16", "longt5-*-ForConditionalGeneration-mixed_bfloat16", "led-Model-mixed_bfloat16")
@pytest.mark.quick_in_jax("longt5-local-ForConditionalGeneration-mixed_float16", "led-Model-mixed_bfloat16")
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@every_model
def test_all_outputs_are_finite_in_16_bits_and_losses_in_32(kind, head, policy):
    model, inputs = make(kind, head, policy), make_inputs_for(kind, head)
    outputs = direct(model, inputs, use_cache=True, output_attentions=True, output_hidden_states=True)
    if "loss" in OWN_OUTPUTS[head]:
        assert keras.backend.standardize_dtype(outputs["loss"].dtype) == "float32"
    assert all(np.isfinite(value).all() for value in keras.tree.flatten(as_numpy(outputs)))


@pytest.mark.quick(*(f"{case}-29" for case in TURNS[2]), *(f"{case}-None" for case in TURNS[0]))
@pytest.mark.quick_in_jax("led-ForSequenceClassification-29", "longt5-local-ForConditionalGeneration-None")
@pytest.mark.parametrize("length", [29, None])
@every_model
def test_a_model_composes_in_the_functional_api(kind, head, length):
    inner, arrays = make(kind, head), make_inputs_for(kind, head)
    sizes = dict.fromkeys(SOURCES, length)
    if (inner.head_inputs == ("labels",) and arrays["labels"].ndim == 2) or not inner.head_inputs:
        # Heads whose decoder reads what the caller gives.
        sizes["decoder_input_ids"] = None if length is None else 6
        arrays.setdefault("decoder_input_ids", np.ones((3, 6), "int32"))
    arrays = {name: arrays[name] for name in sizes}
    inputs = {name: keras.Input((size,), dtype="int32", name=name) for name, size in sizes.items()}
    outputs = inner(**inputs)
    assert_close(as_numpy(direct(keras.Model(inputs, outputs), arrays)), as_numpy(direct(inner, arrays)))


@pytest.mark.quick("longt5-local-24", "led-None")
@pytest.mark.parametrize("length", [24, None])
@every_kind
def test_an_encoder_composes_in_the_functional_api_and_survives_a_keras_file(kind, length, tmp_path):
    ids, mask = keras.Input((length,), dtype="int32"), keras.Input((length,), dtype="int32")
    hidden = make_encoder(kind, **one_layer(kind))(ids, attention_mask=mask)["last_hidden_state"]
    assert hidden.shape == (None, length, 32)
    model = keras.Model([ids, mask], keras.layers.Dense(1)(keras.layers.GlobalAveragePooling1D()(hidden)))
    inputs = list(make_inputs(kind, 24, lengths=(24, 11, 2)).values())[:2]
    assert_survives_keras_file(model, inputs, tmp_path)


@pytest.mark.quick(*TURNS[2], *TURNS[3])
@pytest.mark.quick_in_jax(*TURNS[2])
@every_model
def test_keywords_a_dict_and_a_list_are_the_same_call_and_nothing_unasked_is_returned(kind, head):
    model, inputs = make(kind, head), make_inputs_for(kind, head)
    expected = as_numpy(direct(model, inputs))
    assert set(expected) == {*OWN_OUTPUTS[head], "encoder_last_hidden_state"}
    assert_close(as_numpy(direct(model, **inputs)), expected)
    known = [inputs.get(name) for name in model.input_names[: model.input_names.index("head_mask")]]
    assert_close(as_numpy(direct(model, known)), expected)


@pytest.mark.quick("longt5-tglobal")
@every_kind
def test_labels_are_the_decoders_inputs_shifted(kind):
    model, inputs, labels = make(kind, "ForConditionalGeneration"), make_inputs(kind), make_labels()
    expected = as_numpy(direct(model, **inputs, labels=labels)["logits"])
    shifted = np.concatenate([np.full((3, 1), model.config.decoder_start_token_id), labels[:, :-1]], axis=1)
    shifted = np.where(shifted == -100, model.config.pad_token_id, shifted).astype("int32")
    actual = direct(model, [*inputs.values(), shifted])
    assert_close(as_numpy(actual["logits"]), expected)
    assert "loss" not in actual


@pytest.mark.quick("longt5-tglobal-ForConditionalGeneration-compiled", *(f"{case}-eager" for case in TURNS[1]))
@pytest.mark.quick_in_jax("led-ForQuestionAnswering-eager", "longt5-local-Model-eager")
@pytest.mark.parametrize("settings", [{}, FEW_STEPS], ids=["compiled", "eager"])
@every_model
def test_predict_joins_batches(kind, head, settings):
    model, inputs = make(kind, head), make_inputs_for(kind, head)
    model.compile(**settings)
    left_out = ("loss", "encoder_last_hidden_state")  # no batch axis; much memory
    expected = {name: value for name, value in as_numpy(direct(model, inputs)).items() if name not in left_out}
    assert_close(as_numpy(model.predict(inputs, batch_size=2, verbose=0)), expected)


POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")


@pytest.mark.quick("led-mixed_bfloat16-True", "longt5-local-float32-True", "longt5-tglobal-mixed_float16-*")
@pytest.mark.quick_in_jax("led-mixed_float16-True", "longt5-local-float32-True")
@pytest.mark.parametrize(
    ("kind", "policy", "jit_compile"),
    [(kind, policy, True) for kind in KINDS for policy in POLICIES]
    + [(*case, False) for case in (("led", "float32"), ("longt5-tglobal", "mixed_float16")) if False in JIT_COMPILE],
)
def test_fit_learns_in_every_precision_from_one_trace_per_shape(kind, policy, jit_compile):
    model = make(kind, "ForConditionalGeneration", policy)
    traces, call = [], model.call

    def counting_call(*args, **kwargs):
        traces.append(1)
        return call(*args, **kwargs)

    model.call = counting_call
    model.compile(optimizer=keras.optimizers.AdamW(3e-3), jit_compile=jit_compile)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer) == (policy == "mixed_float16")
    # Short rows, mostly padding: where 16 bits have overflowed before.
    batch = {**make_inputs(kind, 40, lengths=(40, 3, 1), marked=(1, 1, 1)), "labels": make_labels()}
    dataset = tf.data.Dataset.from_tensors(batch).repeat(12)
    history = model.fit(dataset, epochs=2, shuffle=False, verbose=0).history["loss"]
    assert np.isfinite(history).all()
    assert history[1] < history[0] - 0.2
    assert len(traces) == TRACES_OF_FIT
    assert all(np.isfinite(np.asarray(weight)).all() for weight in model.trainable_weights)


@pytest.mark.quick("*-ForQuestionAnswering", "*-ForSequenceClassification")
@pytest.mark.quick_in_jax("led-ForQuestionAnswering", "longt5-local-ForSequenceClassification")
@every_model
def test_a_few_steps_of_fit_lower_the_loss_of_every_head(kind, head):
    if "loss" not in OWN_OUTPUTS[head]:
        pytest.skip("a model without a head has no loss")
    model, inputs = make(kind, head), make_inputs_for(kind, head)
    # Eagerly: tracing costs ten times what these few steps do, and every head is traced elsewhere.
    model.compile(optimizer=keras.optimizers.Adam(1e-2), **FEW_STEPS)
    dataset = tf.data.Dataset.from_tensors(inputs).repeat(4)
    losses = [model.fit(dataset, shuffle=False, verbose=0).history["loss"][0] for _ in range(2)]
    assert losses[1] < losses[0]


@pytest.mark.quick(*TURNS[0], *TURNS[2])
@pytest.mark.quick_in_jax("longt5-local-Model")
@every_model
def test_a_model_survives_a_keras_file_and_a_folder(kind, head, tmp_path):
    model, inputs = make(kind, head, "mixed_bfloat16"), make_inputs_for(kind, head)
    assert_survives_keras_file(model, inputs, tmp_path)
    assert keras.models.load_model(tmp_path / "model.keras").dtype_policy.name == "mixed_bfloat16"
    generates = hasattr(model, "generation_config")
    if generates:
        model.generation_config = model.generation_config.replace(num_beams=3, max_new_tokens=9)
    model.save_pretrained(tmp_path / "folder")
    loaded = type(model).from_pretrained(tmp_path / "folder", dtype="mixed_bfloat16")
    assert loaded.config == model.config.replace(extra=loaded.config.extra, **model.config.written_out)
    if generates:
        assert loaded.generation_config == model.generation_config
    assert_close(as_numpy(direct(loaded, inputs)), as_numpy(direct(model, inputs)), 1e-6)
