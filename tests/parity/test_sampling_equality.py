"""Samples follow the distribution that transformers 4.57 draws from, and nothing else."""

import itertools

import numpy as np
import pytest
import torch
from keras import ops
from scipy.stats import chi2
from tiny import KINDS, make_inputs, one_layer
from transformers import generation
from transformers_peer import make_pair, to_torch

from tfmodels import GenerationConfig
from tfmodels.generation.logits_warpers import logits_warpers

DRAWS = 20_000
SAMPLERS = {
    "plain": {"top_k": 0},
    "temperature": {"temperature": 0.6, "top_k": 0},
    "top_k": {"top_k": 7},
    "top_p": {"top_p": 0.7},
    "min_p": {"min_p": 0.2, "top_k": 0},
    "typical_p": {"typical_p": 0.6, "top_k": 0},
    "all": {"temperature": 1.5, "top_k": 30, "top_p": 0.9, "min_p": 0.02, "typical_p": 0.95},
}


def p_value(counts, probabilities):
    """Of Pearson's test that the counts were drawn with these probabilities, rare outcomes taken together."""
    expected = probabilities * counts.sum()
    assert not counts[probabilities == 0].any()
    is_rare = expected < 5
    counts = np.append(counts[~is_rare], counts[is_rare].sum())
    expected = np.append(expected[~is_rare], expected[is_rare].sum())
    counts, expected = counts[expected > 0], expected[expected > 0]
    statistic = ((counts - expected) ** 2 / np.maximum(expected, 1e-9)).sum()
    return 1.0 if len(counts) == 1 else chi2.sf(statistic, len(counts) - 1)


def reference_warpers(settings, least):
    """The reference's rules of sampling, in its order."""
    made = []
    if settings.get("temperature", 1.0) != 1.0:
        made.append(generation.TemperatureLogitsWarper(settings["temperature"]))
    if settings.get("top_k", 50):
        made.append(generation.TopKLogitsWarper(settings.get("top_k", 50), min_tokens_to_keep=least))
    for name, kind in (
        ("top_p", generation.TopPLogitsWarper),
        ("min_p", generation.MinPLogitsWarper),
        ("typical_p", generation.TypicalLogitsWarper),
    ):
        if name in settings:
            made.append(kind(settings[name], min_tokens_to_keep=least))
    return made


@pytest.mark.quick_in_jax("*-1")
@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_rules_of_sampling_keep_the_references_tokens(sampler, beams):
    settings = SAMPLERS[sampler]
    scores = np.random.default_rng(0).normal(0, 3, (50, 60)).astype("float32")
    scores[:, 7] = -np.inf  # forbidden before
    wanted = torch.tensor(scores)
    for rule in reference_warpers(settings, least=1 if beams == 1 else 2):
        wanted = rule(None, wanted)
    found = ops.convert_to_tensor(scores)
    for process in logits_warpers(GenerationConfig(do_sample=True, num_beams=beams, eos_token_id=1, **settings)):
        found = process(None, None, found)
    np.testing.assert_allclose(np.asarray(found), wanted.numpy(), rtol=1e-5)


@pytest.fixture(scope="module", params=KINDS)
def one_document(request, tmp_path_factory):
    kind = request.param
    reference, model = make_pair(kind, tmp_path_factory.mktemp("pair"), **one_layer(kind))
    return reference, model, {name: value[:1] for name, value in make_inputs(kind).items()}


@pytest.mark.quick_in_jax("led-plain", "longt5-tglobal-top_p", "longt5-local-all")
@pytest.mark.parametrize("sampler", ["plain", "top_p", "all"])
def test_draws_have_the_references_probabilities(one_document, sampler):
    reference, model, inputs = one_document
    settings = SAMPLERS[sampler] | {"do_sample": True, "max_new_tokens": 2}
    found = model.generate(**inputs, **settings, num_return_sequences=DRAWS, seed=3)
    tokens = np.asarray(found)[:, 1:]
    # The reference says from what it draws; given the most frequent first token, also the second.
    first = np.bincount(tokens[:, 0], minlength=model.config.vocab_size)
    prompt = [[model.config.decoder_start_token_id], [model.config.decoder_start_token_id, int(first.argmax())]]
    second = np.bincount(tokens[tokens[:, 0] == first.argmax(), 1], minlength=model.config.vocab_size)
    for counts, so_far in ((first, prompt[0]), (second, prompt[1])):
        drawn = reference.generate(
            **to_torch(inputs),
            **SAMPLERS[sampler],
            do_sample=True,
            max_new_tokens=1,
            decoder_input_ids=torch.tensor([so_far]),
            return_dict_in_generate=True,
            output_scores=True,
        )
        assert p_value(counts, torch.softmax(drawn.scores[0][0].double(), -1).numpy()) > 1e-3


@pytest.mark.quick_in_jax("led")
def test_sampled_beams_are_drawn_without_replacement(one_document):
    _, model, inputs = one_document
    # Of 5 allowed tokens two beams draw four, in order; the first two that end here are kept, best first.
    allowed = np.zeros((model.config.vocab_size,), bool)
    chosen = np.array([12, 20, 33, 47, 61])
    allowed[chosen] = True
    settings = {"do_sample": True, "num_beams": 2, "num_return_sequences": 2, "max_new_tokens": 1, "top_k": 0}
    many = {name: np.repeat(value, DRAWS // 4, axis=0) for name, value in inputs.items()}
    found = np.asarray(model.generate(**many, **settings, prefix_allowed=allowed, seed=11))[:, 1].reshape(-1, 2)
    scores = np.asarray(model.generate(**inputs, max_new_tokens=1, return_dict=True)["scores"])[0, 0]
    p = np.exp(scores[chosen] - scores.max())
    # Beams add log-probabilities that were not normalised again after the rule; their draw does so.
    p /= p.sum()
    pairs = list(itertools.combinations(range(5), 2))
    wanted = np.array([p[i] * p[j] / (1 - p[i]) + p[j] * p[i] / (1 - p[j]) for i, j in pairs])
    place = {token: i for i, token in enumerate(chosen)}
    drawn = [tuple(sorted((place[a], place[b]))) for a, b in found]
    counts = np.array([drawn.count(pair) for pair in pairs])
    assert counts.sum() == DRAWS // 4
    assert p_value(counts, wanted) > 1e-3


@pytest.mark.quick_in_jax("longt5-tglobal")
def test_a_seed_draws_the_same_again_and_another_one_does_not(one_document):
    _, model, inputs = one_document
    draw = {"do_sample": True, "top_k": 0, "temperature": 2.0, "max_new_tokens": 12, "num_return_sequences": 4}
    first, again, other, any_one, any_other = (
        np.asarray(model.generate(**inputs, **draw, seed=seed)) for seed in (7, 7, 2**40 + 7, None, None)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (any_one != any_other).any()
    assert len({tuple(row) for row in first.tolist()}) == 4
    # Another seed is no other program.
    assert len([key for key in model._text_generator._programs if key[0].temperature == 2.0]) == 1
