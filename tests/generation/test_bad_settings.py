"""Bad settings and inputs are errors that name them, and none reaches another row."""

import numpy as np
import pytest
from routines import as_numpy
from test_generation import every_kind, sharpen
from tiny import VOCABULARY, make_inputs, make_shallow_model

from tfmodels import GenerationConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_beams": 0}, "num_beams must be a positive integer. Received: num_beams=0"),
        ({"num_beams": True}, "num_beams must be a positive integer. Received: num_beams=True"),
        ({"num_beams": 2, "num_return_sequences": 3}, "num_return_sequences must be at most num_beams=2"),
        ({"num_return_sequences": 2}, "num_return_sequences must be at most num_beams=1"),
        ({"min_length": 12, "max_new_tokens": 5}, "min_length must be at most the full length of 6 tokens"),
        ({"min_new_tokens": 6, "max_new_tokens": 5}, "min_new_tokens must be at most the full length of 6 tokens"),
        ({"max_length": 1}, "max_length must be an integer of at least 2"),
        ({"max_new_tokens": 0}, "max_new_tokens must be a positive integer"),
        ({"early_stopping": "soon"}, "early_stopping must be True, False or 'never'"),
        ({"length_penalty": float("nan")}, "length_penalty must be a finite number"),
        ({"repetition_penalty": 0.0}, "repetition_penalty must be a number above 0. Received: repetition_penalty=0.0"),
        ({"temperature": 0.5}, "temperature must go with do_sample=True. Received: temperature=0.5"),
        ({"do_sample": True, "temperature": -1.0}, "temperature must be a number above 0"),
        ({"do_sample": True, "top_p": 1.5}, "top_p must be a number above 0 and at most 1"),
        ({"do_sample": True, "min_p": -0.1}, "min_p must be a number of at least 0 and at most 1"),
        ({"do_sample": "yes"}, "do_sample must be True or False. Received: do_sample='yes'"),
        ({"seed": -1}, "seed must be an integer of at least 0"),
        ({"bad_words_ids": [3, 4]}, "bad_words_ids must be a list of lists of ids"),
        ({"bad_words_ids": [[]]}, "bad_words_ids must hold words of at least one id"),
        ({"eos_token_id": [1, "end"]}, "eos_token_id must be an integer of at least 0. Received: eos_token_id='end'"),
        ({"exponential_decay_length_penalty": 1.5}, r"exponential_decay_length_penalty must be \(start, factor\)"),
        ({"suppress_tokens": [4, VOCABULARY]}, f"suppress_tokens must be below the vocabulary's {VOCABULARY} tokens"),
        ({"bad_words_ids": [[4, 999]]}, "bad_words_ids must be below the vocabulary's .* Received: 999"),
        ({"forced_bos_token_id": 999}, "forced_bos_token_id must be below the vocabulary's .* Received: 999"),
        ({"forced_bos_token_id": 7, "suppress_tokens": [7]}, "forced_bos_token_id must not be among suppress_tokens"),
        ({"max_new_token": 5}, "generation settings must be among .* Received: max_new_token"),
        ({"num_beam_groups": 2}, "generation settings must be among .* Received: num_beam_groups"),
    ],
)
def test_bad_settings_are_errors_that_name_them(settings, message):
    with pytest.raises(ValueError, match=message):
        make_shallow_model("longt5-local").generate(**make_inputs("longt5-local"), **settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"attention_mask": np.ones((3, 52))},
            r"attention_mask must have shape \(3, 53\) .* Received: shape \(3, 52\)",
        ),
        (
            {"attention_mask": np.ones((2, 53))},
            r"attention_mask must have shape \(3, 53\) .* Received: shape \(2, 53\)",
        ),
        ({"attention_mask": np.ones((53,))}, r"attention_mask must be a \(batch, length\) array"),
        ({"global_attention_mask": np.ones((3, 5))}, r"global_attention_mask must have shape \(3, 53\)"),
        ({"decoder_input_ids": [[2] * 33] * 3}, "decoder_input_ids must be at most max_decoder_position_embeddings=32"),
        ({"max_new_tokens": 40}, "max_new_tokens must be at most max_decoder_position_embeddings=32. Received: 40"),
        (
            {"max_length": 40, "max_new_tokens": None},
            "max_length must be at most max_decoder_position_embeddings=32. Received: 39",
        ),
        ({"decoder_input_ids": [[2, 5]]}, r"decoder_input_ids must have shape \(3, any\)"),
        ({"decoder_input_ids": [[7, 5]] * 3}, "decoder_input_ids must begin with decoder_start_token_id=2. Received: "),
        ({"decoder_input_ids": [[2, 500]] * 3}, "decoder_input_ids must be below the vocabulary's 90 tokens"),
        (
            {"decoder_input_ids": [[2] * 6] * 3, "max_length": 6, "max_new_tokens": None},
            "decoder_input_ids must have from 1 to 5 tokens",
        ),
        ({"prefix_allowed": np.ones((50,))}, r"prefix_allowed must have shape \(90\)"),
        ({"prefix_allowed": np.zeros((90,))}, "prefix_allowed must allow a token at every place"),
        ({"input_ids": None}, "input_ids, inputs_embeds or encoder_outputs must be given. Received: none"),
    ],
)
def test_bad_inputs_are_errors_that_name_them(changes, message):
    with pytest.raises(ValueError, match=message):
        make_shallow_model("led").generate(**make_inputs("led") | {"max_new_tokens": 5} | changes)


def test_rules_about_the_document_need_its_tokens():
    model, inputs = make_shallow_model("longt5-local"), make_inputs("longt5-local")
    encoded = model.encode(**inputs)
    settings = {"encoder_no_repeat_ngram_size": 3, "max_new_tokens": 4}
    with pytest.raises(ValueError, match="input_ids must be given, too, for encoder_no_repeat_ngram_size"):
        model.generate(encoder_outputs=encoded, attention_mask=inputs["attention_mask"], **settings)
    found = model.generate(**inputs, encoder_outputs=encoded, **settings)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(model.generate(**inputs, **settings)))


@pytest.mark.quick_in_jax("led-search0", "longt5-tglobal-search1", "longt5-local-search2")
@pytest.mark.parametrize(
    "search", [{}, {"num_beams": 2, "early_stopping": True}, {"do_sample": True, "num_return_sequences": 2, "seed": 1}]
)
@every_kind
def test_a_row_of_padding_alone_has_an_empty_summary_and_changes_no_other_row(kind, search):
    model, inputs = sharpen(make_shallow_model(kind)), make_inputs(kind)
    count = search.get("num_return_sequences", 1)
    settings = search | {"max_new_tokens": 7, "return_dict": True, "min_length": 4, "output_scores": False}
    before = as_numpy(model.generate(**inputs, **settings))
    inputs["attention_mask"][1] = 0
    after = as_numpy(model.generate(**inputs, **settings))
    for name, found in after.items():
        found, wanted = (x.reshape(3, count, *x.shape[1:]) for x in (found, before[name]))
        np.testing.assert_allclose(found[[0, 2]], wanted[[0, 2]], atol=1e-5)
        assert np.isfinite(found).all()
    config = model.config
    empty = [config.decoder_start_token_id, config.eos_token_id, *[config.pad_token_id] * 6]
    assert after["sequences"].reshape(3, count, -1)[1].tolist() == [empty] * count
    assert not after["sequences_scores"].reshape(3, count)[1].any()


def test_settings_go_through_files_as_the_reference_writes_them(tmp_path):
    settings = GenerationConfig(
        num_beams=4,
        max_new_tokens=64,
        bad_words_ids=[[3], [4, 5]],
        eos_token_id=[1, 7],
        suppress_tokens=[9],
        exponential_decay_length_penalty=(5, 1.1),
        encoder_no_repeat_ngram_size=4,
    )
    settings.to_json(tmp_path / "generation_config.json")
    assert GenerationConfig.from_json(tmp_path / "generation_config.json") == settings
    assert hash(settings) == hash(GenerationConfig.from_dict(settings.to_dict()))


def test_replacing_one_length_or_the_kind_of_search_takes_back_what_contradicts_it():
    settings = GenerationConfig(max_new_tokens=9, min_new_tokens=3, do_sample=True, temperature=0.5, num_beams=2)
    assert settings.replace(max_length=5, min_length=2).total_length() == 5
    assert settings.replace(max_length=5, min_length=2).least_length() == 2
    assert not settings.replace(do_sample=False).do_sample
    assert settings.total_length(prompt_length=4) == 13
    assert GenerationConfig().total_length() == 21


def test_twenty_tokens_mean_the_same_before_and_after_a_file(tmp_path):
    for settings in (GenerationConfig(max_length=20), GenerationConfig()):
        settings.to_json(tmp_path / "generation_config.json")
        assert GenerationConfig.from_json(tmp_path / "generation_config.json").total_length() == settings.total_length()


def test_a_prompt_decides_whether_a_least_length_can_be_reached():
    model, inputs = make_shallow_model("led"), make_inputs("led")
    prompt = np.full((3, 8), 2)
    settings = {"min_length": 15, "max_new_tokens": 10}
    assert np.asarray(model.generate(**inputs, **settings, decoder_input_ids=prompt)).shape == (3, 18)
    with pytest.raises(ValueError, match="min_length must be at most the full length of 11 tokens"):
        model.generate(**inputs, **settings)
    with pytest.raises(ValueError, match="min_new_tokens must be at most .* Received: min_new_tokens=8, with a prompt"):
        model.generate(**inputs, max_length=10, min_new_tokens=8, decoder_input_ids=prompt[:, :5])


def test_an_empty_document_was_chosen_from_no_beam():
    model, inputs = sharpen(make_shallow_model("longt5-local")), make_inputs("longt5-local")
    inputs["attention_mask"][1] = 0
    found = as_numpy(model.generate(**inputs, num_beams=2, max_new_tokens=6, return_dict=True))
    assert (found["beam_indices"][1] == -1).all()
    assert (found["beam_indices"][[0, 2], 0] >= 0).all()
    assert not np.isnan(found["scores"]).any()


def test_where_all_is_forbidden_there_is_no_nan():
    model, inputs = make_shallow_model("led"), make_inputs("led")
    only_end = np.arange(VOCABULARY) == model.config.eos_token_id
    found = model.generate(**inputs, min_length=4, max_new_tokens=6, prefix_allowed=only_end, return_dict=True)
    assert not np.isnan(as_numpy(found["sequences_scores"])).any()
