"""Added tokens in texts, in TensorFlow ops: separators around them, and white space that they take along left out."""

import re
from collections.abc import Iterable, Mapping, Sequence

import tensorflow as tf

from tfmodels.text.added_tokens import AddedToken, may_overlap
from tfmodels.text.lower_case import LowerCase
from tfmodels.text.separators import SEPARATOR, joined_with_separators, split_at_separators, static_table
from tfmodels.text.unicode_classes import PYTHON_SPACE, WHITE_SPACE, single_word_characters

# In front of a token where a word could have the same text. As the separator, it stands in no valid UTF-8.
MARK = b"\xfe"
_LSTRIP, _RSTRIP, _SINGLE_WORD = 1, 2, 4
# With twice as many the regular expressions need more memory than they get, and run a hundred times as long.
_MOST_BYTES = 16_384
# The end of a text followed by a character.
NOTHING = r"\z."
# Stands for the step between patterns that puts text into lower case.
_LOWER = r"\z\A"


class TokenMarker(tf.Module):
    """A function that puts separators around the added tokens of texts.

    Most tokenizers need one regular expression for it. Tokens that may overlap, count as single words only, or hold
    white space are found in several steps.

    Args:
        tokens: the tokens to look for, with their ids.
        is_slow: whether to follow the rules of transformers' Python classes: one search for all tokens, which may take
            white space from other tokens along. Otherwise the rules of the tokenizers library: tokens that are not
            `normalized` come first.
        lowers: whether the text between tokens that are not `normalized` is put into lower case.

    Attributes:
        contents: the tokens' texts, as they stand in a text.
        ids: pairs of such a text, behind the mark, and its token's id.
        mark: the byte between a separator and a token; empty where one expression is enough.

    Raises:
        ValueError: tokens whose rules the graph does not follow.
    """

    def __init__(self, tokens: Mapping[int, AddedToken], is_slow: bool, lowers: bool = False):
        super().__init__()
        lower = _lower if lowers else str
        keys = {index: lower(token.content) if token.normalized else token.content for index, token in tokens.items()}
        named = {keys[index]: token for index, token in tokens.items()}
        if len(named) < len(tokens):
            raise ValueError(
                f"added tokens must differ in lower case, too, for the tokenizer to run in the graph. "
                f"Received: {sorted(token.content for token in tokens.values())}"
            )
        self.contents = tuple(sorted(named, key=len, reverse=True))
        self._space = PYTHON_SPACE if is_slow else WHITE_SPACE
        self._is_slow = is_slow
        size = sum(len(name.encode()) for name in named)
        if size > _MOST_BYTES:
            raise ValueError(
                f"added tokens must have at most {_MOST_BYTES:,} bytes altogether for the tokenizer to run in the "
                f"graph. Received: {len(named):,} tokens of {size:,} bytes"
            )
        self._has_single_words = any(token.single_word for token in named.values())
        if is_slow:
            _check_slow(named.values())
        is_simple = not lowers and _needs_one_pattern(named, is_slow)
        self.mark = b"" if is_slow or is_simple else MARK
        self.ids = tuple((self.mark + name.encode(), index) for index, name in keys.items())
        self._rewrite = SEPARATOR + rb"\1\2\3\4" + SEPARATOR if is_simple else b""
        if is_simple:
            self._patterns = [self._grouped_pattern(named)] if named else []
            return
        first, second = (self.contents, ()) if is_slow else _by_step(named)
        if lowers:
            self._lower_case = LowerCase()
        steps = [_alternatives(first), _LOWER * lowers, _alternatives(second)]
        self._patterns = [pattern for pattern in steps if pattern]
        if self._has_single_words:
            self._word_character = f"[{single_word_characters()}]"
        marked = [self.mark + name.encode() for name in named]
        with tf.init_scope():
            self._flags = static_table(marked, tf.string, [_flags(token) for token in named.values()], 0)

    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        """Texts (B,) with separators around tokens, and the mark in front of them."""
        for pattern in self._patterns:
            if pattern == _LOWER:
                texts = self._lowered(texts)
            elif self._rewrite:
                texts = tf.strings.regex_replace(texts, pattern, self._rewrite)
            else:
                texts = self._slow_step(texts, pattern) if self._is_slow else self._step(texts, pattern)
        return texts

    def _grouped_pattern(self, tokens: Mapping[str, AddedToken]) -> str:
        space = f"[{self._space}]*"
        groups = [
            f"{space * lstrip}({_alternatives(names) or NOTHING}){space * rstrip}"
            for lstrip, rstrip in ((False, False), (True, False), (False, True), (True, True))
            for names in [[name for name in self.contents if tokens[name].strips == (lstrip, rstrip)]]
        ]
        return "|".join(groups)

    def _lowered(self, texts: tf.Tensor) -> tf.Tensor:
        stretches, rows = split_at_separators(texts)
        is_token = _is_marked(stretches)
        lowered = self._lower_case(tf.where(is_token, "", stretches))
        return joined_with_separators(tf.where(is_token, stretches, lowered), rows, tf.size(texts))

    def _step(self, texts: tf.Tensor, pattern: str) -> tf.Tensor:
        stretches, rows = split_at_separators(texts)
        separated = tf.strings.regex_replace(stretches, f"({pattern})", SEPARATOR + MARK + rb"\1" + SEPARATOR)
        pieces, places = split_at_separators(tf.where(_is_marked(stretches), stretches, separated))
        if self._has_single_words:
            pieces, places = self._with_parts_of_words(pieces, places)
        pieces = tf.where(_is_marked(pieces), pieces, self._stripped(pieces, places))
        return joined_with_separators(pieces, tf.gather(rows, places), tf.size(texts))

    def _slow_step(self, texts: tf.Tensor, pattern: str) -> tf.Tensor:
        separated = tf.strings.regex_replace(texts, f"({pattern})", SEPARATOR + rb"\1" + SEPARATOR)
        pieces, rows = split_at_separators(separated)
        return joined_with_separators(self._stripped(pieces, rows), rows, tf.size(texts))

    def _stripped(self, pieces: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
        """Pieces (P,) without the white space that tokens beside them, of the same place (P,), take along."""
        flags = self._flags.lookup(pieces)
        follows, precedes = _neighbours(places)
        is_left = tf.concat([[0], flags[:-1]], axis=0)[: tf.size(flags)]
        is_right = tf.concat([flags[1:], [0]], axis=0)[: tf.size(flags)]
        left_free = tf.strings.regex_replace(pieces, f"^[{self._space}]+", "")
        pieces = tf.where(follows & (tf.bitwise.bitwise_and(is_left, _RSTRIP) > 0), left_free, pieces)
        right_free = tf.strings.regex_replace(pieces, f"[{self._space}]+$", "")
        return tf.where(precedes & (tf.bitwise.bitwise_and(is_right, _LSTRIP) > 0), right_free, pieces)

    def _with_parts_of_words(self, pieces: tf.Tensor, places: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The pieces, where tokens that only count as single words are text again beside a character of a word."""
        is_token = _is_marked(pieces)
        length = tf.strings.length(pieces)
        texts = tf.where(is_token, tf.strings.substr(pieces, tf.minimum(1, length), length), pieces)
        starts, ends = (
            tf.strings.regex_full_match(tf.strings.substr(texts, place, 1, unit="UTF8_CHAR"), self._word_character)
            for place in (0, -1)
        )
        follows, precedes = _neighbours(places)
        after_word = follows & tf.concat([[False], ends[:-1]], axis=0)[: tf.size(ends)]
        before_word = precedes & tf.concat([starts[1:], [False]], axis=0)[: tf.size(starts)]
        is_single = tf.bitwise.bitwise_and(self._flags.lookup(pieces), _SINGLE_WORD) > 0
        is_text = ~is_token | (is_single & (after_word | before_word))
        continues = follows & is_text & tf.concat([[False], is_text[:-1]], axis=0)[: tf.size(is_text)]
        group = tf.cumsum(tf.cast(~continues, tf.int32)) - 1
        count = tf.reduce_sum(tf.cast(~continues, tf.int32))
        joined = tf.strings.unsorted_segment_join(tf.where(is_text, texts, pieces), group, count)
        return joined, tf.boolean_mask(places, ~continues)


def _lower(text: str) -> str:
    from tokenizers.normalizers import Lowercase

    return Lowercase().normalize_str(text)


def _needs_one_pattern(tokens: Mapping[str, AddedToken], is_slow: bool) -> bool:
    """Whether one expression finds all tokens as transformers does, with the white space that they take along."""
    has_space = any(re.search(r"\s", name) for name in tokens)
    strips = any(True in token.strips for token in tokens.values())
    if any(token.single_word for token in tokens.values()) or (has_space and (strips or not is_slow)):
        return False
    # Of tokens that begin alike the longest counts, which one group for each kind of flags would not see.
    for name, token in tokens.items():
        shorter = (tokens.get(name[:end]) for end in range(1, len(name)))
        if any(other is not None and other.strips != token.strips for other in shorter):
            return False
    first, second = _by_step(tokens)
    return is_slow or not any(may_overlap(name, other) for name in first for other in second)


def _by_step(tokens: Mapping[str, AddedToken]) -> tuple[Sequence[str], Sequence[str]]:
    """Contents, longest first, of the tokens that are not normalized, and of the normalized tokens."""
    names = sorted(tokens, key=len, reverse=True)
    first = [name for name in names if not tokens[name].normalized]
    return first, [name for name in names if tokens[name].normalized]


def _check_slow(tokens: Iterable[AddedToken]) -> None:
    for token in tokens:
        if token.single_word:
            raise ValueError(
                f"added tokens must not have single_word for a SentencePiece tokenizer to run in the graph. "
                f"Received: {token.content!r}"
            )
        if True in token.strips and token.content != token.content.lstrip():
            raise ValueError(
                f"added tokens with lstrip or rstrip must not begin with white space for a SentencePiece tokenizer to "
                f"run in the graph. Received: {token.content!r}"
            )


def _flags(token: AddedToken) -> int:
    return _LSTRIP * token.lstrip + _RSTRIP * token.rstrip + _SINGLE_WORD * token.single_word


def _alternatives(names: Sequence[str]) -> str:
    return "|".join(map(re2_literal, names))


def re2_literal(text: str) -> str:
    r"""The RE2 pattern of a text as it is.

    >>> re2_literal("a+b")
    'a\\+b'
    """
    return "".join(
        character
        if character.isalnum() or ord(character) > 127
        else rf"\x{{{ord(character):x}}}"
        if character.isspace() or ord(character) < 32
        else "\\" + character
        for character in text
    )


def _is_marked(pieces: tf.Tensor) -> tf.Tensor:
    return tf.strings.substr(pieces, 0, 1) == MARK


def _neighbours(places: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Whether the piece before is of the same place, and whether the piece behind is, bool (P,) each."""
    same = places[1:] == places[:-1]
    count = tf.size(places)
    return tf.concat([[False], same], axis=0)[:count], tf.concat([same, [False]], axis=0)[:count]
