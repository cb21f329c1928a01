"""Words and sentences of texts in any script, by the properties of their characters; no dictionary."""

import functools
import re
import unicodedata

# Scripts that put no spaces between words: a character with its marks is a word. Korean has spaces.
_SPACELESS = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"  # Burmese
    "\u1780-\u17ff\u19e0-\u19ff"  # Khmer
    "\u3005-\u3007\u3031-\u3035\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # Japanese
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese characters
)
# Thai and Lao have no mark for the end of a sentence: it is a space.
_THAI_LAO = "\u0e00-\u0eff"
_CLOSING = "」』”’）»"
# Ends that stand alone; those of ASCII end a sentence before white space only, as in "3.14".
_FULL_STOPS = "。！？｡।॥؟۔።။។៕"
_SENTENCE_END = re.compile(
    rf"(?<=[.!?])\s+|(?<=[{_FULL_STOPS}])(?![{_CLOSING}{_FULL_STOPS}])\s*"
    rf"|(?<=[{_FULL_STOPS}][{_CLOSING}])\s*|(?<=[{_THAI_LAO}])[ \u200b]+(?=[{_THAI_LAO}])"
)


def words(text: str) -> list[str]:
    """The words of a text, without punctuation, folded in case and composed (NFC).

    A word is a run of letters, their marks, and decimal digits; in a script without spaces it is one character with its
    marks. Words of ASCII letters and digits are the same as those of rouge-score's default tokenizer, before stemming.

    >>> words("Don't cut GRÖSSE; नमस्ते दुनिया, 東京.")
    ['don', 't', 'cut', 'grösse', 'नमस्ते', 'दुनिया', '東', '京']
    """
    composed = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return [re.sub("[\u200c\u200d]", "", word) for word in _word_pattern().findall(composed)]


def sentences(text: str) -> list[str]:
    """The sentences of a text, without the white space around them.

    A sentence ends after . ! ? and white space, after the full stops of other scripts, and in Thai and Lao at a space.
    Line breaks are kept: what they mean is for the caller to say.

    >>> sentences("Pi is 3.14. Is it? 是的。很好！")
    ['Pi is 3.14.', 'Is it?', '是的。', '很好！']
    """
    return [sentence for part in _SENTENCE_END.split(text) if (sentence := part.strip())]


@functools.cache
def _word_pattern() -> re.Pattern[str]:
    """What `\\w` is for `re` lacks the vowels of Indic scripts, which are marks, and has superscripts and "_"."""
    # No character beyond is a mark of the kinds that stand in words, or a number that is no digit.
    categories = {chr(code): unicodedata.category(chr(code)) for code in range(0x80, 0x20000)}
    # Without the variation selectors of emoji.
    marks = [x for x, kind in categories.items() if kind in ("Mn", "Mc") and not "\ufe00" <= x <= "\ufe0f"]
    numbers = [x for x, kind in categories.items() if kind == "No"]
    mark, number = _character_class(marks), _character_class(numbers)
    letter = rf"(?![_{number}])\w"
    # Joiners stand inside words of Persian and of Indic scripts.
    joiner = "(?<=[^\x00-\x7f])[\u200c\u200d]+(?=[^\x00-\x7f])"
    cluster = rf"(?=[{_SPACELESS}]){letter}[{mark}]*"
    run = rf"(?![{_SPACELESS}])(?:{letter}|[{mark}]|{joiner})"
    return re.compile(rf"{cluster}|(?![{_SPACELESS}]){letter}(?:{run})*")


def _character_class(characters: list[str]) -> str:
    """The characters, in order of their codes, as ranges inside of the brackets of a pattern."""
    ranges: list[list[str]] = []
    for character in characters:
        if ranges and ord(character) == ord(ranges[-1][1]) + 1:
            ranges[-1][1] = character
        else:
            ranges.append([character, character])
    return "".join(f"{first}-{last}" for first, last in ranges)
