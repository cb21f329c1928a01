"""Generated tokens and scores equal transformers 4.57's."""

import pytest
from tiny import make_inputs
from transformers_peer import compare, to_torch

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:transformers", "ignore:Converting a tensor with requires")

SEARCHES = [
    {"num_beams": 1},
    {"num_beams": 1, "no_repeat_ngram_size": 3, "min_length": 6},
    {"num_beams": 2, "length_penalty": 2.0, "min_length": 8, "early_stopping": True, "no_repeat_ngram_size": 3},
    {"num_beams": 3, "length_penalty": 0.8, "no_repeat_ngram_size": 2},
    {"num_beams": 4, "early_stopping": "never", "length_penalty": -0.5, "forced_eos_token_id": 2},
    {"num_beams": 5, "num_return_sequences": 3, "forced_bos_token_id": 7},
]


def until_end(sequences, eos):
    """Rows up to the end token: transformers pads T5's beams with the end token instead of the pad token."""
    rows = [list(map(int, row)) for row in sequences]
    return [row[: row.index(eos, 1) + 1] if eos in row[1:] else row for row in rows]


@pytest.mark.parametrize("search", SEARCHES, ids=lambda search: "-".join(map(str, search.values())))
def test_generated_tokens_and_scores_are_equal(pair, search):
    model, kind, reference, ours = pair
    inputs, eos = make_inputs(kind), ours.config.eos_token_id
    arguments = {"do_sample": False, "max_new_tokens": 14, "return_dict_in_generate": True, "output_scores": True}
    wanted = reference.generate(**to_torch(inputs), **arguments, **search)
    settings = ours.generation_config.replace(max_new_tokens=14, **search)
    found = ours.generate_with_scores(inputs, settings)
    assert until_end(found["sequences"], eos) == until_end(wanted.sequences, eos)
    if search["num_beams"] > 1:
        case = f"scores of {search['num_beams']} beams"
        compare(model, case, found["sequences_scores"], wanted.sequences_scores.numpy())
