"""A text that is read in part has the ids of the whole text, as far as a length wants them."""

import random

import pytest
import tensorflow as tf
import tokenizers
from fuzzing import BROKEN_UTF8, FRAGMENTS, long_text

from tfmodels import LEDTokenizer
from tfmodels.text.in_graph import _BYTES_PER_TOKEN
from tfmodels.text.prefixes import WINDOW, word_prefixes

LENGTH = 16
SIZE = _BYTES_PER_TOKEN * LENGTH + WINDOW


def strange_texts(count, seed=0):
    """Texts of some thousand bytes with many kinds of white space, special tokens and broken bytes."""
    generator = random.Random(seed)
    fragments = [fragment.encode() for fragment in FRAGMENTS]
    for _ in range(count):
        strangeness, brokenness = generator.random(), generator.choice([0.0, 0.1])
        yield b"".join(
            generator.choice(BROKEN_UTF8)
            if generator.random() < brokenness
            else generator.choice(fragments)
            if generator.random() < strangeness
            else b"word "
            for _ in range(400)
        )


def assert_padded_alike(tokenizer, texts, length=LENGTH):
    graph = tokenizer.in_graph()
    whole, actual = graph.encode(tf.constant(texts)), graph.encode_up_to(tf.constant(texts), length)
    assert [len(row) > length for row in actual.to_list()] == [len(row) > length for row in whole.to_list()]
    for name, expected in graph.pad_batch(whole, length).items():
        assert (graph.pad_batch(actual, length)[name].numpy() == expected.numpy()).all()
    return tf.reduce_mean(tf.cast(actual.row_lengths() < whole.row_lengths(), tf.float32))


@pytest.mark.parametrize("seed", range(4))
def test_a_part_has_the_first_ids_of_the_whole(tokenizer, seed):
    texts = [*strange_texts(500, seed), *(long_text(3000, seed * 100 + number) for number in range(100))]
    texts += [text[:size] for size in range(SIZE - 60, SIZE + 60) for text in texts[size % 7 : 100 : 50]]
    assert assert_padded_alike(tokenizer, texts) > 0.4


def test_a_pair_is_cut_as_the_whole_pair_is(tokenizer):
    texts = [text.decode("utf-8", "replace") for text in strange_texts(300)]
    first = [text[: (number * 37) % 4000] for number, text in enumerate(texts)]
    second = [text[: (number * 91) % 4000] for number, text in enumerate(reversed(texts))]
    expected = tokenizer(first, text_pair=second, max_length=LENGTH, return_segment_mask=True)
    layer = tokenizer.as_layer(LENGTH, return_segment_mask=True)
    for name, actual in layer(tf.constant(first), tf.constant(second)).items():
        assert (actual.numpy() == expected[name]).all(), name


def test_a_part_with_just_as_many_tokens_as_wanted_is_not_enough(tokenizer):
    # Of so many of these few tokens are made.
    filler = "-" if isinstance(tokenizer, LEDTokenizer) else " "
    length, texts = 40, []
    size = _BYTES_PER_TOKEN * length + WINDOW
    for words in range(length + 5):
        for last in ("z", "</s>"):
            start = filler * (size - 140) + " a" * words + " "
            texts.append(start + filler * (size - 6 - len(start)) + f" {last}" + " " * 300 + "a " * 50)
    parts = tokenizer.in_graph().encode(word_prefixes(tf.constant(texts), size))
    assert set(range(length - 2, length + 3)) < set(parts.row_lengths().numpy())
    assert_padded_alike(tokenizer, texts, length)


def test_a_prefix_space_changes_nothing_of_it(led_tokenizer):
    files = led_tokenizer.to_files()
    prefixed = LEDTokenizer.from_files({**files, "tokenizer_config.json": b'{"add_prefix_space": true}'})
    assert prefixed.encode("word") == led_tokenizer.encode(" word")
    assert assert_padded_alike(prefixed, list(strange_texts(500))) > 0.4


def test_added_tokens_change_nothing_of_it_but_where_they_hold_a_space(tokenizer):
    own = type(tokenizer).from_files(tokenizer.to_files())
    own.add_tokens(["<doc-sep>", "\n", "wor", tokenizers.AddedToken("<mask>x", rstrip=True)])
    texts = [text.replace(b"word word", b"word<doc-sep>") for text in strange_texts(150, 7)]
    assert assert_padded_alike(own, texts) > 0.4
    own.add_tokens(["d w"])
    assert assert_padded_alike(own, texts) == 0


@pytest.mark.parametrize("filler", [" ", "\n", "\u3000", "\u200b", "<pad>"])
def test_a_text_with_few_tokens_in_its_first_part_is_read_on(tokenizer, filler):
    text = "a word and " + filler * SIZE + " then many more words" * 100
    texts = [text, "short", "many words " * 1000]
    assert_padded_alike(tokenizer, texts)


@pytest.mark.parametrize("length", [2**28, 2**31 - 1])
def test_a_length_of_gigabytes_cuts_nothing(tokenizer, length):
    graph = tokenizer.in_graph()
    assert (
        graph.encode_up_to(tf.constant(["a word"]), length).to_list() == graph.encode(tf.constant(["a word"])).to_list()
    )


def test_a_prefix_ends_behind_a_word():
    text = "word, " * 1000
    for size in range(WINDOW, WINDOW + 20):
        (prefix,) = word_prefixes(tf.constant([text]), size).numpy()
        assert size - 6 <= len(prefix) < size
        assert prefix.endswith(b"word,")


@pytest.mark.parametrize("unit", ["a", "\u4e2d", "\n", "  ", "\u3000 ", "\x00 ", "\u0301 ", "a\t"])
def test_a_text_without_a_space_behind_a_word_stays_whole(unit):
    texts = [(unit * 3000).encode(), b"", b"short text"]
    assert word_prefixes(tf.constant(texts), WINDOW).numpy().tolist() == texts
