"""What every model keeps: one result however it is run, training in every precision, composition, files."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from backends import JIT_COMPILE, TRACES_OF_FIT, direct
from routines import as_numpy, assert_close, assert_eager_graph_and_xla_agree, assert_survives_keras_file
from tiny import KINDS, make_config, make_encoder, make_inputs, make_labels, make_model, one_layer

pytestmark = pytest.mark.covered

every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
def test_eager_graph_and_xla_agree_and_trace_once(kind):
    inputs = {**make_inputs(kind), "labels": make_labels()}
    assert_eager_graph_and_xla_agree(make_model(kind), inputs, 2e-5)


@every_kind
@pytest.mark.parametrize("length", [1, 3, 4, 7, 8, 9, 15, 16, 17, 33, 128, 129])
def test_padding_does_not_change_the_encoding(kind, length):
    encoder = make_encoder(kind)
    alone = make_inputs(kind, length, lengths=(length,), marked=(1,))
    padded = {name: np.pad(value, ((0, 0), (0, 13))) for name, value in alone.items()}
    short = as_numpy(direct(encoder, **alone)["last_hidden_state"])
    long = as_numpy(direct(encoder, **padded)["last_hidden_state"])
    assert_close(long[:, :length], short, 2e-5)


@every_kind
def test_the_company_of_a_row_does_not_change_its_output(kind):
    model, inputs, labels = make_model(kind), make_inputs(kind), make_labels()
    together = as_numpy(direct(model, {**inputs, "labels": labels})["logits"])
    for row in range(3):
        alone = {name: value[row : row + 1] for name, value in {**inputs, "labels": labels}.items()}
        assert_close(as_numpy(direct(model, alone)["logits"])[0], together[row], 2e-5)


@every_kind
def test_keywords_a_dict_and_a_list_are_the_same_call(kind):
    model, inputs, labels = make_model(kind), make_inputs(kind), make_labels()
    by_keyword = as_numpy(direct(model, **inputs, labels=labels))
    assert_close(as_numpy(direct(model, {**inputs, "labels": labels})), by_keyword)
    shifted = np.concatenate([np.full((3, 1), model.config.decoder_start_token_id), labels[:, :-1]], axis=1)
    shifted = np.where(shifted == -100, model.config.pad_token_id, shifted).astype("int32")
    as_list = direct(model, [*inputs.values(), shifted])
    assert_close(as_numpy(as_list["logits"]), by_keyword["logits"])
    assert "loss" not in as_list


POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")


@pytest.mark.parametrize(
    ("kind", "policy", "jit_compile"),
    [(kind, policy, True) for kind in KINDS for policy in POLICIES]
    + [(*case, False) for case in (("led", "float32"), ("longt5-tglobal", "mixed_float16")) if False in JIT_COMPILE],
)
def test_fit_learns_in_every_precision_from_one_trace_per_shape(kind, policy, jit_compile):
    model = make_model(kind, dtype=policy, **one_layer(kind))
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


@every_kind
def test_large_activations_stay_finite_in_float16(kind):
    model = make_model(kind, dtype="mixed_float16", **({} if kind == "led" else {"feed_forward_proj": "gated-gelu"}))
    for weight in model.weights:
        if weight.path.endswith(("wi/kernel", "wi_linear/kernel", "wo/kernel")) and kind != "led":
            weight.assign(weight * 40.0)
    outputs = as_numpy(direct(model, {**make_inputs(kind), "labels": make_labels()}))
    assert all(np.isfinite(value).all() for value in outputs.values())


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


@every_kind
def test_predict_gives_logits_for_every_row(kind):
    model = make_model(kind)
    model.compile()
    batch = {**make_inputs(kind), "labels": make_labels()}
    assert model.predict(batch, batch_size=1, verbose=0)["logits"].shape == (3, 7, 90)


@every_kind
@pytest.mark.parametrize("length", [24, None])
def test_the_encoder_composes_in_the_functional_api_and_survives_a_keras_file(kind, length, tmp_path):
    ids, mask = keras.Input((length,), dtype="int32"), keras.Input((length,), dtype="int32")
    hidden = make_encoder(kind)(ids, attention_mask=mask)["last_hidden_state"]
    assert hidden.shape == (None, length, 32)
    model = keras.Model([ids, mask], keras.layers.Dense(1)(keras.layers.GlobalAveragePooling1D()(hidden)))
    inputs = list(make_inputs(kind, 24, lengths=(24, 11, 2)).values())[:2]
    assert_survives_keras_file(model, inputs, tmp_path)


@every_kind
def test_a_model_survives_a_keras_file(kind, tmp_path):
    model = make_model(kind, dtype="mixed_bfloat16")
    assert_survives_keras_file(model, {**make_inputs(kind), "labels": make_labels()}, tmp_path)
    assert keras.models.load_model(tmp_path / "model.keras").dtype_policy.name == "mixed_bfloat16"


@every_kind
def test_a_pretrained_folder_gives_the_same_model_back(kind, tmp_path):
    model = make_model(kind)
    model.generation_config = model.generation_config.replace(num_beams=3, max_new_tokens=9)
    model.save_pretrained(tmp_path / "saved")
    loaded = type(model).from_pretrained(tmp_path / "saved")
    assert loaded.config == model.config.replace(extra=loaded.config.extra)
    assert loaded.generation_config == model.generation_config
    inputs = {**make_inputs(kind), "labels": make_labels()}
    assert_close(as_numpy(direct(loaded, inputs)), as_numpy(direct(model, inputs)), 1e-6)


@every_kind
def test_a_checkpoint_that_lacks_a_tensor_or_has_another_is_refused(kind, tmp_path):
    from safetensors.numpy import load_file, save_file

    make_model(kind).save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    name = next(name for name in tensors if name.endswith(("fc1.weight", "wi.weight")))
    tensors["surprise.weight"] = tensors.pop(name)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=f"Missing: {name}. Unknown: surprise.weight"):
        type(make_model(kind)).from_pretrained(tmp_path)


def test_an_untied_checkpoint_without_its_head_is_refused_by_name(tmp_path):
    from safetensors.numpy import load_file, save_file

    model = make_model("longt5-local", tie_word_embeddings=False)
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"Missing: lm_head.weight.*holds no head although its config says"):
        type(model).from_pretrained(tmp_path)


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
    if kind != "led":
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
