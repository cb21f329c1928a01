"""Generated tokens and scores equal transformers 4.57's."""

import itertools

import numpy as np
import pytest
import torch
import transformers
from generation_cases import COMBINATIONS, SETTINGS, settings_of
from keras import ops
from tiny import KINDS, make_inputs, one_layer
from tiny import settings as settings_of_model
from transformers.generation.logits_process import EncoderRepetitionPenaltyLogitsProcessor, LogitsProcessor
from transformers_peer import compare, make_pair, to_torch

from tfmodels import GenerationConfig, LEDConfig, LEDForConditionalGeneration

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:transformers", "ignore:Converting a tensor with requires")


BEAMS = (1, 2, 3, 4, 5)


@pytest.fixture(scope="module", params=KINDS)
def small_pair(request, tmp_path_factory):
    return request.param, *make_pair(request.param, tmp_path_factory.mktemp("pair"), **one_layer(request.param))


def until_end(sequences, ends, prompt_length=1):
    """Rows up to the end token: transformers pads T5's beams with the end token instead of the pad token."""
    rows = [list(map(int, row)) for row in sequences]
    places = [[i for i, token in enumerate(row) if token in ends and i >= prompt_length] for row in rows]
    return [row[: place[0] + 1] if place else row for row, place in zip(rows, places, strict=True)]


def _penalty_of_every_beam(input_ids, settings):
    """The reference's own rule, in the place of the one that it makes, which gives row r the r-th document's tokens
    however many beams there are."""
    rows = torch.from_numpy(np.repeat(input_ids, settings["num_beams"], axis=0)).long()
    return EncoderRepetitionPenaltyLogitsProcessor(settings["encoder_repetition_penalty"], rows)


def assert_same_summaries(name, pair, inputs, settings, theirs=None, ours=None):
    """Equal tokens, and for beams equal scores."""
    kind, reference, model = pair
    arguments = {"do_sample": False, "return_dict_in_generate": True, "output_scores": True, **(theirs or {})}
    if settings.get("encoder_repetition_penalty"):
        arguments["logits_processor"] = [_penalty_of_every_beam(inputs["input_ids"], settings)]
    wanted = reference.generate(**to_torch(inputs), **settings, **arguments)
    found = model.generate(**inputs, return_dict=True, **settings, **(ours or {}))
    ends = np.ravel(settings.get("eos_token_id", model.config.eos_token_id)).tolist()
    prompt_length = (ours or {}).get("decoder_input_ids", np.zeros((1, 1))).shape[1]
    rows = [until_end(rows, ends, prompt_length) for rows in (found["sequences"], wanted.sequences)]
    assert rows[0] == rows[1]
    if settings["num_beams"] > 1:
        compare(kind, f"{name}: scores", found["sequences_scores"], wanted.sequences_scores.numpy())
    return found, wanted


def _cases():
    """Every kind, case and number of beams. `make parity` runs all; `make test` each case with one kind and number of
    beams, and what the public fine-tunes ship with all kinds."""
    for place, case in enumerate([*SETTINGS, *COMBINATIONS]):
        for kind, beams in itertools.product(KINDS, BEAMS):
            is_public = "fine-tune" in case or "summary" in case
            is_quick = beams == BEAMS[place % len(BEAMS)] and (is_public or kind == KINDS[place % len(KINDS)])
            yield pytest.param(kind, case, beams, marks=() if is_quick else pytest.mark.thorough)


@pytest.mark.parametrize(("small_pair", "case", "beams"), list(_cases()), indirect=["small_pair"])
def test_generated_tokens_and_scores_are_equal(small_pair, case, beams):
    kind, _, model = small_pair
    settings = settings_of(kind, beams, case, model.config.eos_token_id)
    if beams == 1:
        settings.pop("num_return_sequences", None)
    inputs = make_inputs(kind, seed=beams)
    assert_same_summaries(f"generation, {beams} beams", small_pair, inputs, settings | {"num_beams": beams})


@pytest.mark.quick_in_jax("led-1", "longt5-local-3")
@pytest.mark.parametrize("beams", [1, 3])
def test_scores_of_every_step_and_the_beams_behind_them_are_equal(small_pair, beams):
    settings = {"num_beams": beams, "max_new_tokens": 8, "no_repeat_ngram_size": 2, "min_length": 9}
    found, wanted = assert_same_summaries("every step", small_pair, make_inputs(small_pair[0]), settings)
    for ours, theirs in zip(np.asarray(found["scores"]), wanted.scores, strict=True):
        theirs = theirs.numpy()
        # Beams that tie with minus infinity, or that nobody chose, stand in any order.
        np.testing.assert_array_equal(np.isfinite(ours), np.isfinite(theirs))
        np.testing.assert_allclose(ours[np.isfinite(ours)], theirs[np.isfinite(theirs)], atol=1e-4)
    if beams > 1:
        np.testing.assert_array_equal(np.asarray(found["beam_indices"]), wanted.beam_indices.numpy())


@pytest.mark.quick_in_jax("longt5-tglobal-3")
@pytest.mark.parametrize("beams", [1, 3])
def test_a_prompt_is_gone_on_with_as_in_the_reference(small_pair, beams):
    kind, _, model = small_pair
    prompt = np.array([[model.config.decoder_start_token_id, 9, 23], [model.config.decoder_start_token_id, 9, 50]] * 2)
    inputs, prompt = make_inputs(kind), prompt[:3]
    for settings in (
        {"max_new_tokens": 9, "no_repeat_ngram_size": 2, "length_penalty": 2.0},
        {"max_length": 10, "min_new_tokens": 4, "forced_bos_token_id": 7, "begin_suppress_tokens": [30, 31, 32]},
    ):
        theirs, ours = {"decoder_input_ids": torch.tensor(prompt)}, {"decoder_input_ids": prompt}
        assert_same_summaries("prompt", small_pair, inputs, settings | {"num_beams": beams}, theirs, ours)


@pytest.mark.quick("*-1", "led-every place-2")
@pytest.mark.quick_in_jax("led-first places-1", "longt5-tglobal-of each document-2", "longt5-local-every place-2")
@pytest.mark.parametrize("beams", [1, 2])
@pytest.mark.parametrize("shape", ["every place", "first places", "of each document"])
def test_allowed_tokens_are_the_references_prefix_function(small_pair, shape, beams):
    inputs = make_inputs(small_pair[0])
    draw = np.random.default_rng(5).random
    vocabulary = small_pair[2].config.vocab_size
    size = {"every place": (), "first places": (4,), "of each document": (3, 4)}[shape]
    allowed = draw((*size, vocabulary)) < 0.2

    def allowed_tokens(document, tokens):
        of_document = allowed[document] if allowed.ndim == 3 else allowed
        if of_document.ndim == 1:
            return np.flatnonzero(of_document).tolist()
        place = len(tokens) - 1
        return np.flatnonzero(of_document[place]).tolist() if place < 4 else list(range(vocabulary))

    theirs, ours = {"prefix_allowed_tokens_fn": allowed_tokens}, {"prefix_allowed": allowed}
    settings = {"num_beams": beams, "max_new_tokens": 9}
    assert_same_summaries(f"allowed tokens, {shape}", small_pair, inputs, settings, theirs, ours)


@pytest.mark.quick_in_jax("longt5-local-3")
@pytest.mark.parametrize("beams", [1, 3])
def test_a_users_rule_stands_where_the_references_stands(small_pair, beams):
    def halve_even(tokens, position, scores):
        is_even = np.arange(scores.shape[1]) % 2 == 0
        return ops.where(is_even, scores * 0.5, scores) + 0.1 * ops.cast(position, "float32")

    class HalveEven(LogitsProcessor):
        def __call__(self, input_ids, scores):
            halved = scores.clone()
            halved[:, ::2] *= 0.5
            return halved + 0.1 * input_ids.shape[1]

    settings = {"num_beams": beams, "max_new_tokens": 9, "suppress_tokens": [7, 8, 9]}
    theirs, ours = {"logits_processor": [HalveEven()]}, {"processors": [halve_even]}
    assert_same_summaries("a user's rule", small_pair, make_inputs(small_pair[0]), settings, theirs, ours)


@pytest.mark.quick_in_jax("led")
def test_attentions_of_a_greedy_search_are_the_references_of_every_step(small_pair):
    kind, reference, model = small_pair
    inputs = make_inputs(kind)
    wanted = reference.generate(
        **to_torch(inputs),
        do_sample=False,
        max_new_tokens=6,
        min_new_tokens=6,
        return_dict_in_generate=True,
        output_attentions=True,
    )
    found = model.generate(**inputs, max_new_tokens=6, min_new_tokens=6, return_dict=True, output_attentions=True)
    for layer, ours in enumerate(found["cross_attentions"]):
        theirs = np.concatenate([step[layer].numpy() for step in wanted.cross_attentions], axis=2)
        compare(kind, "generation: cross attentions", ours, theirs)
    for layer, ours in enumerate(found["decoder_attentions"]):
        for place, step in enumerate(wanted.decoder_attentions):
            so_far = np.asarray(ours)[:, :, place : place + 1, : place + 1]
            compare(kind, "generation: attentions", so_far, step[layer].numpy())
    assert len(found["encoder_attentions"]) == len(wanted.encoder_attentions)


def test_settings_go_through_files_of_both(tmp_path):
    settings = GenerationConfig(num_beams=3, max_new_tokens=9, repetition_penalty=1.5, suppress_tokens=[4, 5])
    settings.to_json(tmp_path / "generation_config.json")
    theirs = transformers.GenerationConfig.from_pretrained(tmp_path)
    assert (theirs.num_beams, theirs.max_new_tokens, theirs.repetition_penalty) == (3, 9, 1.5)
    assert theirs.suppress_tokens == [4, 5]
    theirs.save_pretrained(tmp_path / "theirs")
    assert GenerationConfig.from_json(tmp_path / "theirs" / "generation_config.json") == settings
    # All that the reference knows, at its defaults; and what older checkpoints keep in the model's config.
    assert GenerationConfig.from_dict(transformers.GenerationConfig().to_dict()) == GenerationConfig()
    config = LEDConfig.from_dict({"num_beams": 4, "num_beam_groups": 1, **settings_of_model("led", **one_layer("led"))})
    assert LEDForConditionalGeneration(config).generation_config.num_beams == 4
