"""The operations that an encoder needs, counted one pair of tokens at a time."""

import pytest

from benchmarks.arithmetic import encoder_operations, global_row_operations, window_pairs
from benchmarks.models import config_fields

MULTIPLY_ADD = 2


def dense(rows, inner, columns):
    return sum(MULTIPLY_ADD * inner for _ in range(rows) for _ in range(columns))


def attention(pairs, size):
    """Scores and weighted values of every head's pairs."""
    return sum(2 * MULTIPLY_ADD * size for _ in pairs)


@pytest.mark.parametrize("length", [1, 5, 16, 33])
@pytest.mark.parametrize("radius", [0, 1, 8, 40])
def test_pairs_are_those_within_the_window_and_the_document(length, radius):
    pairs = [(i, j) for i in range(length) for j in range(length) if abs(i - j) <= radius]
    assert window_pairs(length, radius) == len(pairs)


@pytest.mark.parametrize("global_tokens", [0, 1, 3])
def test_led_needs_what_a_count_pair_by_pair_finds(global_tokens):
    length, fields = 37, config_fields("led", "tiny", 37)
    width, heads, radius = fields["d_model"], fields["encoder_attention_heads"], fields["attention_window"] // 2
    seen = [
        (i, j) for i in range(global_tokens, length) for j in range(length) if j < global_tokens or abs(i - j) <= radius
    ]
    layer = 4 * dense(length, width, width) + heads * attention(seen, width // heads)
    layer += dense(length, width, fields["encoder_ffn_dim"]) + dense(length, fields["encoder_ffn_dim"], width)
    # Each head's global query and weighted sum pass through the projections instead of every token's.
    for _ in range(global_tokens):
        for _ in range(heads):
            layer += 2 * dense(1, width // heads, width) + 2 * dense(1, width, length)
    counted = encoder_operations("led", fields, length, global_tokens)
    assert sum(counted.values()) == fields["encoder_layers"] * layer


@pytest.mark.parametrize("family", ["longt5-local", "longt5-tglobal"])
def test_long_t5_needs_what_a_count_pair_by_pair_finds(family):
    length, fields = 38, config_fields(family, "tiny", 38)
    width, heads, size, hidden = fields["d_model"], fields["num_heads"], fields["d_kv"], fields["d_ff"]
    seen = [(i, j) for i in range(length) for j in range(length) if abs(i - j) <= fields["local_radius"]]
    layer = 4 * dense(length, width, heads * size) + 2 * dense(length, width, hidden) + dense(length, hidden, width)
    if family == "longt5-tglobal":
        summaries = range(length // fields["global_block_size"])
        seen += [(i, summary) for i in range(length) for summary in summaries]
        layer += 2 * dense(len(summaries), width, heads * size)
    layer += heads * attention(seen, size)
    assert sum(encoder_operations(family, fields, length).values()) == fields["num_layers"] * layer


def test_many_global_tokens_are_worth_projecting_every_token():
    length, width, heads = 64, 32, 4
    direct = 2 * dense(length, width, width) + 2 * dense(17, width, length)
    assert global_row_operations(length, width, heads, 1) < direct
    assert global_row_operations(length, width, heads, 17) == direct


def test_work_grows_linearly_where_there_are_no_summaries():
    for family, most in (("led", 2.01), ("longt5-local", 2.01), ("longt5-tglobal", 4.0)):
        fields = config_fields(family, "base", 16384)
        short, long = (sum(encoder_operations(family, fields, length).values()) for length in (8192, 16384))
        assert 2.0 < long / short < most
