"""Streamed text is the decoded text, in pieces that never take anything back."""

import numpy as np
import pytest

from tfmodels import LEDTokenizer, LongT5Tokenizer

TEXTS = ["def area(width): return width", "naïve café ✓ 🎉 end", "", "  two  spaces\n", "🎉"]


@pytest.fixture(scope="module", params=[LEDTokenizer, LongT5Tokenizer])
def tokenizer(request):
    return request.param.train_from_iterator(TEXTS * 20, 300)


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_together_are_the_decoded_text(tokenizer, text):
    ids = tokenizer.encode(text)
    pieces = list(tokenizer.stream(np.array([token], "int32") for token in [*ids, tokenizer.pad_token_id]))
    assert "".join(pieces) == tokenizer.decode(ids)
    assert all(pieces)
    assert not any("\ufffd" in piece for piece in pieces[:-1])


def test_text_comes_before_the_end(tokenizer):
    seen = []
    ids = tokenizer.encode(TEXTS[0])
    stream = tokenizer.stream(seen.append(token) or token for token in ids)
    next(stream)
    assert len(seen) < len(ids) / 2


def test_an_unfinished_character_is_said_at_the_end():
    tokenizer = LEDTokenizer.train_from_iterator(["ascii only"], 280)
    ids = tokenizer.encode("🎉")[1:-2]  # the last byte is missing
    assert list(tokenizer.stream(ids)) == [tokenizer.decode(ids)]


def test_several_rows_are_refused(tokenizer):
    with pytest.raises(ValueError, match="steps must hold one id each, of one document. Received: 2 ids"):
        list(tokenizer.stream([np.array([5, 6])]))
