"""Settings of a checkpoint: what can be followed stays, the rest is named, and errors say where settings come from."""

import copy
import json
import pickle

import keras
import numpy as np
import pytest
import transformers
from tiny import make_inputs, make_model, model_class, settings

from tfmodels import GenerationConfig, LEDConfig

SOURCE = "the checkpoint's generation_config.json"


def read(folder, **values):
    (folder / "generation_config.json").write_text(json.dumps(values))
    return GenerationConfig.from_json(folder / "generation_config.json", strict=False)


@pytest.mark.parametrize("name", sorted(GenerationConfig.names() - {"num_beams", "max_length"}))
def test_of_the_settings_of_a_file_only_the_bad_one_goes(name, tmp_path):
    with pytest.warns(UserWarning, match=rf"settings of {SOURCE} are left out: {name} \({name} must .*'bad'") as told:
        found = read(tmp_path, **{name: "bad", "num_beams": 4, "max_length": 30})
    assert len(told) == 1
    assert found == GenerationConfig(num_beams=4, max_length=30)


@pytest.mark.parametrize(
    ("values", "gone"),
    [
        ({"temperature": 0.0, "num_beams": 4, "max_length": 30}, ["temperature"]),
        (
            {"temperature": float("nan"), "top_p": 7, "num_beams": "4", "max_length": 30},
            ["num_beams", "temperature", "top_p"],
        ),
        ({"num_beams": 2, "num_return_sequences": 3}, ["num_return_sequences"]),
        ({"num_return_sequences": 3, "do_sample": False, "max_length": 9}, ["num_return_sequences"]),
        ({"min_length": 56, "max_length": 30, "num_beams": 4}, ["min_length"]),
        ({"min_new_tokens": 56, "max_new_tokens": 30, "num_beams": 4}, ["min_new_tokens"]),
        ({"forced_bos_token_id": 7, "suppress_tokens": [7, 8]}, ["forced_bos_token_id"]),
        # One setting contradicts two: it goes alone.
        (
            {"forced_bos_token_id": 7, "forced_eos_token_id": 8, "suppress_tokens": [7, 8], "num_beams": 4},
            ["suppress_tokens"],
        ),
        (
            {"min_length": 56, "max_length": 30, "num_beams": 2, "num_return_sequences": 3, "eos_token_id": [1, 5]},
            ["min_length", "num_return_sequences"],
        ),
    ],
)
def test_of_settings_that_contradict_each_other_the_fewest_go(values, gone, tmp_path):
    with pytest.warns(UserWarning, match="are left out") as told:
        found = read(tmp_path, **values)
    assert found == GenerationConfig(**{name: value for name, value in values.items() if name not in gone})
    for name in gone:
        assert f"{name} (" in str(told[0].message)


def test_a_setting_of_a_file_that_is_nested_without_end_goes_alone(tmp_path):
    deep = json.loads("[" * 500 + "]" * 500)
    with pytest.warns(UserWarning, match=r"suppress_tokens \(suppress_tokens must be nested at most 50 deep"):
        assert read(tmp_path, suppress_tokens=deep, num_beams=4) == GenerationConfig(num_beams=4)
    with pytest.warns(UserWarning, match=r"change nothing: \['force_words_ids'\]"):
        assert read(tmp_path, force_words_ids=deep, num_beams=4) == GenerationConfig(num_beams=4)


def test_bad_settings_inside_a_models_config_go_alone():
    config = LEDConfig.from_dict({**settings("led"), "temperature": 0.0, "num_beams": 4, "max_length": 30})
    with pytest.warns(UserWarning, match="settings of the model's config are left out: temperature .*temperature=0.0"):
        found = model_class("led")(config).generation_config
    assert (found.num_beams, found.max_length, found.temperature) == (4, 30, 1.0)


def test_without_a_start_token_a_file_begins_with_its_first_token_as_in_the_reference(tmp_path):
    assert read(tmp_path, bos_token_id=3, eos_token_id=2).decoder_start_token_id == 3
    assert read(tmp_path, bos_token_id=3, decoder_start_token_id=2).decoder_start_token_id == 2
    assert GenerationConfig.of(transformers.GenerationConfig(bos_token_id=3)).decoder_start_token_id is None


def test_an_error_says_where_a_setting_comes_from_that_the_caller_did_not_write(tmp_path):
    found = read(tmp_path, num_beams=2, min_new_tokens=6, forced_bos_token_id=900, suppress_tokens=[5])
    with pytest.raises(ValueError, match=rf"Received: num_return_sequences=3 \(num_beams=2 comes from {SOURCE}\)"):
        found.replace(num_return_sequences=3)
    with pytest.raises(ValueError, match=rf"min_new_tokens must be at most .*\(min_new_tokens=6 comes from {SOURCE}\)"):
        found.replace(max_new_tokens=4)
    with pytest.raises(ValueError, match=rf"Received: 900 \(forced_bos_token_id=900 comes from {SOURCE}\)"):
        found.check_vocabulary(90)
    with pytest.raises(ValueError, match=rf"\(suppress_tokens=\(5,\) comes from {SOURCE}\)"):
        found.replace(forced_bos_token_id=5)
    with pytest.raises(ValueError, match="Received: num_return_sequences=5$"):
        found.replace(num_beams=4, num_return_sequences=5)
    (tmp_path / "mine.json").write_text('{"top_p": 7}')
    with pytest.raises(ValueError, match=r"top_p must be .*Received: top_p=7 \(from the file .*mine.json\)"):
        GenerationConfig.from_json(tmp_path / "mine.json")


def test_an_error_of_generate_says_where_a_setting_comes_from(tmp_path):
    model, inputs = make_model("led"), make_inputs("led")
    model.generation_config = read(tmp_path, num_beams=2, suppress_tokens=[900])
    with pytest.raises(ValueError, match=rf"num_return_sequences=3 \(num_beams=2 comes from {SOURCE}\)"):
        model.generate(**inputs, num_return_sequences=3)
    with pytest.raises(ValueError, match=rf"Received: 900 \(suppress_tokens=\(900,\) comes from {SOURCE}\)"):
        model.generate(**inputs)
    ids = GenerationConfig(pad_token_id=5).with_ids_of(model.config)
    assert ids.origin("pad_token_id", "eos_token_id") == " (eos_token_id=2 comes from the model's config)"


def test_where_settings_come_from_makes_no_other_settings(tmp_path):
    found, same = read(tmp_path, num_beams=2), GenerationConfig(num_beams=2)
    assert found == same
    assert hash(found) == hash(same)
    assert repr(found) == repr(same)
    assert found.to_dict() == same.to_dict()
    for again in (copy.deepcopy(found), pickle.loads(pickle.dumps(found)), found.replace(no_repeat_ngram_size=3)):
        assert again.origin("num_beams") == f" (num_beams=2 comes from {SOURCE})"
    assert not same.origin("num_beams")


def test_settings_are_taken_from_whatever_holds_them():
    ours = GenerationConfig(num_beams=4, max_new_tokens=9, bad_words_ids=[[3], [4, 5]])
    values = {"num_beams": 4, "max_new_tokens": 9, "bad_words_ids": [[3], [4, 5]]}
    for given in (ours, values, transformers.GenerationConfig(**values)):
        assert GenerationConfig.of(given) == ours
    assert GenerationConfig.of(None, ours) is ours
    assert GenerationConfig.of(None) == GenerationConfig()
    # The reference's default length is 20, and who writes a dict means the number.
    assert GenerationConfig.of({"max_length": 20}).total_length(prompt_length=4) == 20
    assert GenerationConfig.of(transformers.GenerationConfig()).total_length(prompt_length=4) == 24
    for given in ("generation_config.json", 4, [("num_beams", 4)], GenerationConfig, transformers.GenerationConfig):
        with pytest.raises(ValueError, match="generation_config must be a GenerationConfig, a mapping of settings or"):
            GenerationConfig.of(given)
    assert GenerationConfig.of({"num_beam_groups": np.int64(1), "max_time": None}) == GenerationConfig()
    with pytest.raises(ValueError, match=r"must be among .* Received: \['1', 'num_beam_groups'\]"):
        GenerationConfig.of({1: 2, "num_beam_groups": 2})


def test_none_turns_a_setting_of_a_file_off_as_in_the_reference():
    found = GenerationConfig.from_dict({"temperature": 0.7, "top_k": 5, "top_p": 0.5, "num_beams": 4, "max_length": 9})
    off = found.replace(temperature=None, top_k=None, top_p=None, num_beams=None, max_length=None)
    assert off == GenerationConfig(top_k=0)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (
            {"num_beams": np.int64(4), "no_repeat_ngram_size": np.array(7), "seed": np.uint8(3)},
            {"num_beams": 4, "no_repeat_ngram_size": 7, "seed": 3},
        ),
        ({"do_sample": np.bool_(True), "temperature": np.float64(0.8)}, {"do_sample": True, "temperature": 0.8}),
        (
            {"length_penalty": np.float32(0.5), "repetition_penalty": np.int32(2)},
            {"length_penalty": 0.5, "repetition_penalty": 2},
        ),
        (
            {"eos_token_id": np.array([1, 7]), "suppress_tokens": np.array(9)},
            {"eos_token_id": [1, 7], "suppress_tokens": 9},
        ),
        ({"bad_words_ids": np.array([[3, 4]])}, {"bad_words_ids": [[3, 4]]}),
        ({"bad_words_ids": (np.array([3]), np.array([4, 5]))}, {"bad_words_ids": [[3], [4, 5]]}),
        ({"exponential_decay_length_penalty": np.array([5, 2])}, {"exponential_decay_length_penalty": (5, 2.0)}),
        ({"temperature": np.longdouble(0.5), "do_sample": True}, {"temperature": 0.5, "do_sample": True}),
        ({"length_penalty": np.asarray(0.5, "bfloat16")}, {"length_penalty": 0.5}),
        ({"early_stopping": np.str_("never")}, {"early_stopping": "never"}),
        ({"suppress_tokens": keras.ops.convert_to_tensor([4, 5])}, {"suppress_tokens": [4, 5]}),
    ],
)
def test_numbers_and_arrays_of_other_libraries_mean_what_they_hold(given, meant):
    wanted = GenerationConfig(**meant)
    for found in (GenerationConfig(**given), GenerationConfig().replace(**given), GenerationConfig.from_dict(given)):
        assert found == wanted
        assert hash(found) == hash(wanted)
        json.dumps(found.to_dict(), allow_nan=False)
        assert repr(found) == repr(wanted)


@pytest.mark.parametrize(
    "given",
    [
        {"num_beams": np.float32(4)},
        {"num_beams": np.bool_(True)},
        {"num_beams": np.array([4])},
        {"num_beams": np.str_("4")},
        {"do_sample": np.int64(1)},
        {"temperature": np.float32("nan")},
        {"temperature": np.float64("inf")},
        {"temperature": np.array([0.5, 0.7])},
        {"temperature": np.complex64(1)},
        {"num_beams": np.timedelta64(4, "ns")},
        {"eos_token_id": np.array([1.0, 2.0])},
        {"eos_token_id": np.array([[1, 2]])},
        {"suppress_tokens": np.array([-1])},
        {"bad_words_ids": np.array([3, 4])},
        {"num_beams": keras.KerasTensor((), "int32")},
    ],
)
def test_numbers_of_a_wrong_kind_are_refused_whatever_library_they_come_from(given):
    (name,) = given
    with pytest.raises(ValueError, match=rf"^{name} must "):
        GenerationConfig(**given)
