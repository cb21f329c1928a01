"""What can be done to a model after it is made: vocabularies, pruning, LoRA, quantization, recomputation, counting."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from backends import FEW_STEPS, IS_JAX, MODES, direct, value_and_gradients
from routines import as_numpy, assert_close, assert_survives_keras_file
from tiny import (
    KINDS,
    make_encoder,
    make_inputs,
    make_inputs_for,
    make_labels,
    make_model,
    make_shallow_model,
    no_dropout,
    one_layer,
)

from tfmodels.utils.files import read_json_object

every_kind = pytest.mark.parametrize("kind", KINDS)
every_tie = pytest.mark.parametrize("tied", [True, False])


def batch(kind):
    return {**make_inputs(kind), "labels": make_labels()}


def one_fit(model, kind, steps=3, **compile_arguments):
    model.compile(optimizer=keras.optimizers.Adam(1e-2), **compile_arguments)
    dataset = tf.data.Dataset.from_tensors(batch(kind)).repeat(steps)
    return model.fit(dataset, shuffle=False, verbose=0).history["loss"][0]


@pytest.mark.quick("101-True-led", "90-False-longt5-tglobal", "70-True-longt5-local")
@pytest.mark.quick_in_jax("101-True-led", "70-True-longt5-local")
@every_kind
@every_tie
@pytest.mark.parametrize("tokens", [101, 90, 70])
def test_resized_embeddings_keep_the_old_tokens(kind, tied, tokens, tmp_path):
    model = make_shallow_model(kind, tie_word_embeddings=tied)
    inputs = batch(kind)
    inputs["input_ids"], inputs["labels"] = inputs["input_ids"] % 60, np.where(inputs["labels"] > 0, 5, -100)
    inputs = {name: value.astype("int32") for name, value in inputs.items()}
    before = as_numpy(direct(model, inputs))
    assert model.resize_token_embeddings(tokens) is model.get_input_embeddings()
    after = as_numpy(direct(model, inputs))
    kept = min(tokens, 90)
    assert after["logits"].shape == (3, 7, tokens)
    assert_close(after["logits"][..., :kept], before["logits"][..., :kept])
    assert model.config.vocab_size == model.encoder.config.vocab_size == tokens
    model.save_pretrained(tmp_path)
    assert_close(as_numpy(direct(type(model).from_pretrained(tmp_path), inputs)), after, 1e-6)
    assert_survives_keras_file(model, inputs, tmp_path)
    model.generate(inputs["input_ids"], inputs["attention_mask"], max_new_tokens=2)


def test_bad_vocabularies_are_errors():
    model = make_model("led")
    with pytest.raises(ValueError, match="new_num_tokens must be a positive integer. Received: new_num_tokens=0"):
        model.resize_token_embeddings(0)
    with pytest.raises(ValueError, match=r"\(tokens, d_model=32\). Received: shape \(4, 3\)"):
        model.set_input_embeddings(np.zeros((4, 3)))


@pytest.mark.quick("led")
@every_kind
def test_input_embeddings_can_be_set(kind):
    model, other = make_shallow_model(kind), make_shallow_model(kind)
    ids = {"input_ids": make_inputs(kind)["input_ids"]}
    wanted = as_numpy(other.get_input_embeddings()(ids["input_ids"]))
    model.set_input_embeddings(other.get_input_embeddings())
    assert_close(as_numpy(model.get_input_embeddings()(ids["input_ids"])), wanted)
    assert_close(as_numpy(model.get_encoder().get_input_embeddings()(ids["input_ids"])), wanted)


def test_output_embeddings_are_the_head_or_the_tied_table():
    tied, untied = make_model("led"), make_model("longt5-local", tie_word_embeddings=False)
    assert tied.get_output_embeddings() is tied.get_input_embeddings()
    assert untied.get_output_embeddings() is untied.lm_head
    assert make_model("led", head="Model").get_output_embeddings() is None
    assert tied.get_decoder() is tied.decoder


@pytest.mark.quick("longt5-tglobal")
@every_kind
def test_pruned_heads_are_gone_and_stay_gone(kind, tmp_path):
    model, inputs = make_model(kind), batch(kind)
    weights = model.num_parameters()
    mask = np.ones((2, 4), "float32")
    mask[0, 1] = mask[1, 0] = mask[1, 3] = 0
    wanted = as_numpy(direct(model, {**inputs, "head_mask": mask})["logits"])
    model.prune_heads({0: [1], 1: [0, 3]})
    assert_close(as_numpy(direct(model, inputs)["logits"]), wanted)
    projections = 6 if kind == "led" else 3
    assert model.num_parameters() == weights - 3 * 8 * ((projections + 1) * 32 + (projections if kind == "led" else 0))
    assert_survives_keras_file(model, inputs, tmp_path)
    # A head mask still counts the heads as they were.
    mask[0, 2] = 0
    masked = as_numpy(direct(model, {**inputs, "head_mask": mask})["logits"])
    model.prune_heads({0: [2]})
    assert_close(as_numpy(direct(model, inputs)["logits"]), masked)
    assert model.config.pruned_heads == {0: [1, 2], 1: [0, 3]}


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ({2: [0]}, "pruned_heads must name layers from 0 to 1. Received: layers"),
        ({0: [4]}, "pruned_heads must be heads from 0 to 3"),
        ({0: [0, 1, 2, 3]}, "pruned_heads must leave at least one of 4 heads"),
    ],
)
def test_heads_that_cannot_be_pruned_are_errors(heads, message):
    model = make_model("led")
    with pytest.raises(ValueError, match=message):
        model.prune_heads(heads)


def test_the_last_heads_cannot_be_pruned_later():
    model = make_model("led")
    model.prune_heads({1: [0, 1]})
    with pytest.raises(ValueError, match="must leave at least one of 4 heads"):
        model.prune_heads({1: [2, 3]})
    assert model.config.pruned_heads == {1: [0, 1]}


@pytest.mark.quick("longt5-local")
@every_kind
def test_lora_trains_little_learns_and_is_merged_when_saved(kind, tmp_path):
    model, inputs = make_shallow_model(kind), batch(kind)
    before, whole = as_numpy(direct(model, inputs)), model.num_parameters(only_trainable=True)
    model.enable_lora(2)
    assert_close(as_numpy(direct(model, inputs)), before)
    assert model.num_parameters(only_trainable=True) < whole / 4
    table = as_numpy(model.shared.embeddings)
    one_fit(model, kind, **FEW_STEPS)
    after = as_numpy(direct(model, inputs))
    assert after["loss"] < before["loss"]
    np.testing.assert_array_equal(as_numpy(model.shared.embeddings), table)
    model.save_pretrained(tmp_path)
    assert_close(as_numpy(direct(type(model).from_pretrained(tmp_path), inputs)), after, 1e-5)
    with pytest.raises(ValueError, match="targets must name projections of the model. Received: targets="):
        make_shallow_model(kind).enable_lora(2, targets=["nothing"])
    with pytest.raises(ValueError, match="prune_heads must come before quantize and enable_lora"):
        model.prune_heads({0: [1]})


@pytest.mark.quick("longt5-tglobal-False")
@pytest.mark.parametrize(("kind", "tied"), [("led", True), ("longt5-tglobal", False)])
def test_int8_stays_close_is_smaller_and_generates(kind, tied, tmp_path):
    model, inputs = make_model(kind, tie_word_embeddings=tied, **one_layer(kind)), batch(kind)
    before = as_numpy(direct(model, inputs)["logits"])
    model.quantize("int8")
    assert {str(layer.kernel.dtype) for layer in [model.decoder.blocks[0].self_attention.q_proj]} == {"int8"}
    after = as_numpy(direct(model, inputs)["logits"])
    assert np.abs(after - before).max() < 0.1 * np.abs(before).max()
    generated = model.generate(**make_inputs(kind), max_new_tokens=3, num_beams=2)
    assert generated.shape == (3, 4)
    assert_survives_keras_file(model, inputs, tmp_path)
    with pytest.raises(ValueError, match="save_pretrained writes plain weights"):
        model.save_pretrained(tmp_path / "plain")
    assert not (tmp_path / "plain").exists()
    with pytest.raises(ValueError, match="must come before quantize and enable_lora"):
        model.resize_token_embeddings(100)


@pytest.mark.quick("led", "longt5-tglobal")
@every_kind
def test_parameters_are_counted_as_in_the_reference(kind):
    model = make_model(kind)
    total, tables = model.num_parameters(), 90 * 32
    tables += (160 + 32) * 32 if kind == "led" else 0
    tables += {"led": 0, "longt5-local": 2, "longt5-tglobal": 3}[kind] * 32 * 4
    assert model.num_parameters(exclude_embeddings=True) == total - tables
    assert model.num_parameters(only_trainable=True) == total
    model.summary(print_fn=lambda text: None)


def gradients(model, inputs, seed=3):
    keras.utils.set_random_seed(seed)
    for layer in model._flatten_layers():
        generator = getattr(layer, "seed_generator", None)
        if generator is not None:
            generator.state.assign(np.array([seed, 0], "uint32"))

    def loss(given):
        return model(given, training=True)["loss"], None

    (loss, _), _, found = value_and_gradients(loss, inputs, model, MODES[1])
    return as_numpy([loss, found])


@pytest.mark.quick("longt5-local")
@every_kind
def test_recomputed_blocks_give_the_same_loss_and_gradients_with_dropout(kind):
    model, inputs = make_shallow_model(kind), batch(kind)
    plain = gradients(model, inputs)
    model.gradient_checkpointing_enable()
    assert model.encoder.gradient_checkpointing
    assert model.decoder.gradient_checkpointing
    assert_close(gradients(model, inputs), plain, 1e-5)
    model.gradient_checkpointing_disable()
    assert not model.encoder.gradient_checkpointing


@pytest.mark.quick("led")
@every_kind
def test_recomputation_and_generation_go_together(kind):
    model = make_model(kind, **one_layer(kind))
    wanted = np.asarray(model.generate(**make_inputs(kind), max_new_tokens=4))
    model.gradient_checkpointing_enable()
    np.testing.assert_array_equal(np.asarray(model.generate(**make_inputs(kind), max_new_tokens=4)), wanted)
    assert np.isfinite(one_fit(model, kind, jit_compile=IS_JAX))


def test_dropped_layers_are_dropped_in_training_alone():
    inputs = batch("led")
    model = make_model("led", encoder_layerdrop=0.5, decoder_layerdrop=0.5, dropout=0.0)
    calm = as_numpy(direct(model, inputs)["logits"])
    assert_close(as_numpy(direct(model, inputs)["logits"]), calm)
    found = {as_numpy(direct(model, inputs, training=True)["loss"]).item() for _ in range(12)}
    # Two layers each, kept or dropped: at most 16 results, among them nearly surely more than one.
    assert 1 < len(found) <= 16
    never = make_model("led", dropout=0.0)
    assert_close(as_numpy(direct(never, inputs, training=True)["logits"]), as_numpy(direct(never, inputs)["logits"]))


@pytest.mark.parametrize(
    ("kind", "rate"),
    [("led", "dropout"), ("led", "attention_dropout"), ("led", "activation_dropout"), ("longt5-local", "dropout_rate")],
)
def test_each_rate_has_its_effect_in_training_alone(kind, rate):
    model, inputs = make_model(kind, **{**no_dropout(kind), rate: 0.5}), batch(kind)
    calm = as_numpy(direct(model, inputs)["loss"])
    assert as_numpy(direct(model, inputs)["loss"]) == calm
    assert as_numpy(direct(model, inputs, training=True)["loss"]) != calm


@pytest.mark.quick("longt5-tglobal")
@every_kind
def test_the_classifiers_rate_has_its_effect(kind):
    rates = {**no_dropout(kind), "classifier_dropout": 0.5}
    model = make_shallow_model(kind, head="ForSequenceClassification", **rates)
    inputs = make_inputs_for(kind, "ForSequenceClassification")
    calm = as_numpy(direct(model, inputs)["logits"])
    assert_close(
        as_numpy(direct(model.encode, **{n: inputs[n] for n in make_inputs(kind)}, training=True)),
        as_numpy(direct(model.encode, **{n: inputs[n] for n in make_inputs(kind)})),
    )
    assert not np.allclose(as_numpy(direct(model, inputs, training=True)["logits"]), calm)


def test_a_classifier_takes_y_metrics_and_compiled_losses():
    model, inputs = (
        make_model("led", head="ForSequenceClassification"),
        make_inputs_for("led", "ForSequenceClassification"),
    )
    labels = inputs.pop("labels")
    own = as_numpy(direct(model, {**inputs, "labels": labels})["loss"])
    model.compile(metrics=["accuracy"])
    logs = model.evaluate(inputs, labels, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(own, rel=1e-5)
    assert 0 <= logs["accuracy"] <= 1
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert model.evaluate(inputs, labels, verbose=0, return_dict=True)["loss"] == pytest.approx(own, rel=1e-5)


@pytest.mark.quick("longt5-tglobal")
@every_kind
def test_an_encoder_alone_survives_a_folder(kind, tmp_path):
    encoder, inputs = make_encoder(kind), make_inputs(kind)
    encoder.save_pretrained(tmp_path)
    loaded = type(encoder).from_pretrained(tmp_path)
    assert_close(as_numpy(direct(loaded, inputs)), as_numpy(direct(encoder, inputs)), 1e-6)


@pytest.mark.parametrize("stored", ["float32", "bfloat16", "float16"])
def test_weights_keep_their_type_or_are_cast(stored, tmp_path):
    model, inputs = make_shallow_model("led"), batch("led")
    model.save_pretrained(tmp_path, dtype=stored)
    kept = type(model).from_pretrained(tmp_path, dtype="auto")
    assert kept.dtype_policy.name == stored
    assert {str(weight.dtype) for weight in kept.encoder.blocks[0].feed_forward.weights} >= {stored}
    cast = type(model).from_pretrained(tmp_path)
    assert cast.dtype_policy.name == "float32"
    assert_close(as_numpy(direct(cast, inputs)), as_numpy(direct(model, inputs)), 1e-5 if stored == "float32" else 5e-2)


@pytest.mark.parametrize("quantize", ["a part", "some layers"])
def test_a_model_that_is_quantized_in_part_is_not_saved_as_if_it_could_be_loaded(quantize, tmp_path):
    model = make_model("longt5-local", num_layers=1)
    if quantize == "a part":
        model.encoder.quantize("int8")
    else:
        model.quantize("int8", filters="wi")
    with pytest.raises(ValueError, match="must be quantized as a whole"):
        model.save(tmp_path / "model.keras")


def test_a_vocabulary_that_cannot_change_changes_nothing():
    model = make_model("longt5-local", tie_word_embeddings=False)
    model.enable_lora(2, targets=["lm_head"])
    with pytest.raises(ValueError, match="must come before quantize and enable_lora"):
        model.resize_token_embeddings(np.int64(100))
    assert model.shared.embeddings.shape[0] == model.config.vocab_size == 90


@pytest.mark.quick("longt5-local")
@every_kind
def test_a_saved_config_says_the_type_of_its_weights(kind, tmp_path):
    model = make_shallow_model(kind)
    model.config = model.config.replace(extra={"dtype": "float16", "torch_dtype": "float16"})
    for stored in (None, "bfloat16"):
        model.save_pretrained(tmp_path, dtype=stored)
        values = read_json_object(tmp_path / "config.json")
        assert values["torch_dtype"] == (stored or "float32")
        assert "dtype" not in values
    with pytest.raises(ValueError, match="dtype must be None or one of"):
        model.save_pretrained(tmp_path / "new", dtype="int8")
    assert not (tmp_path / "new").exists()


@pytest.mark.quick("led")
@every_kind
def test_parts_of_a_model_can_be_serialized(kind):
    model = make_shallow_model(kind)
    for part in (model.shared, model.encoder, model.decoder):
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(part))
        assert type(again) is type(part)
        assert keras.tree.map_structure(str, again.get_config()) == keras.tree.map_structure(str, part.get_config())
