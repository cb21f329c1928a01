"""Where tokens stand in their texts, which tokens an answer is, and which are special."""

import numpy as np
import pytest

from tfmodels import answer_positions

TEXTS = [
    "def encode(self, text):\n    return text",
    "",
    "  na\u00efve \u4e2d\u6587 \U0001f389\U0001f469\u200d\U0001f467 <mask> end</s>",
    " <extra_id_0>  the <extra_id_1> x",
]
CONTEXT = "The width of the \u00e9tude is 23 units. It is the longest row of the batch and then some."


@pytest.mark.parametrize("max_length", [None, 9])
def test_offsets_of_led_are_those_of_transformers(led_tokenizer, led_reference, fuzz_texts, max_length):
    texts = TEXTS + fuzz_texts[:1000]
    padding = "longest" if max_length is None else "max_length"
    arguments = {"padding": padding, "truncation": max_length is not None, "max_length": max_length}
    expected = led_reference(texts, return_offsets_mapping=True, **arguments)
    offsets = led_tokenizer(texts, max_length=max_length, return_offsets=True)["offsets"]
    assert offsets.dtype == np.int32
    assert offsets.tolist() == [[list(span) for span in row] for row in expected["offset_mapping"]]


def test_offsets_of_led_pairs_are_those_of_transformers(led_tokenizer, led_reference):
    expected = led_reference(TEXTS, TEXTS[::-1], return_offsets_mapping=True, padding=True)["offset_mapping"]
    offsets = led_tokenizer(TEXTS, text_pair=TEXTS[::-1], return_offsets=True)["offsets"]
    assert offsets.tolist() == [[list(span) for span in row] for row in expected]


def test_offsets_of_longt5_cover_the_text_but_for_white_space(longt5_tokenizer, fuzz_texts):
    texts = TEXTS + fuzz_texts[:1000]
    batch = longt5_tokenizer(texts, return_offsets=True, return_special_tokens_mask=True)
    for text, offsets, special in zip(texts, batch["offsets"], batch["special_tokens_mask"], strict=True):
        covered = np.zeros(len(text) + 1, bool)
        assert (offsets[special == 1] == 0).all()
        end = 0
        for start, stop in offsets[special == 0]:
            assert 0 <= start <= stop <= len(text)
            assert start >= end or stop <= start or start == stop
            end = max(end, start)
            covered[start:stop] = True
            assert text[start:stop] == text[start:stop].strip()
        # Control characters, soft hyphens and the like are dropped by the normalization.
        missed = {character for character, seen in zip(text, covered, strict=False) if not seen}
        assert not any("!" <= character <= "~" or character == "\u4e2d" for character in missed), missed


def test_a_piece_of_plain_text_is_what_its_offsets_say(tokenizer):
    batch = tokenizer(CONTEXT, return_offsets=True)
    for token, (start, end) in zip(batch["input_ids"][0].tolist(), batch["offsets"][0].tolist(), strict=True):
        piece = tokenizer.decode([token]).strip()
        if token == tokenizer.unk_token_id:
            continue
        assert piece == CONTEXT[start:end] or "\ufffd" in piece, (piece, CONTEXT[start:end])


def test_ids_with_offsets_are_the_ids_without(tokenizer, fuzz_texts):
    plain, with_offsets = tokenizer(fuzz_texts), tokenizer(fuzz_texts, return_offsets=True)
    assert (plain["input_ids"] == with_offsets["input_ids"]).all()


@pytest.mark.parametrize("question", [None, "what is the width?"])
def test_answer_positions_are_the_tokens_of_the_answer(tokenizer, question):
    answers = ["23 units", "23", "The width", "some.", "units"]
    spans = [(CONTEXT.index(answer), CONTEXT.index(answer) + len(answer)) for answer in answers]
    texts = [CONTEXT] * len(answers)
    if question is None:
        batch, segment = tokenizer(texts, return_offsets=True), None
    else:
        batch = tokenizer([question] * len(texts), text_pair=texts, return_offsets=True, return_segment_mask=True)
        segment = batch["segment_mask"]
    positions = answer_positions(batch["offsets"], spans, segment)
    for row, (start, end) in enumerate(zip(positions["start_positions"], positions["end_positions"], strict=True)):
        assert answers[row] in tokenizer.decode(batch["input_ids"][row, start : end + 1])
        assert batch["offsets"][row, start, 0] <= spans[row][0]
        assert batch["offsets"][row, end, 1] >= spans[row][1]
        assert start == 0 or batch["offsets"][row, start - 1, 1] <= spans[row][0]


def test_an_answer_that_was_cut_away_stands_behind_the_row(tokenizer):
    whole = tokenizer(CONTEXT, return_offsets=True)["offsets"]
    start = CONTEXT.index("longest row")
    span = (start, start + len("longest row"))
    last = int(answer_positions(whole, [span])["end_positions"][0])
    for length in range(4, len(whole[0]) + 2):
        offsets = tokenizer(CONTEXT, max_length=length, return_offsets=True)["offsets"]
        positions = answer_positions(offsets, [span])
        is_whole = last < length - 1
        assert (positions["end_positions"][0] == last) if is_whole else (positions["end_positions"][0] == length)
        assert (positions["start_positions"][0] < length) == is_whole
    assert answer_positions(whole, [None])["start_positions"].tolist() == [whole.shape[1]]


def test_wrong_spans_are_named(tokenizer):
    offsets = tokenizer("a b", return_offsets=True)["offsets"]
    with pytest.raises(ValueError, match=r"offsets must have the shape \(B, L, 2\)"):
        answer_positions(offsets[0], [(0, 1)])
    with pytest.raises(ValueError, match="spans must hold a span or None for each of 1 rows"):
        answer_positions(offsets, [])
    with pytest.raises(ValueError, match=r"spans\[0\] must be \(start, end\) with 0 <= start < end"):
        answer_positions(offsets, [(1, 1)])
    with pytest.raises(ValueError, match="segment_mask must have the shape"):
        answer_positions(offsets, [None], np.ones((1, 99)))


def test_special_tokens_masks_are_those_of_transformers(with_reference):
    tokenizer, reference = with_reference
    texts = ["a", "b c d </s> e", "", "return self"]
    for arguments, pair in (({}, None), ({"max_length": 8}, None), ({"max_length": 16}, texts[::-1])):
        batch = tokenizer(texts, text_pair=pair, return_special_tokens_mask=True, **arguments)
        padding = {"padding": "max_length" if arguments else "longest", "truncation": bool(arguments)}
        expected = reference(texts, pair, return_special_tokens_mask=True, **padding, **arguments)
        assert batch["special_tokens_mask"].dtype == np.int32
        assert batch["special_tokens_mask"].tolist() == expected["special_tokens_mask"]


@pytest.mark.parametrize("skip_special_tokens", [True, False])
def test_cleaned_texts_are_those_of_transformers(with_reference, skip_special_tokens, fuzz_texts):
    tokenizer, reference = with_reference
    texts = ["I do n't , he 's ' here ' . is n't it ? yes ! we 've 'm they 're", " ' 's  . .", *fuzz_texts[:300]]
    rows = [tokenizer.encode(text) for text in texts]
    arguments = {"skip_special_tokens": skip_special_tokens, "clean_up_tokenization_spaces": True}
    expected = reference.batch_decode(rows, **arguments)
    assert tokenizer.batch_decode(rows, **arguments) == expected
    assert [tokenizer.decode(row, **arguments) for row in rows[:20]] == expected[:20]
