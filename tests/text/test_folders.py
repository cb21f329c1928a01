"""A folder gives the ids, sizes and texts of transformers, in Python and in the graph, whatever its files hold."""

import logging
import random
import warnings

import pytest
import tensorflow as tf
from folders import REFUSED, TOKENS, led_kinds, t5_kinds, texts_with, written

from tfmodels.text import LEDTokenizer, LongT5Tokenizer

transformers = pytest.importorskip("transformers")
SIZE = 600
LED_KINDS, T5_KINDS = led_kinds(SIZE), t5_kinds(SIZE - 100)
TEXTS = texts_with(list(TOKENS), 400)


@pytest.fixture(scope="module", autouse=True)
def quiet():
    logging.getLogger("transformers").setLevel(logging.ERROR)


@pytest.fixture(scope="module")
def led_files(source_texts):
    tokenizer = LEDTokenizer.train_from_iterator(source_texts[:2], SIZE)
    assert len(tokenizer) == SIZE
    return tokenizer.to_files()


@pytest.fixture(scope="module")
def t5_files(source_texts):
    tokenizer = LongT5Tokenizer.train_from_iterator(source_texts[:2], SIZE)
    assert len(tokenizer) == SIZE
    return tokenizer.to_files()


def reference_ids(reference, texts):
    if reference.is_fast:
        return reference(texts)["input_ids"]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This sequence already has")
        return [reference.encode(text) for text in texts]


def assert_python_equal(tokenizer, reference, texts):
    assert len(tokenizer) == len(reference)
    assert tokenizer.get_vocab() == reference.get_vocab()
    assert tokenizer.special_tokens.keys() == set(reference.all_special_tokens)
    assert tokenizer.all_special_ids == sorted(reference.all_special_ids)
    found = [tokenizer.encode(text) for text in texts]
    for text, ids, expected in zip(texts, found, reference_ids(reference, texts), strict=True):
        assert ids == expected, repr(text)
    assert [tokenizer.tokenize(text) for text in texts] == [reference.tokenize(text) for text in texts]
    generator = random.Random(0)
    rows = found + [generator.choices(list(tokenizer.get_vocab().values()), k=8) for _ in range(100)]
    for skips in (True, False):
        for row in rows:
            assert tokenizer.decode(row, skips) == reference.decode(row, skip_special_tokens=skips), (row, skips)
    return rows


def assert_graph_equal(tokenizer, texts, rows):
    graph = tokenizer.in_graph()
    ids = graph.encode(tf.constant(texts)).to_list()
    for text, found in zip(texts, ids, strict=True):
        assert found == tokenizer.encode(text), repr(text)
    padded = tf.ragged.constant(rows, dtype=tf.int32).to_tensor(default_value=-100)
    assert [text.decode() for text in graph.decode(padded).numpy()] == tokenizer.batch_decode(rows)


def assert_equal(tokenizer, reference, texts, refused=None):
    rows = assert_python_equal(tokenizer, reference, texts)
    if refused is None:
        assert_graph_equal(tokenizer, texts, rows)
    else:
        with pytest.raises(ValueError, match=refused):
            tokenizer.in_graph()


@pytest.mark.filterwarnings("ignore:other characters that the model takes for")
@pytest.mark.parametrize("kind", LED_KINDS)
def test_a_folder_of_led_is_read_as_in_transformers(led_files, kind, tmp_path):
    written(tmp_path / "a", led_files, **LED_KINDS[kind])
    tokenizer = LEDTokenizer.from_pretrained(tmp_path / "a")
    reference = transformers.LEDTokenizerFast.from_pretrained(tmp_path / "a")
    assert_equal(tokenizer, reference, TEXTS)
    tokenizer.save_pretrained(tmp_path / "b")
    again = LEDTokenizer.from_pretrained(tmp_path / "b")
    assert again.to_files() == tokenizer.to_files()
    assert_python_equal(again, transformers.LEDTokenizerFast.from_pretrained(tmp_path / "b"), TEXTS)
    # And what transformers writes, tokenizer.json among it.
    reference.save_pretrained(tmp_path / "c")
    assert_python_equal(LEDTokenizer.from_pretrained(tmp_path / "c"), reference, TEXTS)
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / "c" / name).unlink()
    assert_python_equal(LEDTokenizer.from_pretrained(tmp_path / "c"), reference, TEXTS)


@pytest.mark.filterwarnings("ignore:other characters that the model takes for")
@pytest.mark.parametrize("kind", T5_KINDS)
def test_a_folder_of_t5_is_read_as_in_transformers(t5_files, kind, tmp_path):
    written(tmp_path / "a", t5_files, **T5_KINDS[kind])
    tokenizer = LongT5Tokenizer.from_pretrained(tmp_path / "a")
    reference = transformers.T5Tokenizer.from_pretrained(tmp_path / "a")
    assert_equal(tokenizer, reference, TEXTS, REFUSED.get(kind))
    tokenizer.save_pretrained(tmp_path / "b")
    again = LongT5Tokenizer.from_pretrained(tmp_path / "b")
    assert again.to_files() == tokenizer.to_files()
    assert_python_equal(again, transformers.T5Tokenizer.from_pretrained(tmp_path / "b"), TEXTS)
    reference.save_pretrained(tmp_path / "c")
    assert_python_equal(LongT5Tokenizer.from_pretrained(tmp_path / "c"), reference, TEXTS)
