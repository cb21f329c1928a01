"""Scores of given summaries are the sums of their tokens' log-probabilities."""

import numpy as np
import pytest
from backends import direct
from routines import as_numpy
from test_generation import every_kind, sharpen
from tiny import make_inputs, make_labels, make_shallow_model

from tfmodels.modeling import chunked_logits


def wanted_scores(model, inputs, labels):
    """One document at a time, one token after the other."""
    totals = []
    for row, label in enumerate(labels):
        given = {name: value[row : row + 1] for name, value in inputs.items()}
        tokens = [token for token in label.tolist() if token not in (-100, model.config.pad_token_id)]
        logits = as_numpy(direct(model, {**given, "labels": np.array([tokens], "int32")})["logits"])[0]
        log_probabilities = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        totals.append(sum(log_probabilities[place, token] for place, token in enumerate(tokens)))
    return np.array(totals)


@every_kind
def test_scores_are_sums_of_log_probabilities(kind, monkeypatch):
    monkeypatch.setattr(chunked_logits, "CHUNK_LENGTH", 3)
    model, inputs, labels = sharpen(make_shallow_model(kind)), make_inputs(kind), make_labels()
    wanted = wanted_scores(model, inputs, labels)
    np.testing.assert_allclose(as_numpy(model.score(inputs, labels)), wanted, rtol=1e-4)
    padded = np.where(labels == -100, model.config.pad_token_id, labels)
    np.testing.assert_allclose(as_numpy(model.score(inputs, padded, jit_compile=True)), wanted, rtol=1e-4)
    counts = (labels != -100).sum(1)
    found = model.score(inputs, labels, length_penalty=1.0)
    np.testing.assert_allclose(as_numpy(found), wanted / counts, rtol=1e-4)


@pytest.mark.quick_in_jax("led")
@every_kind
def test_several_candidates_of_a_document_stand_next_to_each_other(kind):
    model, inputs, labels = sharpen(make_shallow_model(kind)), make_inputs(kind), make_labels()
    repeated = {name: np.repeat(value, 2, axis=0) for name, value in inputs.items()}
    candidates = np.repeat(labels, 2, axis=0)
    candidates[1::2] = candidates[1::2, ::-1]
    candidates = np.where(candidates == -100, 9, candidates)
    found, wanted = as_numpy(model.score(inputs, candidates)), as_numpy(model.score(repeated, candidates))
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_the_score_that_a_search_gives_is_that_of_its_summary():
    model, inputs = sharpen(make_shallow_model("led")), make_inputs("led")
    found = model.generate(**inputs, max_new_tokens=9, return_dict=True)
    scores = model.score(inputs, np.asarray(found["sequences"])[:, 1:], length_penalty=1.0)
    np.testing.assert_allclose(as_numpy(scores), as_numpy(found["sequences_scores"]), atol=1e-5)
    with pytest.raises(ValueError, match="candidates must not begin with the start token 2. Received: all do"):
        model.score(inputs, found["sequences"])
    # One end token, which is LED's start token, is an empty summary.
    assert np.isfinite(as_numpy(model.score(inputs, [[2, -100]] * 3))).all()


def test_what_follows_the_end_counts_nothing():
    model, inputs = sharpen(make_shallow_model("longt5-local")), make_inputs("longt5-local")
    end = model.config.eos_token_id
    model.generation_config = model.generation_config.replace(eos_token_id=[end, 33])
    rows = np.array([[7, 8, end, 9, 10]] * 3), np.array([[7, 8, end, 0, 0]] * 3)
    np.testing.assert_allclose(*(as_numpy(model.score(inputs, row)) for row in rows), rtol=1e-5)
    rows = np.array([[7, 33, 12, 9, 10]] * 3), np.array([[7, 33, 0, 0, 0]] * 3)
    np.testing.assert_allclose(*(as_numpy(model.score(inputs, row)) for row in rows), rtol=1e-5)
