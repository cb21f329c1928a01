"""The SavedModels of the other heads answer as the Python pipeline does, alone."""

import json
import string

import numpy as np
import pytest
import tensorflow as tf
from exported import ANSWERER, CLASSIFIER, LENGTHS, QUESTIONS, TEXTS, exported, loaded
from fresh_process import fresh_process

from export import export_saved_model
from export.client.saved_model_client import load_saved_model
from export.sample_requests import sample_text

ANSWERED = (TEXTS[0], TEXTS[3], TEXTS[1], TEXTS[2])


@pytest.mark.parametrize(
    ("kind", "problem_type"),
    [("led", "multi_label_classification"), ("longt5-tglobal", None), ("longt5-local", "regression")],
)
def test_a_classifier_in_a_fresh_process_equals_the_python_pipeline(kind, problem_type):
    served = exported(kind, CLASSIFIER, problem_type)
    actual, logits = fresh_process().ask(served.folder, text=TEXTS), served.logits(TEXTS)
    assert actual["truncated"] == [False, False, True, False]
    if problem_type == "regression":
        np.testing.assert_allclose(actual["values"], logits, atol=1e-4)
        return
    expected = tf.sigmoid(logits) if problem_type else tf.nn.softmax(logits)
    np.testing.assert_allclose(actual["probabilities"], expected, atol=1e-5)
    assert actual["label"] == served.labels(TEXTS)


@pytest.mark.parametrize("kind", ["led", "longt5-tglobal"])
def test_a_question_answerer_in_a_fresh_process_equals_the_python_pipeline(kind):
    served = exported(kind, ANSWERER)
    actual = fresh_process().ask(served.folder, question=QUESTIONS, text=ANSWERED)
    spans, expected = served.spans(QUESTIONS, ANSWERED)
    assert actual["text"] == expected
    assert actual["start"] == spans["start"].tolist()
    assert actual["end"] == spans["end"].tolist()
    np.testing.assert_allclose(actual["score"], spans["score"], rtol=1e-3)
    assert actual["truncated"] == [False, False, False, True]
    assert expected[2] == ""
    assert json.loads((served.folder / "1" / "manifest.json").read_text())["settings"] == {"max_answer_length": 30}


def test_an_answer_loses_the_white_space_that_python_strips():
    served = exported("led", ANSWERER)
    questions = [f"question {number}" for number in range(60)]
    texts = ["\u00a0\u3000".join(f" {number} words ".split(" ")) for number in range(60)]
    actual = loaded("led", ANSWERER).signatures["serving_default"](
        question=tf.constant(questions), text=tf.constant(texts)
    )
    spans, expected = served.spans(questions, texts)
    assert [text.decode() for text in actual["text"].numpy()] == expected
    ids = served.tokenizer(questions, text_pair=texts, max_length=LENGTHS[-1])["input_ids"]
    whole = [
        served.tokenizer.decode(row[start : end + 1])
        for row, start, end in zip(ids, spans["start"], spans["end"], strict=True)
    ]
    # Some answers have white space at an end that ASCII has not.
    assert any(text.strip(string.whitespace) != text.strip() for text in whole)


def test_the_other_signatures_of_an_answerer_are_checked_in_the_export_and_give_the_models_logits(tmp_path):
    served = exported("led", ANSWERER)
    path = export_saved_model(
        served.model, served.tokenizer, tmp_path / "1", (64,), signatures=("serving_default", "logits", "answer")
    )
    signatures = load_saved_model(path).signatures
    batch = served.tokenizer(["a question"], text_pair=["a text"], max_length=20)
    logits = signatures["logits"](**{name: tf.constant(value) for name, value in batch.items()})
    np.testing.assert_allclose(logits["end_logits"], served.model(batch)["end_logits"], atol=1e-4)


@pytest.mark.parametrize("length", [16, 64, 1000])
@pytest.mark.parametrize("question", [None, "the"])
@pytest.mark.parametrize("kind", ["led", "longt5-tglobal"])
def test_samples_fill_their_length_and_not_more(kind, question, length):
    tokenizer = exported(kind, ANSWERER).tokenizer
    text = sample_text(tokenizer, length, question)
    pair = None if question is None else [text]
    assert length * 0.6 < tokenizer([question or text], text_pair=pair)["input_ids"].shape[1] <= length


def test_no_documents_have_no_answers():
    signatures = loaded("led", ANSWERER).signatures
    none = tf.constant([], tf.string)
    assert signatures["serving_default"](question=none, text=none)["text"].shape == (0,)


def test_a_text_longer_than_the_decoder_of_a_classifier_is_refused(tmp_path):
    served = exported("led", CLASSIFIER, "multi_label_classification")
    with pytest.raises(ValueError, match="lengths, which the decoder reads too, must be at most"):
        export_saved_model(served.model, served.tokenizer, tmp_path / "1", lengths=(LENGTHS[-1] + 1,))
