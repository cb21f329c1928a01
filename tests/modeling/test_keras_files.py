"""What Keras saves and copies is the whole model: weights, settings, and where training stands."""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from backends import FEW_STEPS, IS_JAX, direct
from routines import as_numpy, assert_close
from tiny import VOCABULARY, make_inputs, make_labels, make_model, one_layer

import tfmodels

KINDS = ("led", "longt5-tglobal")
TIED = {"led": True, "longt5-tglobal": False}
every_kind = pytest.mark.parametrize("kind", KINDS)


def make(kind, dtype=None, **changes):
    keras.utils.set_random_seed(5)
    return make_model(kind, dtype=dtype, **one_layer(kind), **changes)


def data(kind):
    return {**make_inputs(kind, 21, lengths=(21, 16, 9)), "labels": make_labels()}


def schedule():
    return keras.optimizers.schedules.CosineDecay(1e-2, 10)


def fit(model, kind, epochs=1):
    return model.fit(data(kind), batch_size=1, epochs=epochs, shuffle=False, verbose=0).history


def numbers(variables):
    return [keras.ops.convert_to_numpy(variable.value) for variable in variables]


def assert_same_state(found, wanted):
    for ours, theirs in ((found.variables, wanted.variables), (found.optimizer.variables, wanted.optimizer.variables)):
        assert len(ours) == len(theirs)
        for x, y in zip(numbers(ours), numbers(theirs), strict=True):
            np.testing.assert_array_equal(x, y)


def by_file(model, folder):
    model.save(folder / "model.keras")
    return keras.saving.load_model(folder / "model.keras")


def by_checkpoint(model, folder):
    saving = keras.callbacks.ModelCheckpoint(folder / "checkpoint.keras")
    saving.set_model(model)
    saving.on_epoch_end(0, {})
    return keras.saving.load_model(folder / "checkpoint.keras")


WAYS = {
    "file": by_file,
    "checkpoint": by_checkpoint,
    "pickle": lambda model, _: pickle.loads(pickle.dumps(model)),
    "deepcopy": lambda model, _: copy.deepcopy(model),
}


@pytest.mark.quick("led-file", "led-pickle", "longt5-tglobal-checkpoint", "longt5-tglobal-deepcopy")
@pytest.mark.quick_in_jax("led-file", "longt5-tglobal-checkpoint")
@pytest.mark.parametrize("way", WAYS)
@every_kind
def test_a_compiled_model_goes_on_training_bit_for_bit(kind, way, tmp_path):
    """With dropout, a schedule, clipping, accumulation in the middle of a window, and a metric."""
    optimizer = keras.optimizers.AdamW(schedule(), clipnorm=1.0, gradient_accumulation_steps=2)
    model = make(kind)
    model.compile(optimizer=optimizer, metrics=["accuracy"], **FEW_STEPS)
    fit(model, kind)
    again = WAYS[way](model, tmp_path)
    assert_same_state(again, model)
    assert fit(again, kind) == fit(model, kind)
    assert_same_state(again, model)
    assert set(again.evaluate(data(kind), verbose=0, return_dict=True)) == {"loss", "accuracy"}


@pytest.mark.parametrize("auto_scale_loss", [True, False])
def test_the_loss_scale_is_kept(auto_scale_loss, tmp_path):
    model = make("led", "mixed_float16")
    model.compile(optimizer=keras.optimizers.SGD(0.01), auto_scale_loss=auto_scale_loss, **FEW_STEPS)
    fit(model, "led")
    again = by_file(model, tmp_path)
    assert hasattr(again.optimizer, "dynamic_scale") == auto_scale_loss
    assert_same_state(again, model)
    fit(again, "led"), fit(model, "led")
    assert_same_state(again, model)


@pytest.mark.quick("led-clone", "longt5-tglobal-file")
@pytest.mark.quick_in_jax("led-clone")
@pytest.mark.parametrize("way", [*WAYS, "clone"])
@every_kind
def test_copies_keep_settings_and_config(kind, way, tmp_path):
    model = make(kind)
    model.config = model.config.replace(extra={"our_note": "kept"})
    model.generation_config = tfmodels.GenerationConfig(num_beams=4, max_new_tokens=7, bad_words_ids=[[5, 6]])
    model.gradient_checkpointing_enable()
    clone = keras.models.clone_model(model) if way == "clone" else WAYS[way](model, tmp_path)
    assert clone.generation_config == model.generation_config
    assert clone.config == model.config
    assert [part.gradient_checkpointing for part in (clone.encoder, clone.decoder)] == [True, True]
    if way != "clone":
        inputs = make_inputs(kind)
        np.testing.assert_array_equal(clone.generate(**inputs), model.generate(**inputs))


@pytest.mark.quick("longt5-tglobal")
@every_kind
def test_frozen_parts_stay_frozen(kind, tmp_path):
    model = make(kind)
    model.encoder.trainable = False
    model.decoder.blocks[0].self_attention.q_proj.kernel.trainable = False
    model.compile(optimizer=keras.optimizers.Adam(1e-2), **FEW_STEPS)
    fit(model, kind)
    again = by_file(model, tmp_path)
    assert [v.trainable for v in again.weights] == [v.trainable for v in model.weights]
    assert again.encoder.trainable_variables == []
    fit(again, kind), fit(model, kind)
    assert_same_state(again, model)


@pytest.mark.quick("led")
@every_kind
def test_lora_goes_on_training_and_can_be_trained_after_any_reading(kind, tmp_path):
    model = make(kind)
    model.enable_lora(2)
    model.compile(optimizer=keras.optimizers.Adam(1e-2), **FEW_STEPS)
    fit(model, kind)
    again = by_file(model, tmp_path)
    assert_same_state(again, model)
    fit(again, kind), fit(model, kind)
    assert_same_state(again, model)
    # Without its optimizer, whose variables are those of the factors.
    model.compile(optimizer=keras.optimizers.Adam(1e-2), **FEW_STEPS)
    model.save_weights(tmp_path / "adapted.weights.h5")
    inputs = data(kind)
    wanted = as_numpy(direct(model, inputs)["logits"])
    # The sum is in the kernels, for a model without factors.
    plain = make(kind)
    plain.compile(optimizer=keras.optimizers.Adam(1e-2))
    plain.load_weights(tmp_path / "adapted.weights.h5")
    assert_close(as_numpy(direct(plain, inputs)["logits"]), wanted, 2e-5)
    # Plain weights leave factors that can be trained.
    plain.save_weights(tmp_path / "plain.weights.h5")
    model.load_weights(tmp_path / "plain.weights.h5")
    assert_close(as_numpy(direct(model, inputs)["logits"]), wanted, 2e-5)
    fit(model, kind, epochs=2)
    factors = [v for v in model.trainable_variables if "lora" in v.name]
    assert factors
    assert all(np.abs(x).max() > 0 for x in numbers(factors))


def test_factors_of_another_rank_are_summed_into_the_kernels(tmp_path):
    inputs, models = data("led"), [make("led"), make("led")]
    for model, rank in zip(models, (2, 4), strict=True):
        model.enable_lora(rank)
    for layer in models[0]._flatten_layers():
        if getattr(layer, "lora_enabled", False):
            layer.lora_kernel_b.assign(np.full(layer.lora_kernel_b.shape, 0.1, "float32"))
    models[0].save_weights(tmp_path / "two.weights.h5")
    models[1].load_weights(tmp_path / "two.weights.h5")
    logits = [as_numpy(direct(model, inputs)["logits"]) for model in models]
    assert_close(logits[1], logits[0], 1e-5)
    assert all(np.abs(x).max() > 0 for x in numbers([v for v in models[1].weights if v.name == "lora_kernel_a"]))


@pytest.mark.parametrize("broken", [{"frozen": {"layers": [9999], "weights": []}}, {"lora": {"x": "y"}}, {"frozen": 3}])
def test_broken_states_of_files_are_refused_by_name(broken):
    model = make("led")
    with pytest.raises(ValueError, match="frozen, lora and gradient_checkpointing must be what get_config"):
        type(model).from_config({**model.get_config(), **broken})


@pytest.mark.quick("prune_heads-longt5-tglobal", "resize_token_embeddings-led", "set_input_embeddings-longt5-tglobal")
@pytest.mark.quick_in_jax("prune_heads-longt5-tglobal")
@every_kind
@pytest.mark.parametrize("change", ["prune_heads", "resize_token_embeddings", "set_input_embeddings"])
def test_a_change_through_the_encoder_reaches_the_whole(kind, change, tmp_path):
    model = make(kind, tie_word_embeddings=TIED[kind])
    inputs = {**make_inputs(kind), "decoder_input_ids": np.full((3, 4), 5, "int32")}
    model.generate(**make_inputs(kind), max_new_tokens=2)
    width = model.config.d_model
    argument = {"prune_heads": {0: [1]}, "resize_token_embeddings": VOCABULARY + 3}
    argument["set_input_embeddings"] = np.ones((VOCABULARY + 3, width), "float32")
    getattr(model.get_encoder(), change)(argument[change])
    logits = as_numpy(direct(model, inputs)["logits"])
    assert logits.shape[-1] == model.config.vocab_size == VOCABULARY + (change != "prune_heads") * 3
    assert model.config == model.encoder.config == model.decoder.config
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    assert_close(as_numpy(direct(again, inputs)["logits"]), logits, 1e-6)
    np.testing.assert_array_equal(again.generate(**make_inputs(kind)), model.generate(**make_inputs(kind)))


@pytest.mark.quick("led")
@every_kind
def test_searches_see_layers_that_were_changed_one_by_one(kind):
    model, inputs = make(kind), make_inputs(kind)
    before = model.generate(**inputs, max_new_tokens=2, return_dict=True)
    projection = model.decoder.blocks[0].cross_attention.v_proj
    projection.enable_lora(2)
    projection.lora_kernel_b.assign(np.full(projection.lora_kernel_b.shape, 3.0, "float32"))
    found, wanted = (x.generate(**inputs, max_new_tokens=2, return_dict=True) for x in (model, copy.deepcopy(model)))
    assert_close(as_numpy(found["scores"]), as_numpy(wanted["scores"]), 1e-6)
    assert np.abs(as_numpy(found["scores"]) - as_numpy(before["scores"])).max() > 1e-2


def dtypes_of_projections(model):
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Dense)]
    return {layer.path: layer.compute_dtype for layer in layers}


@pytest.mark.quick("mixed_bfloat16-longt5-tglobal", "mixed_float16-led")
@every_kind
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_a_map_of_policies_reaches_every_layer(kind, policy, tmp_path):
    paths = [layer.path for layer in make(kind)._flatten_layers() if layer.path and layer.weights]
    assert len(set(paths)) == len(paths)
    assert all(path.startswith(paths[0]) for path in paths)
    chosen = ".*/decoder/block_0/cross_attention(/.*)?"
    policies = keras.dtype_policies.DTypePolicyMap(policy, {chosen: keras.DTypePolicy("float32")})
    model = make(kind, policies)
    dtypes = {
        layer.path: layer.compute_dtype for layer in model._flatten_layers() if isinstance(layer, keras.layers.Dense)
    }
    assert {dtype for path, dtype in dtypes.items() if "cross_attention" in path} == {"float32"}
    # T5's output projections leave float16's range, and stay in float32.
    others = {dtype for path, dtype in dtypes.items() if "cross_attention" not in path and not path.endswith("/wo")}
    assert others == {policy.removeprefix("mixed_")}
    model.generate(**make_inputs(kind), max_new_tokens=2)
    model.compile(optimizer="sgd", **FEW_STEPS)
    assert np.isfinite(fit(model, kind)["loss"]).all()
    again = by_file(model, tmp_path)
    same = {
        layer.path: layer.compute_dtype for layer in again._flatten_layers() if isinstance(layer, keras.layers.Dense)
    }
    assert list(same.values()) == list(dtypes.values())


@pytest.mark.quick("longt5-tglobal")
@every_kind
def test_a_map_of_all_paths_can_be_formed(kind):
    model = make(kind)
    policies = keras.dtype_policies.DTypePolicyMap()
    for layer in model._flatten_layers():
        if layer.path is not None and layer.path not in policies:
            policies[layer.path] = keras.DTypePolicy("float32")
    named = keras.utils.set_random_seed(5) or type(model)(model.config, dtype=policies, name=model.name)
    inputs = {**make_inputs(kind), "decoder_input_ids": np.full((3, 4), 5, "int32")}
    assert_close(as_numpy(direct(named, inputs)["logits"]), as_numpy(direct(model, inputs)["logits"]), 1e-6)


RESUMED = """
import sys
sys.path.insert(0, sys.argv[1])
import keras
import test_keras_files as tests
model = keras.saving.load_model(sys.argv[3])
tests.fit(model, sys.argv[2], epochs=2)
model.save(sys.argv[4])
"""


# Some 12 seconds: it imports everything once more. The backend's compiled step, as users run it.
@pytest.mark.parametrize("kind", ["led"])
def test_three_epochs_are_one_and_two_in_another_process(kind, tmp_path):
    here, top = Path(__file__).parent, Path(__file__).parents[1]
    through = make(kind)
    through.compile(optimizer=keras.optimizers.AdamW(schedule()), jit_compile=IS_JAX)
    first = copy.deepcopy(through)
    fit(through, kind, epochs=3)
    fit(first, kind)
    first.save(tmp_path / "first.keras")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(top / "support"), str(top.parent)])}
    command = [sys.executable, "-c", RESUMED, str(here), kind, tmp_path / "first.keras", tmp_path / "last.keras"]
    subprocess.run(command, check=True, env=environment, capture_output=True, timeout=300)
    assert_same_state(keras.saving.load_model(tmp_path / "last.keras"), through)
