"""Tens of thousands of fuzzed texts, and texts of a million characters, have the same ids everywhere.

`python tests/text/exactness.py` compares more of them, and the whole demo corpus.
"""

import random
import string

import pytest
import tensorflow as tf
from exactness import Counts, compare
from folders import written
from fuzzing import fuzz_bytes, fuzz_texts, long_text

from tfmodels import LongT5Tokenizer

COUNT = 20_000


def test_fuzzed_texts_have_the_same_ids_everywhere(with_reference):
    tokenizer, reference = with_reference
    assert compare(tokenizer, fuzz_texts(COUNT), reference) == Counts(COUNT)


def test_fuzzed_bytes_are_read_as_python_reads_them(tokenizer):
    assert compare(tokenizer, fuzz_bytes(2000)) == Counts(2000)


@pytest.mark.parametrize("is_ascii", [False, True])
def test_a_million_characters_have_the_same_ids_everywhere(with_reference, is_ascii):
    tokenizer, reference = with_reference
    assert compare(tokenizer, [long_text(1_000_000, is_ascii=is_ascii)], reference) == Counts(1)


def test_a_single_word_of_a_million_characters_may_have_other_pieces_but_the_same_text(longt5_tokenizer):
    word = "".join(random.Random(0).choices(string.ascii_lowercase, k=1_000_000))
    ids = longt5_tokenizer.in_graph().encode(tf.constant([word]))
    assert longt5_tokenizer.in_graph().decode(ids.to_tensor()).numpy() == [word.encode()]
    assert abs(int(ids.row_lengths()[0]) - len(longt5_tokenizer.encode(word))) < 100


@pytest.mark.parametrize("length", [17_000, 60_000])
def test_texts_of_many_pieces_beside_short_ones_have_the_same_ids(tokenizer, length):
    # A batch in which one text is cut where sums begin anew, and others have special tokens or are empty.
    long = long_text(length * 4, seed=3)
    assert compare(tokenizer, ["a", long, "", "x<extra_id_3>y</s>", " \n", long[: length * 2], "</s>"]) == Counts(7)


@pytest.mark.parametrize("adds_prefix_space", [True, False])
def test_a_tokenizer_that_is_not_legacy_has_the_same_ids_everywhere(longt5_tokenizer, adds_prefix_space, tmp_path):
    transformers = pytest.importorskip("transformers")
    config = {"legacy": False, "add_prefix_space": adds_prefix_space}
    written(tmp_path, longt5_tokenizer.to_files(), **{"tokenizer_config.json": config})
    tokenizer = LongT5Tokenizer.from_pretrained(tmp_path)
    reference = transformers.T5Tokenizer.from_pretrained(tmp_path)
    assert compare(tokenizer, fuzz_texts(4000), reference) == Counts(4000)
    long = long_text(200_000, seed=3)
    texts = [
        long,
        "\n" + long[:150_000],
        long[:120_000] + "</s>" + long[60_000:],
        "",
        "\u00b4 a",
        "x <extra_id_3> y</s>",
    ]
    assert compare(tokenizer, texts, reference) == Counts(len(texts))
