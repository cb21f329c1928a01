"""A document's own limit of new tokens gives what a search of that length gives."""

import numpy as np
import pytest
from routines import as_numpy
from test_generation import sharpen
from tiny import make_inputs, make_shallow_model

LIMITS = (2, 9, 5)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("led", {"forced_eos_token_id": 2}),
        ("longt5-tglobal", {"num_beams": 3, "num_return_sequences": 2}),
        ("longt5-local", {"num_beams": 2, "early_stopping": True, "forced_eos_token_id": 1}),
        ("led", {"num_beams": 3, "early_stopping": "never", "length_penalty": 1.5}),
    ],
)
def test_each_document_is_summarised_as_if_its_limit_were_the_settings(kind, settings):
    model, inputs = sharpen(make_shallow_model(kind)), make_inputs(kind)
    settings = {**settings, "return_dict": True, "output_scores": False}
    found = as_numpy(model.generate(**inputs, max_new_tokens=9, new_token_limits=LIMITS, **settings))
    count = settings.get("num_return_sequences", 1)
    for row, limit in enumerate(LIMITS):
        alone = {name: value[row : row + 1] for name, value in inputs.items()}
        wanted = as_numpy(model.generate(**alone, max_new_tokens=limit, **settings))
        rows = slice(row * count, (row + 1) * count)
        np.testing.assert_array_equal(found["sequences"][rows, : limit + 1], wanted["sequences"])
        assert (found["sequences"][rows, limit + 1 :] == model.config.pad_token_id).all()
        np.testing.assert_allclose(found["sequences_scores"][rows], wanted["sequences_scores"], rtol=1e-4)


def test_limits_are_one_positive_number_for_each_document():
    model, inputs = make_shallow_model("led"), make_inputs("led")
    with pytest.raises(ValueError, match="new_token_limits must be at least 1"):
        model.generate(**inputs, max_new_tokens=4, new_token_limits=(1, 0, 2))
    with pytest.raises(ValueError, match="new_token_limits"):
        model.generate(**inputs, max_new_tokens=4, new_token_limits=(1, 2))
