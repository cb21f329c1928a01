"""Every head runs in every way: eager, graph, XLA, 16 bits, the functional API, predict, and each form of call."""

import keras
import numpy as np
import pytest
from backends import FEW_STEPS, direct
from routines import as_numpy, assert_close, assert_eager_graph_and_xla_agree
from tiny import HEADS, KINDS, make_encoder, make_inputs, make_inputs_for, make_model

pytestmark = pytest.mark.covered

every_model = pytest.mark.parametrize(("kind", "head"), [(kind, head) for kind in KINDS for head in HEADS])
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.mark.parametrize("head", [head for head in HEADS if head != "ForConditionalGeneration"])
@every_kind
def test_eager_graph_and_xla_agree(kind, head):
    assert_eager_graph_and_xla_agree(make_model(kind, head=head), make_inputs_for(kind, head), 2e-5)


@every_kind
def test_all_outputs_agree_in_eager_graph_and_xla(kind):
    encoder = make_encoder(kind, output_attentions=True, output_hidden_states=True)
    assert_eager_graph_and_xla_agree(encoder, make_inputs(kind), 2e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@every_model
def test_all_outputs_are_finite_in_16_bits_and_losses_in_32(kind, head, policy):
    model, inputs = make_model(kind, head=head, dtype=policy), make_inputs_for(kind, head)
    outputs = direct(model, inputs, use_cache=True, output_attentions=True, output_hidden_states=True)
    if head != "Model":
        assert keras.backend.standardize_dtype(outputs["loss"].dtype) == "float32"
    assert all(np.isfinite(value).all() for value in keras.tree.flatten(as_numpy(outputs)))


@every_model
@pytest.mark.parametrize("length", [29, None])
def test_every_model_composes_in_the_functional_api(kind, head, length):
    inner, arrays = make_model(kind, head=head), make_inputs_for(kind, head)
    names = ["input_ids", "attention_mask", *(["decoder_input_ids"] if head in HEADS[:2] else [])]
    arrays.setdefault("decoder_input_ids", np.ones((3, 6), "int32"))
    arrays = {name: arrays[name] for name in names}
    lengths = {"decoder_input_ids": None if length is None else 6}
    inputs = {name: keras.Input((lengths.get(name, length),), dtype="int32", name=name) for name in names}
    outputs = inner(**inputs)
    assert_close(as_numpy(direct(keras.Model(inputs, outputs), arrays)), as_numpy(direct(inner, arrays)))


@every_model
def test_keywords_a_dict_and_a_list_are_the_same_call(kind, head):
    model, inputs = make_model(kind, head=head), make_inputs_for(kind, head)
    wanted = as_numpy(direct(model, inputs))
    assert_close(as_numpy(direct(model, **inputs)), wanted)
    known = [inputs.get(name) for name in model.input_names[: model.input_names.index("head_mask")]]
    if head == "Model":
        assert None not in [None if x is None else 0 for x in known[:-1]]
    assert_close(as_numpy(direct(model, known)), wanted)


@every_model
def test_predict_joins_batches(kind, head):
    model, inputs = make_model(kind, head=head), make_inputs_for(kind, head)
    model.compile(**FEW_STEPS)
    left_out = ("loss", "encoder_last_hidden_state")  # no batch axis; much memory
    wanted = {name: value for name, value in as_numpy(direct(model, inputs)).items() if name not in left_out}
    assert_close(as_numpy(model.predict(inputs, batch_size=2, verbose=0)), wanted)


@every_kind
def test_an_input_of_another_head_is_an_error_that_names_it(kind):
    with pytest.raises(ValueError, match=r"(?s)inputs must be among .*Received: end_positions, start_positions"):
        make_model(kind)(make_inputs_for(kind, "ForQuestionAnswering"))
    with pytest.raises(ValueError, match=r"(?s)inputs must be among .*Received: labels"):
        make_model(kind, head="ForQuestionAnswering")(make_inputs_for(kind, "ForSequenceClassification"))
    with pytest.raises(ValueError, match="decoder_input_ids or decoder_inputs_embeds must be given"):
        make_model(kind, head="Model")(make_inputs(kind))


@every_kind
def test_a_row_without_an_end_cannot_be_classified(kind):
    model, inputs = make_model(kind, head="ForSequenceClassification"), make_inputs(kind, 20, lengths=(20, 11, 2))
    with pytest.raises(ValueError, match=r"input_ids must hold eos_token_id=\d in every row.*none in row 0"):
        model(inputs)
    # Decoder inputs of the caller's own are classified at their last token that is not padding.
    target = np.array([[5, 6, 7], [5, 6, 1], [5, 1, 1]], "int32")
    mask = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0]], "int32")
    together = as_numpy(direct(model, inputs, decoder_input_ids=target, decoder_attention_mask=mask)["logits"])
    row = {name: value[1:2] for name, value in inputs.items()}
    assert_close(as_numpy(direct(model, row, decoder_input_ids=target[1:2, :2])["logits"])[0], together[1])


@pytest.mark.parametrize("head", HEADS[2:])
def test_a_source_beyond_the_decoders_positions_is_an_error(head):
    inputs = make_inputs_for("led", head, length=33)
    with pytest.raises(ValueError, match="input_ids, which the decoder reads too, must be at most"):
        make_model("led", head=head)(inputs)
