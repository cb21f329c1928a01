"""The words of identifiers are the words of sentences."""

import numpy as np
import pytest
import tensorflow as tf

from training.demo.first_vectors import shared_vectors
from training.demo.vocabulary import train_led_tokenizer, train_longt5_tokenizer

ROWS = [
    (f"def read_file_name(fileName, other_name):\n    return fileName + other_name  # {n}", "Read the file name.")
    for n in range(40)
]


@pytest.fixture(scope="module")
def unigram():
    return train_longt5_tokenizer(ROWS, 260)


def test_a_unigram_vocabulary_reads_identifiers_as_words(unigram):
    assert unigram.encode("read_fileName") == unigram.encode("read file name")


def test_its_ids_are_the_same_in_the_graph(unigram):
    texts = [document for document, _ in ROWS[:3]] + ["otherName _file\tname"]
    rows = unigram.in_graph().encode(tf.constant(texts)).to_list()
    assert rows == [unigram.encode(text) for text in texts]


def test_a_byte_level_vocabulary_has_words_with_and_without_a_space():
    vocabulary = train_led_tokenizer(ROWS, 460).get_vocab()
    assert {"file", "\u0120file", "name", "\u0120name"} <= vocabulary.keys()


def test_forms_of_a_word_start_near_each_other():
    vectors = shared_vectors({"name": 0, "\u0120name": 1, "Name": 2, "other": 3, "(": 4}, 2000)
    near = np.corrcoef(vectors)[0]
    assert (near[1:3] > 0.5).all()
    assert (abs(near[3:]) < 0.3).all()
    np.testing.assert_allclose(vectors.std(axis=1), 1.0, atol=0.1)
