"""Pairs of texts: special tokens, truncation, segments and lengths, in Python, in the graph and in transformers."""

import itertools
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmodels.text.template import kept_tokens

QUESTIONS = ["who?", "", "where is it</s>", "</s>", "a long question of many many words " * 3, "<mask> what"]
DOCUMENTS = ["", "the document that answers", "x</s>", "long row of words " * 20, "</s></s>", "\u4e2d\u6587 \U0001f389"]
PAIRS = list(itertools.product(QUESTIONS, DOCUMENTS))
FIRST, SECOND = ([pair[side] for pair in PAIRS] for side in (0, 1))


def rows_of(batch):
    return [row[mask == 1].tolist() for row, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)]


@pytest.mark.filterwarnings("ignore:This sequence already has")
def test_pairs_are_those_of_transformers(with_reference, fuzz_texts):
    tokenizer, reference = with_reference
    first, second = FIRST + fuzz_texts[:500], SECOND + fuzz_texts[500:1000]
    # One by one, transformers takes an empty second text for none.
    expected = reference(first, second)["input_ids"]
    assert rows_of(tokenizer(first, text_pair=second)) == expected


@pytest.mark.filterwarnings("ignore:This sequence already has")
@pytest.mark.parametrize("max_length", [24, 40, 64])
def test_a_second_text_is_cut_as_in_transformers_where_the_first_fits(with_reference, max_length, fuzz_texts):
    tokenizer, reference = with_reference
    logging.getLogger("transformers").setLevel(logging.ERROR)
    room = max_length - tokenizer.template.special_count(is_pair=True)
    pairs = [*PAIRS, *zip(fuzz_texts[:300], fuzz_texts[300:600], strict=True)]
    pairs = [pair for pair in pairs if len(tokenizer._tokenize([pair[0]])[0]) <= room // 2]
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    assert len(pairs) > 50
    expected = reference(first, second, truncation="only_second", max_length=max_length, padding="max_length")
    batch = tokenizer(first, text_pair=second, max_length=max_length)
    assert batch["input_ids"].tolist() == expected["input_ids"]
    assert batch["attention_mask"].tolist() == expected["attention_mask"]


def test_the_second_text_is_cut_first_and_the_first_keeps_half():
    for first, second, room in itertools.product(range(12), range(12), range(2, 14)):
        first_kept, second_kept = kept_tokens(first, second, room)
        assert first_kept + second_kept == min(first + second, room)
        assert first_kept == first or first_kept >= room // 2
        assert second_kept == second or first_kept == first or first_kept == room // 2


@pytest.mark.parametrize("max_length", [6, 7, 16, 41])
def test_pairs_in_the_graph_are_those_of_the_python_call(tokenizer, max_length, fuzz_texts):
    first, second = FIRST + fuzz_texts[:400], SECOND + fuzz_texts[400:800]
    expected = tokenizer(first, text_pair=second, max_length=max_length, return_segment_mask=True)
    graph = tokenizer.in_graph()
    ids = graph.encode_pair(tf.constant(first), tf.constant(second), max_length)
    batch = graph.pad_pair_batch(*ids, max_length, return_segment_mask=True)
    assert set(batch) == set(expected)
    for name, array in expected.items():
        assert batch[name].dtype == tf.int32
        assert batch[name].shape == (len(first), max_length)
        assert (batch[name].numpy() == array).all(), name


def test_a_length_of_the_count_cuts_nothing_and_one_less_does(tokenizer):
    graph = tokenizer.in_graph()
    for first, second in PAIRS:
        ids = graph.encode_pair(tf.constant([first]), tf.constant([second]), 4096)
        count = int(graph.pair_counts(*ids)[0])
        whole = rows_of(tokenizer(first, text_pair=second))
        assert rows_of(tokenizer(first, text_pair=second, max_length=max(count, 6))) == whole
        content = sum(map(len, tokenizer._tokenize([first, second])))
        batch = tokenizer(first, text_pair=second, max_length=max(count - 1, 6), return_special_tokens_mask=True)
        assert count <= 6 or (batch["special_tokens_mask"] == 0).sum() == content - 1


def test_a_segment_mask_marks_the_tokens_of_the_second_text(tokenizer):
    batch = tokenizer(FIRST, text_pair=SECOND, return_segment_mask=True)
    for ids, mask, text in zip(batch["input_ids"], batch["segment_mask"], SECOND, strict=True):
        assert ids[mask == 1].tolist() == tokenizer._tokenize([text])[0]


def test_texts_and_pairs_must_be_as_many(tokenizer):
    with pytest.raises(ValueError, match="text_pair must hold as many texts as texts. Received: 1 for 2 texts"):
        tokenizer(["a", "b"], text_pair="c")
    with pytest.raises(ValueError, match=r"text_pair\[1\] must be a str"):
        tokenizer(["a", "b"], text_pair=["c", 1])
    with pytest.raises(ValueError, match="return_segment_mask needs text_pair"):
        tokenizer("a", return_segment_mask=True)
    with pytest.raises(tf.errors.InvalidArgumentError, match="text_pair must hold as many texts as texts"):
        tokenizer.in_graph().encode_pair(tf.constant(["a", "b"]), tf.constant(["c"]), 8)


def test_a_pair_needs_room_for_a_token_of_each(led_tokenizer, longt5_tokenizer):
    for tokenizer, minimum in ((led_tokenizer, 6), (longt5_tokenizer, 4)):
        assert tokenizer("a", text_pair="b", max_length=minimum)["input_ids"].shape == (1, minimum)
        for pad in (
            lambda length, tokenizer=tokenizer: tokenizer("a", text_pair="b", max_length=length),
            lambda length, tokenizer=tokenizer: tokenizer.as_layer(length)(tf.constant(["a"]), tf.constant(["b"])),
        ):
            with pytest.raises(ValueError, match=f"max_length must be at least {minimum}"):
                pad(minimum - 1)


def test_the_layer_takes_pairs_in_datasets_and_functional_models(tokenizer, tmp_path):
    expected = tokenizer(FIRST, text_pair=SECOND, max_length=24, return_segment_mask=True)
    layer = tokenizer.as_layer(24, return_segment_mask=True)
    dataset = tf.data.Dataset.from_tensor_slices((FIRST, SECOND)).batch(7).map(layer)
    actual = list(dataset)
    inputs = [keras.Input((), dtype="string", name=name) for name in ("question", "text")]
    keras.Model(inputs, layer(*inputs)).save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras")
    outputs = model([tf.constant(FIRST), tf.constant(SECOND)])
    assert set(outputs) == set(expected)
    for name, array in expected.items():
        assert (np.concatenate([batch[name].numpy() for batch in actual]) == array).all(), name
        assert (np.asarray(outputs[name]) == array).all(), name


def test_pair_arguments_of_the_layer_need_a_pair(led_tokenizer):
    with pytest.raises(ValueError, match="return_segment_mask needs text_pair"):
        led_tokenizer.as_layer(8, return_segment_mask=True)(tf.constant(["a"]))
    with pytest.raises(ValueError, match="global_attention='question' needs text_pair"):
        led_tokenizer.as_layer(8, global_attention="question")(keras.Input((), dtype="string"))


@pytest.mark.parametrize("pair", [None, ["b", "c " * 40]])
def test_the_longest_row_decides_which_of_several_lengths_is_taken(tokenizer, pair):
    texts = ["a", "def " * 9]
    count = max(map(len, rows_of(tokenizer(texts, text_pair=pair))))
    for lengths, expected in (((count, 200), count), ((200, count + 1, 6), count + 1), ((6, 7), 7)):
        batch = tokenizer(texts, text_pair=pair, lengths=lengths)
        same = tokenizer(texts, text_pair=pair, max_length=expected)
        assert all((batch[name] == same[name]).all() for name in same)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lengths": (8, 16), "max_length": 8}, "lengths and max_length must not both be given"),
        ({"lengths": ()}, "lengths must be a non-empty sequence of integers"),
        ({"lengths": 8}, "lengths must be a non-empty sequence of integers. Received: lengths=8"),
        ({"lengths": (8, 1)}, r"lengths\[1\] must be at least 2"),
        ({"lengths": (8, "16")}, r"lengths\[1\] must be an integer"),
    ],
)
def test_wrong_lengths_are_named(tokenizer, arguments, message):
    with pytest.raises(ValueError, match=message):
        tokenizer("a", **arguments)
