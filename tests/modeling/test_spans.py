"""The best span is that of a search through all of them."""

import numpy as np
import pytest
from keras import ops

from tfmodels.modeling.heads import best_spans


def brute_force(starts, ends, is_text, longest):
    """The most probable (probability, start, end) of one row."""
    first, last = (np.where(is_text, np.exp(logits), 0.0) for logits in (starts, ends))
    first, last = first / first.sum(), last / last.sum()
    spans = [(i, j) for i in np.flatnonzero(is_text) for j in np.flatnonzero(is_text) if i <= j < i + longest]
    return max((first[i] * last[j], i, j) for i, j in spans)


@pytest.mark.parametrize("longest", [1, 4, 50])
def test_the_best_span_is_the_most_probable_one_that_is_allowed(longest):
    generator = np.random.default_rng(longest)
    starts, ends = generator.normal(scale=3, size=(2, 20, 17)).astype("float32")
    is_text = np.arange(17) >= generator.integers(0, 9, (20, 1))
    found = {k: ops.convert_to_numpy(v) for k, v in best_spans(starts, ends, is_text, longest).items()}
    for row in range(20):
        score, start, end = brute_force(starts[row], ends[row], is_text[row], longest)
        assert (found["start"][row], found["end"][row]) == (start, end)
        np.testing.assert_allclose(found["score"][row], score, rtol=1e-4)


def test_without_text_there_is_no_span():
    found = best_spans(np.ones((1, 5)), np.ones((1, 5)), np.zeros((1, 5)))
    assert [float(found[name][0]) for name in ("start", "end", "score")] == [-1.0, -1.0, 0.0]
    with pytest.raises(ValueError, match="max_answer_length must be at least 1"):
        best_spans(np.ones((1, 5)), np.ones((1, 5)), np.ones((1, 5)), max_answer_length=0)
