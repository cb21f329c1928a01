"""Models of SentencePiece that are not T5's: refused in the graph, or as in Python there."""

import inspect
import io
import json
import textwrap

import pytest
import sentencepiece
import tensorflow as tf
from exactness import Counts, compare
from fuzzing import fuzz_texts, long_text

from tfmodels import LongT5Tokenizer


def trained(**changes):
    lines = (inspect.getsource(json) + inspect.getsource(textwrap)).split("\n")
    model = io.BytesIO()
    settings = {
        "sentence_iterator": iter([line for line in lines if line.strip()]),
        "model_writer": model,
        "vocab_size": 500,
        "hard_vocab_limit": False,
        "pad_id": 0,
        "eos_id": 1,
        "unk_id": 2,
        "bos_id": -1,
        "minloglevel": 2,
    }
    sentencepiece.SentencePieceTrainer.train(**{**settings, **changes})
    return LongT5Tokenizer(model.getvalue())


@pytest.mark.parametrize(
    ("setting", "value", "rule"),
    [
        ("model_type", "bpe", "model_type unigram"),
        ("byte_fallback", True, "no byte_fallback"),
        ("treat_whitespace_as_suffix", True, "no treat_whitespace_as_suffix"),
        ("add_dummy_prefix", False, "add_dummy_prefix"),
        ("normalization_rule_name", "nfkc", "a normalization that turns tabs"),
        ("normalization_rule_name", "identity", "a normalization that turns tabs"),
    ],
)
def test_a_model_that_the_graph_would_read_otherwise_is_refused_there_alone(setting, value, rule):
    tokenizer = trained(**{setting: value})
    assert tokenizer.decode(tokenizer.encode("def area(width)")) == "def area(width)"
    with pytest.raises(ValueError, match=f"model_proto must have {rule}"):
        tokenizer.in_graph()


@pytest.mark.parametrize(
    ("setting", "value", "is_cut"),
    [
        ("normalization_rule_name", "nmt_nfkc_cf", True),
        ("user_defined_symbols", ["foo", "<x>"], True),
        ("split_by_whitespace", False, False),
        ("remove_extra_whitespaces", False, False),
    ],
)
def test_other_models_are_as_in_python_and_read_in_part_where_words_stand_alone(setting, value, is_cut):
    tokenizer = trained(**{setting: value})
    texts = [*fuzz_texts(500), *(long_text(4000, seed) for seed in range(20))]
    assert compare(tokenizer, texts) == Counts(len(texts))
    graph, text = tokenizer.in_graph(), tf.constant(["return the width " * 1000])
    assert (graph.encode_up_to(text, 16).row_lengths()[0] < graph.encode(text).row_lengths()[0]) == is_cut


def test_a_model_without_the_pieces_of_special_tokens_is_refused():
    with pytest.raises(ValueError, match=r"pad, eos and unk pieces. Received: none for \['<pad>'\]"):
        trained(pad_piece="<pad >")


def test_a_rule_of_the_users_own_may_reach_across_a_space(tmp_path):
    rules = {"zqj" * 8 + " y": "k", "\t": " ", "\n": " ", "\r": " "}
    codes = [[" ".join(f"{ord(character):X}" for character in text) for text in rule] for rule in rules.items()]
    (tmp_path / "rules.tsv").write_text("".join("\t".join(rule) + "\n" for rule in codes))
    tokenizer = trained(normalization_rule_tsv=str(tmp_path / "rules.tsv"))
    text = " " * 615 + "zqj" * 8 + " y" + " " * 100
    assert len(tokenizer.encode(text)) < 6
    ids = tokenizer.as_layer(16)(tf.constant([text]))["input_ids"]
    assert (ids.numpy() == tokenizer([text], max_length=16)["input_ids"]).all()
