"""Bad calls, configs and files are named; what padding, marks and compiled losses change and leave."""

import keras
import numpy as np
import pytest
from backends import direct
from routines import as_numpy, assert_close
from tiny import (
    HEADS,
    KINDS,
    make_config,
    make_encoder,
    make_inputs,
    make_inputs_for,
    make_labels,
    make_model,
    one_layer,
)

every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.mark.quick("1-led", "3-longt5-*", "4-longt5-*", "7-led", "8-*", "9-longt5-local", "1[567]-*", "129-*")
@pytest.mark.quick_in_jax("1-led", "4-longt5-local", "8-led", "17-led", "33-longt5-tglobal")
@every_kind
@pytest.mark.parametrize("length", [1, 3, 4, 7, 8, 9, 15, 16, 17, 33, 128, 129])
def test_padding_does_not_change_the_encoding(kind, length):
    encoder = make_encoder(kind)
    alone = make_inputs(kind, length, lengths=(length,), marked=(1,))
    padded = {name: np.pad(value, ((0, 0), (0, 13))) for name, value in alone.items()}
    short = as_numpy(direct(encoder, **alone)["last_hidden_state"])
    long = as_numpy(direct(encoder, **padded)["last_hidden_state"])
    assert_close(long[:, :length], short, 2e-5)


@pytest.mark.quick("longt5-local")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if hasattr(make_config(kind), "feed_forward_proj")])
def test_large_activations_of_gates_stay_finite_in_float16(kind):
    model = make_model(kind, dtype="mixed_float16", feed_forward_proj="gated-gelu", **one_layer(kind))
    for weight in model.weights:
        if weight.path.endswith(("wi/kernel", "wi_linear/kernel", "wo/kernel")):
            weight.assign(weight * 40.0)
    outputs = as_numpy(direct(model, {**make_inputs(kind), "labels": make_labels()}))
    assert all(np.isfinite(value).all() for value in outputs.values())


@pytest.mark.quick("led")
@every_kind
def test_labels_may_be_given_as_y_and_a_compiled_loss_is_used(kind):
    model, inputs, labels = make_model(kind), make_inputs(kind), np.maximum(make_labels(), 1)
    own = float(model({**inputs, "labels": labels})["loss"])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with_target = {
        **inputs,
        "decoder_input_ids": np.pad(
            labels[:, :-1], ((0, 0), (1, 0)), constant_values=model.config.decoder_start_token_id
        ),
    }
    assert model.evaluate(with_target, labels, verbose=0) == pytest.approx(own, rel=1e-5)
    model.compile()
    assert model.evaluate(with_target, labels, verbose=0) == pytest.approx(own, rel=1e-5)


@pytest.mark.quick("longt5-tglobal", "led")
@every_kind
def test_bad_calls_are_errors_that_name_the_argument(kind):
    model, inputs = make_model(kind), make_inputs(kind)
    with pytest.raises(ValueError, match="decoder_input_ids or decoder_inputs_embeds or labels must be given"):
        model(**inputs)
    with pytest.raises(ValueError, match="inputs must be among .* Received: inputs_ids"):
        model({"inputs_ids": inputs["input_ids"]})
    with pytest.raises(ValueError, match="input_ids, inputs_embeds or encoder_outputs must be given"):
        model(labels=make_labels())
    with pytest.raises(ValueError, match="name_or_folder must be a folder or a hub id"):
        type(model).from_pretrained("./nowhere")
    if "global_attention_mask" not in model.encoder_inputs:
        with pytest.raises(ValueError, match="Received: global_attention_mask"):
            model(**inputs, global_attention_mask=inputs["attention_mask"], labels=make_labels())


def test_a_length_beyond_the_positions_is_an_error():
    model = make_model("led")
    with pytest.raises(ValueError, match="at most max_encoder_position_embeddings=160 tokens. Received: 161 tokens"):
        model({**make_inputs("led", 161), "labels": make_labels()})
    with pytest.raises(ValueError, match="at most max_decoder_position_embeddings=32 tokens. Received: 33 tokens"):
        model({**make_inputs("led"), "labels": make_labels(33)})
    with pytest.raises(ValueError, match="at most max_decoder_position_embeddings=32. Received: 33"):
        model.generate(**make_inputs("led"), max_new_tokens=33)


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("led", {"attention_window": [8, 7]}, r"attention_window must be even and positive. Received: .*\[8, 7\]"),
        ("led", {"attention_window": [8]}, "one for each of encoder_layers=2"),
        ("led", {"encoder_attention_heads": 5}, "encoder_attention_heads must divide d_model"),
        ("led", {"activation_function": "swish2"}, "activation must be one of"),
        ("led", {"dropout": 1.0}, r"dropout must be in \[0, 1\). Received: dropout=1.0"),
        ("led", {"max_global_tokens": -1}, "max_global_tokens must be from 0 to 160"),
        ("longt5-local", {"encoder_attention_type": "full"}, "encoder_attention_type must be one of"),
        ("longt5-local", {"feed_forward_proj": "gelu-gated"}, "feed_forward_proj must be an activation or 'gated-'"),
        ("longt5-local", {"num_layers": 0}, "num_layers must be a positive integer. Received: num_layers=0"),
        ("longt5-local", {"d_model": "32"}, "d_model must be of type int and finite. Received: d_model='32'"),
    ],
)
def test_config_fields_out_of_range_are_errors(kind, changes, message):
    with pytest.raises(ValueError, match=message):
        make_config(kind, **changes)


def test_a_config_keeps_the_keys_that_it_does_not_know(tmp_path):
    config = make_config("led").from_dict({**make_config("led").to_dict(), "task_specific_params": {"0": "yes"}})
    config.to_json(tmp_path / "config.json")
    assert type(config).from_json(tmp_path / "config.json").extra["task_specific_params"] == {"0": "yes"}
    with pytest.raises(ValueError, match="model_type must be 'longt5' for LongT5Config. Received: model_type='led'"):
        make_config("longt5-local").from_json(tmp_path / "config.json")


def test_a_checkpoint_may_hold_a_copy_for_its_original_and_tensors_that_the_caller_names(tmp_path):
    from safetensors.numpy import load_file, save_file

    model = make_model("led")
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["led.decoder.embed_tokens.weight"] = tensors.pop("led.shared.weight")
    tensors["old.weight"] = np.zeros((2,), "float32")
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="Unknown: old.weight"):
        type(model).from_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path, ignore_tensors=["old.weight"])
    np.testing.assert_array_equal(loaded.shared.embeddings, model.shared.embeddings)
    tensors["lm_head.weight"] = tensors["led.decoder.embed_tokens.weight"] + 1
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="as equal tensors: they are one weight"):
        type(model).from_pretrained(tmp_path, ignore_tensors=["old.weight"])


def test_marks_on_padding_do_not_count_toward_the_capacity():
    model = make_model("led", max_global_tokens=2)
    inputs = make_inputs("led", marked=(1, 1, 1))
    marks = inputs["global_attention_mask"] | (1 - inputs["attention_mask"])
    labels = make_labels()
    marked = as_numpy(direct(model, {**inputs, "global_attention_mask": marks, "labels": labels})["logits"])
    assert_close(marked, as_numpy(direct(model, {**inputs, "labels": labels})["logits"]))


def test_a_led_file_without_the_bias_of_logits_means_zeros(tmp_path):
    from safetensors.numpy import load_file, save_file

    model, inputs = make_model("led"), {**make_inputs("led"), "labels": make_labels()}
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["final_logits_bias"]
    save_file(tensors, tmp_path / "model.safetensors")
    assert_close(as_numpy(direct(type(model).from_pretrained(tmp_path), inputs)), as_numpy(direct(model, inputs)), 1e-6)


@pytest.mark.quick("longt5-local")
@every_kind
def test_an_input_of_another_head_is_an_error_that_names_it(kind):
    with pytest.raises(ValueError, match=r"(?s)inputs must be among .*Received: end_positions, start_positions"):
        make_model(kind)(make_inputs_for(kind, "ForQuestionAnswering"))
    with pytest.raises(ValueError, match=r"(?s)inputs must be among .*Received: labels"):
        make_model(kind, head="ForQuestionAnswering")(make_inputs_for(kind, "ForSequenceClassification"))
    with pytest.raises(ValueError, match="decoder_input_ids or decoder_inputs_embeds must be given"):
        make_model(kind, head="Model")(make_inputs(kind))


@pytest.mark.quick("longt5-tglobal")
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
