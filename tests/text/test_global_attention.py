"""Which tokens of LED are global, in Python and in the graph."""

import numpy as np
import pytest
import tensorflow as tf

from tfmodels.text.global_attention import GLOBAL_ATTENTION

QUESTIONS = ["who?", "", "where is it", "a long question of many many words " * 3]
DOCUMENTS = ["the document", "answers", "", "long row of words " * 20]


@pytest.mark.parametrize("name", GLOBAL_ATTENTION)
@pytest.mark.parametrize("max_length", [8, 64])
def test_the_layer_marks_what_the_python_call_marks(led_tokenizer, name, max_length):
    expected = led_tokenizer(QUESTIONS, text_pair=DOCUMENTS, max_length=max_length, global_attention=name)
    layer = led_tokenizer.as_layer(max_length, global_attention=name)
    batch = layer(tf.constant(QUESTIONS), tf.constant(DOCUMENTS))
    assert (batch["global_attention_mask"].numpy() == expected["global_attention_mask"]).all()
    if name != "question":
        single = led_tokenizer(DOCUMENTS, max_length=max_length, global_attention=name)["global_attention_mask"]
        assert (layer(tf.constant(DOCUMENTS))["global_attention_mask"].numpy() == single).all()


def test_a_question_is_global_with_the_first_token_and_nothing_else(led_tokenizer):
    batch = led_tokenizer(QUESTIONS, text_pair=DOCUMENTS, global_attention="question")
    for ids, mask, question in zip(batch["input_ids"], batch["global_attention_mask"], QUESTIONS, strict=True):
        assert ids[mask == 1].tolist() == [led_tokenizer.bos_token_id, *led_tokenizer._tokenize([question])[0]]
        assert (np.diff(mask) <= 0).all()


def test_first_marks_one_token_and_none_marks_nothing(led_tokenizer):
    first = led_tokenizer(DOCUMENTS, global_attention="first")["global_attention_mask"]
    assert (first[:, 0] == 1).all()
    assert first.sum() == len(DOCUMENTS)
    assert (first == led_tokenizer(DOCUMENTS)["global_attention_mask"]).all()
    assert led_tokenizer(DOCUMENTS, global_attention="none")["global_attention_mask"].sum() == 0


def marked(tokenizer, text, spans, **arguments):
    batch = tokenizer(text, global_attention="none", global_spans=[spans], return_offsets=True, **arguments)
    chosen = batch["global_attention_mask"][0] == 1
    return [tuple(offset) for offset in batch["offsets"][0][chosen].tolist()]


def test_every_occurrence_of_a_string_is_global(led_tokenizer):
    text = "def area: return area\n"
    covered = marked(led_tokenizer, text, ["area"])
    assert {place for start, end in covered for place in range(start, end)} >= {4, 5, 6, 7, 17, 18, 19, 20}
    assert all((start < 8 and end > 4) or (start < 21 and end > 17) for start, end in covered)
    assert marked(led_tokenizer, text, ["nowhere"]) == []


def test_spans_are_of_characters_and_add_to_the_rest(led_tokenizer):
    text = "\u4e2d\u6587 one two"
    assert marked(led_tokenizer, text, [(3, 6)]) == marked(led_tokenizer, text, ["one"])
    both = led_tokenizer([text, text], global_spans=[[(7, 10)], []])["global_attention_mask"]
    assert both[0].sum() > both[1].sum() == 1


def test_spans_of_a_pair_are_of_its_second_text(led_tokenizer):
    batch = led_tokenizer(
        "one", text_pair="one two", global_attention="none", global_spans=[["one"]], return_segment_mask=True
    )
    is_marked = batch["global_attention_mask"] == 1
    assert is_marked.any()
    assert (batch["segment_mask"][is_marked] == 1).all()


def test_spans_behind_the_truncation_mark_nothing(led_tokenizer):
    assert marked(led_tokenizer, "one " * 50 + "two", ["two"], max_length=16) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"global_attention": "last"}, "global_attention must be one of"),
        ({"global_attention": "question"}, "global_attention='question' needs text_pair"),
        ({"global_spans": ["a"]}, r"global_spans\[0\] must be a list of strings and \(start, end\) pairs"),
        ({"global_spans": [["a"], ["b"]]}, "global_spans must hold a list for each of 1 texts"),
        ({"global_spans": [[(0, 4)]]}, r"global_spans\[0\]\[0\] must be a non-empty string or \(start, end\)"),
        ({"global_spans": [["b", (1, 1)]]}, r"global_spans\[0\]\[1\] must be"),
        ({"global_spans": [[""]]}, r"global_spans\[0\]\[0\] must be a non-empty string"),
    ],
)
def test_wrong_global_tokens_are_named(led_tokenizer, arguments, message):
    with pytest.raises(ValueError, match=message):
        led_tokenizer("a b", **arguments)


def test_longt5_has_no_global_attention(longt5_tokenizer):
    for name in GLOBAL_ATTENTION:
        with pytest.raises(ValueError, match="global_attention must be None: this tokenizer has no global tokens"):
            longt5_tokenizer("a", global_attention=name)
        with pytest.raises(ValueError, match="global_attention must be None: this tokenizer has no global tokens"):
            longt5_tokenizer.as_layer(8, global_attention=name)
    with pytest.raises(ValueError, match="global_spans must be None: this tokenizer has no global tokens"):
        longt5_tokenizer("a", global_spans=[["a"]])
