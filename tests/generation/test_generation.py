"""Generation keeps one result however it is run, and refuses bad settings; for the reference see tests/parity."""

import numpy as np
import pytest
from backends import IS_JAX, MODES, Compiled, as_tensor, carried_shapes, direct
from routines import as_numpy
from tiny import KINDS, make_inputs, make_model, make_shallow_model

from tfmodels import GenerationConfig
from tfmodels.modeling import text_generator
from tfmodels.modeling.generation_inputs import GenerationInputs

every_kind = pytest.mark.parametrize("kind", KINDS)
searches = pytest.mark.parametrize("search", [{"num_beams": 1}, {"num_beams": 3, "no_repeat_ngram_size": 2}])


def sharpen(model):
    """Spread the logits, so that no two continuations tie."""
    model.shared.embeddings.assign(model.shared.embeddings * (20.0 if hasattr(model.config, "init_std") else 3.0))
    return model


@searches
def test_an_outer_function_finds_the_same(search):
    model, inputs = sharpen(make_shallow_model("led")), make_inputs("led")
    plain = np.asarray(model.generate(**inputs, max_new_tokens=9, **search))

    def generate(given):
        return model.generate(**given, max_new_tokens=9, **search)

    outer = Compiled(generate, model, MODES[1], autograph=True)
    np.testing.assert_array_equal(np.asarray(outer(inputs)), plain)
    assert plain.shape == (3, 10)
    assert plain.dtype == np.int32


@every_kind
def test_greedy_equals_choosing_the_best_token_of_the_full_pass_again_and_again(kind):
    model, inputs = sharpen(make_model(kind)), make_inputs(kind)
    generated = np.asarray(model.generate(**inputs, max_new_tokens=8))
    tokens = np.repeat(generated[:, :1], 9, axis=1)
    for place in range(8):
        # What stands after this place changes nothing: the decoder is causal.
        logits = as_numpy(direct(model, {**inputs, "decoder_input_ids": tokens})["logits"])[:, place]
        tokens[:, place + 1] = logits.argmax(-1)
    for row, wanted in zip(generated, tokens, strict=True):
        ends = np.flatnonzero(wanted[1:] == model.config.eos_token_id)
        stop = ends[0] + 2 if len(ends) else len(wanted)
        np.testing.assert_array_equal(row[:stop], wanted[:stop])
        assert (row[stop:] == model.config.pad_token_id).all()


@pytest.mark.quick("search0-led")
@every_kind
@searches
def test_one_trace_per_shape_and_settings(kind, search, monkeypatch):
    model, traces = make_shallow_model(kind), []
    run = model._text_generator._generate
    monkeypatch.setattr(model._text_generator, "_generate", lambda *args: traces.append(1) or run(*args))
    for seed in range(3):
        model.generate(**make_inputs(kind, seed=seed), max_new_tokens=4, **search)
    assert len(model._text_generator._programs) == 1
    assert len(traces) == 1


@pytest.mark.quick("search1-longt5-tglobal")
@every_kind
@searches
def test_the_company_of_a_row_does_not_change_its_summary(kind, search):
    model, inputs = sharpen(make_shallow_model(kind)), make_inputs(kind)
    together = np.asarray(model.generate(**inputs, max_new_tokens=7, **search))
    for row in range(3):
        alone = {name: value[row : row + 1] for name, value in inputs.items()}
        np.testing.assert_array_equal(np.asarray(model.generate(**alone, max_new_tokens=7, **search))[0], together[row])


@pytest.mark.quick("longt5-local")
@every_kind
def test_encoder_outputs_may_be_given_in_place_of_ids(kind):
    model, inputs = sharpen(make_shallow_model(kind)), make_inputs(kind)
    encoded = direct(model.encode, **inputs)
    found = model.generate(encoder_outputs=encoded, attention_mask=inputs["attention_mask"], max_new_tokens=6)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(model.generate(**inputs, max_new_tokens=6)))


@pytest.mark.quick("led")
@every_kind
def test_embeddings_may_be_given_in_place_of_ids(kind):
    model, inputs = sharpen(make_shallow_model(kind)), make_inputs(kind)
    wanted = np.asarray(model.generate(**inputs, max_new_tokens=6))
    embeds = np.array(direct(model.shared, inputs.pop("input_ids")))
    if kind == "led":  # whose padding token has no embedding
        embeds[inputs["attention_mask"] == 0] = 0
    found = model.generate(inputs_embeds=embeds, **inputs, max_new_tokens=6)
    np.testing.assert_array_equal(np.asarray(found), wanted)
    # Beside embeddings the ids serve the rules that look at the document.
    rule = {"encoder_no_repeat_ngram_size": 1, "max_new_tokens": 6}
    ids = make_inputs(kind)["input_ids"]
    found = np.asarray(model.generate(inputs_embeds=embeds, input_ids=ids, **inputs, **rule))
    assert not set(found[0, 1:].tolist()) & set(ids[0].tolist())


@pytest.mark.quick("longt5-tglobal")
@every_kind
def test_searches_without_a_seed_differ_in_a_compiled_function_too(kind):
    model, inputs = sharpen(make_shallow_model(kind)), make_inputs(kind)
    draw = {"do_sample": True, "temperature": 5.0, "top_k": 0, "max_new_tokens": 9}
    if not IS_JAX:  # whose compiled functions have no state to draw a seed from
        outer = Compiled(lambda given: model.generate(**given, **draw), model, MODES[1])
        assert (np.asarray(outer(inputs)) != np.asarray(outer(inputs))).any()
    assert (np.asarray(model.generate(**inputs, **draw)) != np.asarray(model.generate(**inputs, **draw))).any()


def test_documents_keys_and_values_are_not_repeated_for_beams():
    model, inputs = make_model("longt5-tglobal"), make_inputs("longt5-tglobal")
    cross = model.decoder.cross_keys_values(model.encode(**inputs)["last_hidden_state"])
    assert {keys.shape[0] for keys, _ in cross} == {3}
    traced = model._text_generator._programs
    model.generate(**inputs, num_beams=4, max_new_tokens=6)
    (function,) = traced.values()
    tensors = {name: as_tensor(value) for name, value in inputs.items()}
    loops = carried_shapes(function, GenerationInputs(**tensors, prompt=as_tensor(np.zeros((3, 1), "int32"))))
    # A document's 4 beams share a cache with room for 6 tokens of each; nothing has 12 rows of the document's 53.
    (carried,) = [shapes for shapes in loops if (3, 4, 8, 24) in shapes]
    assert (3, 4, 8, 53) in carried
    assert not [shape for shapes in loops for shape in shapes if shape[:1] == (12,) and 53 in shape]


@pytest.mark.quick("led-mixed_float16", "longt5-local-mixed_bfloat16")
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@every_kind
def test_generation_runs_in_mixed_precision(kind, policy):
    model = make_shallow_model(kind, dtype=policy)
    settings = GenerationConfig(num_beams=2, max_new_tokens=5)
    for jit_compile in (False, True):
        found = model.generate(
            **make_inputs(kind), generation_config=settings, return_dict=True, jit_compile=jit_compile
        )
        assert np.isfinite(as_numpy(found["sequences_scores"])).all()


def test_settings_survive_a_file_and_unsupported_ones_are_named(tmp_path):
    settings = GenerationConfig(num_beams=4, max_length=512, length_penalty=2.0, early_stopping=True)
    settings.to_json(tmp_path / "generation_config.json")
    assert GenerationConfig.from_json(tmp_path / "generation_config.json") == settings
    with pytest.raises(ValueError, match=r"must be among .*Received: \['num_beam_groups', 'penalty'\]"):
        GenerationConfig.from_dict({"num_beam_groups": 2, "penalty": 1, "transformers_version": "4.57.0"})
    with pytest.warns(UserWarning, match=r"not supported and change nothing: \['num_beam_groups'\]"):
        GenerationConfig.from_dict({"num_beam_groups": 2}, strict=False)
    assert GenerationConfig.from_dict({"num_beam_groups": 1, "max_time": None}) == GenerationConfig()


def test_more_global_tokens_than_capacity_is_an_error():
    inputs = make_inputs("led", marked=(5, 1, 1))
    with pytest.raises(ValueError, match="at most max_global_tokens=4 tokens per row. Received: 5 in row 0"):
        make_shallow_model("led", max_global_tokens=4).generate(**inputs, max_new_tokens=3)


@pytest.mark.quick("longt5-tglobal")
@every_kind
def test_a_dict_a_list_and_keywords_are_the_same_call(kind):
    model, inputs = sharpen(make_shallow_model(kind)), make_inputs(kind)
    wanted = np.asarray(model.generate(**inputs, max_new_tokens=6))
    np.testing.assert_array_equal(np.asarray(model.generate(inputs, max_new_tokens=6)), wanted)
    np.testing.assert_array_equal(np.asarray(model.generate(list(inputs.values()), max_new_tokens=6)), wanted)
    with pytest.raises(
        ValueError, match=r"input_ids must be a \(batch, length\) array of numbers. Received: shape \(3,\)"
    ):
        model.generate(np.array([5, 6, 7]))


def test_encoder_outputs_as_arrays_keep_their_fractions():
    model, inputs = sharpen(make_shallow_model("longt5-local")), make_inputs("longt5-local")
    encoded = {"last_hidden_state": np.asarray(model.encode(**inputs)["last_hidden_state"])}
    found = model.generate(encoder_outputs=encoded, attention_mask=inputs["attention_mask"], max_new_tokens=6)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(model.generate(**inputs, max_new_tokens=6)))


def test_settings_without_special_ids_take_the_models():
    model, inputs = sharpen(make_shallow_model("led")), make_inputs("led")
    found = model.generate(**inputs, generation_config=GenerationConfig(max_new_tokens=6, num_beams=2))
    wanted = model.generate(**inputs, max_new_tokens=6, num_beams=2)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(wanted))
    assert (np.asarray(found)[:, 0] == model.config.decoder_start_token_id).all()


def test_sampling_settings_of_a_file_wait_for_a_call_that_samples():
    settings = GenerationConfig.from_dict({"temperature": 0.7, "top_k": None, "do_sample": False})
    assert (settings.replace(do_sample=True).temperature, settings.top_k) == (0.7, 0)
    model, inputs = sharpen(make_shallow_model("led")), make_inputs("led")
    found = model.generate(**inputs, generation_config=settings, max_new_tokens=6)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(model.generate(**inputs, max_new_tokens=6)))


def test_settings_that_a_checkpoint_contradicts_itself_with_are_left_out_with_a_warning():
    values = {"min_length": 56, "max_length": 30, "num_beams": 4, "eos_token_id": [1, 5]}
    with pytest.raises(ValueError, match="min_length must be at most the full length of 30"):
        GenerationConfig.from_dict(values)
    with pytest.warns(UserWarning, match=r"left out: min_length \(min_length must be at most"):
        found = GenerationConfig.from_dict(values, strict=False)
    assert found == GenerationConfig(max_length=30, num_beams=4, eos_token_id=[1, 5])


def test_special_ids_of_the_models_settings_hold_beside_those_of_a_call():
    model, inputs = sharpen(make_shallow_model("led")), make_inputs("led")
    plain = np.asarray(model.generate(**inputs, max_new_tokens=9))
    end = int(plain[0, 3])
    model.generation_config = model.generation_config.replace(eos_token_id=[2, end])
    found = np.asarray(model.generate(**inputs, generation_config=GenerationConfig(max_new_tokens=9)))
    assert end not in found[0, :-1].tolist()[: found[0].tolist().index(end)]
    assert (found[0, found[0].tolist().index(end) + 1 :] == model.config.pad_token_id).all()


def test_a_service_with_many_settings_keeps_few_programs(monkeypatch):
    model, inputs = make_shallow_model("led"), make_inputs("led")
    monkeypatch.setattr(text_generator, "_MOST_PROGRAMS", 2)
    for tokens in (2, 3, 4):
        model.generate(**inputs, max_new_tokens=tokens)
    assert [key[0].max_new_tokens for key in model._text_generator._programs] == [3, 4]


def test_a_model_without_global_slots_ignores_marks():
    inputs = make_inputs("led")
    model = sharpen(make_shallow_model("led", max_global_tokens=0))
    marked = np.asarray(model.generate(**inputs, max_new_tokens=5))
    inputs.pop("global_attention_mask")
    np.testing.assert_array_equal(marked, np.asarray(model.generate(**inputs, max_new_tokens=5)))
