"""Character classes written out as ranges, for RE2 patterns inside the graph.

RE2's own classes follow the Unicode version of the server's TensorFlow, and its `\\s` is ASCII only. Ranges written
into the pattern make a served model split text as the Python path did when it was exported.
"""

import functools
from collections.abc import Iterable

# The White_Space property of Unicode: `\s` of the tokenizers library's regular expressions.
WHITE_SPACE = r"\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
# Python's `str.strip` removes the same and four separators.
PYTHON_SPACE = WHITE_SPACE + r"\x{1c}-\x{1f}"

# Letters and numbers live in the first four planes; above are tags, variation selectors and private use.
_LAST_CODE_POINT = 0x3FFFF


@functools.cache
def class_ranges(name: str) -> str:
    r"""Members of the regular expression class `name` (such as `\p{L}`) as ranges for the inside of an RE2 class.

    The tokenizers library is asked for every code point, because the table of its regular expressions is the one
    that decides where the Python path splits.
    """
    from tokenizers import Regex, normalizers

    alphabet = "".join(chr(code) for code in range(_LAST_CODE_POINT + 1) if not 0xD800 <= code < 0xE000)
    outside = set(map(ord, normalizers.Replace(Regex(name), "").normalize_str(alphabet)))
    return as_ranges([ord(character) for character in alphabet if ord(character) not in outside])


@functools.cache
def single_word_characters() -> str:
    """The characters beside which an added token is no single word, as ranges for the inside of an RE2 class.

    The tokenizers library is asked for every code point.
    """
    from tokenizers import AddedToken, Tokenizer, models

    # Marks of the fifteenth plane belong to words.
    codes = [code for code in (*range(_LAST_CODE_POINT + 1), *range(0xE0000, 0xE1000)) if not 0xD800 <= code < 0xE000]
    codes.remove(ord("a"))
    backend = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    backend.add_tokens([AddedToken("a", single_word=True)])
    encoding = backend.encode("".join(f"{chr(code)}a " for code in codes))
    places = {start for index, (start, _) in zip(encoding.ids, encoding.offsets, strict=True) if index}
    return as_ranges(sorted([ord("a"), *(code for number, code in enumerate(codes) if 3 * number + 1 not in places)]))


def as_ranges(members: Iterable[int]) -> str:
    """Ascending code points as ranges for the inside of an RE2 class."""
    ranges: list[list[int]] = []
    for code in members:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(rf"\x{{{first:x}}}-\x{{{last:x}}}" for first, last in ranges)
