"""Inputs of the wrong size are errors that name them, never silently other numbers."""

import keras
import numpy as np
import pytest
from backends import MODES, Compiled, direct
from routines import as_numpy, assert_close
from tiny import KINDS, make_inputs, make_inputs_for, make_labels, make_model

every_kind = pytest.mark.parametrize("kind", KINDS)
TARGET = np.random.default_rng(7).integers(5, 90, (3, 7)).astype("int32")


def prepare(kind, **changes):
    model, inputs = make_model(kind, **changes), make_inputs(kind)
    return model, inputs, {**inputs, "decoder_input_ids": TARGET}


@pytest.mark.quick_in_jax("*-led")
@every_kind
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention_mask": np.ones((3, 50))}, r"attention_mask must have shape \(3, 53\)"),
        ({"attention_mask": np.ones((3, 60))}, r"attention_mask must have shape \(3, 53\)"),
        ({"attention_mask": np.ones((1, 53))}, r"attention_mask must have shape \(3, 53\)"),
        ({"attention_mask": np.ones((3,))}, r"attention_mask must have shape \(3, 53\)"),
        ({"input_ids": np.ones((53,), "int32")}, r"input_ids must have shape \(any, any\)"),
        ({"head_mask": np.ones((2,))}, r"head_mask must have shape \(2, 4\) or \(4,\)"),
        ({"decoder_attention_mask": np.ones((3, 5))}, r"decoder_attention_mask must have shape \(3, 7\)"),
        ({"decoder_attention_mask": np.ones((3, 9))}, r"decoder_attention_mask must have shape \(3, 7\)"),
        ({"decoder_input_ids": np.ones((6, 7), "int32")}, r"decoder_input_ids must have shape \(3, 7\)"),
        ({"decoder_input_ids": np.ones((2, 7), "int32")}, r"decoder_input_ids must have shape \(3, 7\)"),
        ({"labels": make_labels(6)}, r"labels must have shape \(3, 7\)"),
        ({"labels": make_labels(7, rows=2)}, r"labels must have shape \(3, 7\)"),
        ({"encoder_outputs": {"last_hidden_state": np.ones((3, 32), "float32")}}, "encoder_outputs must have shape"),
        (
            {"encoder_outputs": {"hidden": np.ones((3, 4, 32), "float32")}},
            "encoder_outputs must be what encode returned",
        ),
    ],
)
def test_inputs_of_another_size_are_errors(kind, changes, message):
    model, _, inputs = prepare(kind)
    with pytest.raises(ValueError, match=message):
        model({**inputs, **changes})


def test_a_global_mask_of_another_size_is_an_error():
    model, _, inputs = prepare("led")
    with pytest.raises(ValueError, match=r"global_attention_mask must have shape \(3, 53\)"):
        model({**inputs, "global_attention_mask": np.ones((1, 53))})


@pytest.mark.quick_in_jax("longt5-local")
@every_kind
def test_a_mask_that_does_not_count_the_tokens_so_far_is_an_error(kind):
    model, inputs, whole = prepare(kind)
    past = direct(model, {**inputs, "decoder_input_ids": TARGET[:, :5]}, use_cache=True)["past_key_values"]
    rest = {**inputs, "decoder_input_ids": TARGET[:, 5:]}
    found = direct(model, rest, past_key_values=past, decoder_attention_mask=np.ones((3, 7)))
    assert_close(as_numpy(found["logits"]), as_numpy(direct(model, whole)["logits"])[:, 5:])
    for length in (1, 2, 8):
        with pytest.raises(ValueError, match=r"decoder_attention_mask must have shape \(3, 7\)"):
            model(rest, past_key_values=past, decoder_attention_mask=np.ones((3, length)))


@pytest.mark.quick_in_jax("led")
@every_kind
def test_a_cache_without_room_is_an_error(kind):
    model, inputs, _ = prepare(kind)
    encoded = direct(model.encode, **inputs)
    cache = model.init_cache(3, 3, encoded)
    with pytest.raises(ValueError, match="past_key_values has room for 3 tokens. Received: token 4"):
        model.decode(TARGET[:, :4], past_key_values=cache)
    cache = model.decode(TARGET[:, :3], past_key_values=cache)["past_key_values"]
    with pytest.raises(ValueError, match="past_key_values has room for 3 tokens. Received: token 4"):
        model.decode(TARGET[:, :1], past_key_values=cache)
    for size in (0, 2.5):
        with pytest.raises(ValueError, match="max_length must be a positive integer"):
            model.init_cache(3, size, encoded)
    with pytest.raises(ValueError, match="past_key_values must have 2 layers. Received: 1"):
        model.decode(TARGET[:, :1], past_key_values=cache._replace(keys_values=cache.keys_values[:1]))


def test_a_growing_cache_ends_where_the_positions_end():
    model, inputs, _ = prepare("led")
    ids = np.resize(TARGET, (3, 32))
    past = direct(model, {**inputs, "decoder_input_ids": ids}, use_cache=True)["past_key_values"]

    def step(ids, past):
        return model({"decoder_input_ids": ids}, past_key_values=past)["logits"]

    with pytest.raises(ValueError, match="at most max_decoder_position_embeddings=32. Received: 33"):
        Compiled(step, model, MODES[1], autograph=True)(ids[:, :1], past)


@pytest.mark.quick_in_jax("longt5-tglobal")
@every_kind
def test_a_cache_takes_the_place_of_the_documents(kind):
    model, inputs, whole = prepare(kind)
    past = direct(model, {**inputs, "decoder_input_ids": TARGET[:, :5]}, use_cache=True)["past_key_values"]
    found = direct(
        model, {"decoder_input_ids": TARGET[:, 5:], "attention_mask": inputs["attention_mask"]}, past_key_values=past
    )
    assert set(found) == {"logits"}
    assert_close(as_numpy(found["logits"]), as_numpy(direct(model, whole)["logits"])[:, 5:])


@pytest.mark.quick_in_jax("longt5-local")
@every_kind
def test_python_lists_are_arrays(kind):
    model, _, whole = prepare(kind)
    as_lists = {name: value.tolist() for name, value in whole.items()}
    assert_close(
        as_numpy(direct(model, **as_lists, head_mask=[1.0] * 4)["logits"]), as_numpy(direct(model, whole)["logits"])
    )


CLASSIFIER, ANSWERER = "ForSequenceClassification", "ForQuestionAnswering"


@pytest.mark.parametrize(
    ("changes", "labels", "message"),
    [
        ({"num_labels": 3}, np.zeros((2,), "int32"), r"labels must have shape \(3\)"),
        ({"num_labels": 3}, np.zeros((3, 3), "int32"), r"labels must have shape \(3\)"),
        ({"num_labels": 4}, np.zeros((4, 3), "float32"), r"labels must have shape \(3, 4\)"),
        ({"num_labels": 4}, np.zeros((12,), "float32"), r"labels must have shape \(3, 4\)"),
        (
            {"num_labels": 3, "problem_type": "regression"},
            np.zeros((3,), "float32"),
            r"labels must have shape \(3, 3\)",
        ),
    ],
)
def test_class_labels_of_another_shape_are_errors(changes, labels, message):
    model, inputs = make_model("led", head=CLASSIFIER, **changes), make_inputs_for("led", CLASSIFIER)
    with pytest.raises(ValueError, match=message):
        model({**inputs, "labels": labels})


def test_positions_are_a_pair_or_a_dict():
    model, inputs = make_model("led", head=ANSWERER), make_inputs_for("led", ANSWERER)
    wanted = as_numpy(direct(model, inputs)["loss"]).item()
    positions = {name: inputs.pop(name) for name in ("start_positions", "end_positions")}
    model.compile(run_eagerly=True)
    assert model.evaluate(inputs, positions, verbose=0) == pytest.approx(wanted, rel=1e-5)
    assert model.evaluate(inputs, tuple(positions.values()), verbose=0) == pytest.approx(wanted, rel=1e-5)
    with pytest.raises(ValueError, match="y must be a pair"):
        model.evaluate(inputs, np.stack(list(positions.values()), axis=1), verbose=0)


def test_metrics_take_labels_from_the_inputs_and_say_when_there_are_none():
    model, inputs = make_model("led", head=CLASSIFIER), make_inputs_for("led", CLASSIFIER)
    model.compile(metrics=["accuracy"], run_eagerly=True)
    assert "accuracy" in model.evaluate(inputs, verbose=0, return_dict=True)
    base, inputs = make_model("led", head="Model"), make_inputs_for("led", "Model")
    base.compile(loss="mse", metrics=["mse"], run_eagerly=True)
    with pytest.raises(ValueError, match="compiled metrics need targets"):
        base.compute_metrics(inputs, None, base(inputs))


def test_compile_without_a_loss_brings_the_models_own_back():
    model, inputs = make_model("led"), {**make_inputs("led"), "labels": make_labels()}
    own = as_numpy(direct(model, inputs)["loss"]).item()
    model.compile(loss=lambda y, y_pred: keras.ops.sum(y_pred) * 0 + 7.0)
    model.compile()
    assert model.evaluate(inputs, verbose=0) == pytest.approx(own, rel=1e-5)
