"""Seeded strings that cover what Unicode and source text bring to a tokenizer."""

import functools
import random
import unicodedata
from collections.abc import Iterator

SPACES = (
    *(" ", "  ", "    ", "\t", "\t\t", "\n", "\n\n", "\r\n", "\x0b", "\x1c", "\x85", "\xa0"),
    *("\u2003", "\u2028", "\u3000", "\u200b", " " * 17, "\t \t ", "\n \n\t"),
)
CONTRACTIONS = (
    *("'s", "'S", "'t", "'T", "'re", "'RE", "'Re", "'ve", "'VE", "'m", "'M", "'ll", "'LL", "'lL", "'d", "'D"),
    *("'", "''", " 's", "\u2019s", "\n's", "x's", "n't", "'sx"),
)
SPECIAL_TOKENS = (
    *("<s>", "</s>", "<pad>", "<unk>", "<mask>", " <mask>", "<mask >", "<extra_id_0>", "<extra_id_99>"),
    *(" <extra_id_10> ", "<extra_id_100>", "<extra_id_01>", "<", ">", "</"),
)
WORDS = (
    *(
        "the",
        " the",
        "return",
        "def ",
        "self",
        "1",
        "23",
        "456",
        "7890",
        "x1",
        "_",
        "__init__",
        "a.b",
        "(",
        "):",
        '"""',
    ),
    *("aaaa", "----", "####", "0000", "....", "====", "\u2581", "\u2581\u2581", "\u2585", "\0", "\ufeff"),
)
SCRIPTS = (
    *("\u00e9", "e\u0301", "\u0301", "q\u0308\u0323", "\u0e01\u0e33", "\u4e2d\u6587", "\uac00", "\u1100\u1161"),
    # Hebrew and Arabic with points, and the marks that turn the direction.
    *("\u05e9\u05c1\u05dc\u05d5\u05dd", "\u0627\u0644\u0639\u064e\u0631", "\u200f", "\u202e", "\u2066", "\u2069"),
    # Characters that compatibility normalization takes apart.
    *("\ufb01", "\u00bd", "\u2460", "\uff21", "\ufdfa", "\u2126", "\u0660", "\u0967"),
    *("\ufffd", "\ufffe", "\U0010ffff", "\ue000"),
)
EMOJI = (
    *("\U0001f469\u200d\U0001f469\u200d\U0001f467", "\U0001f44d\U0001f3fd", "\u2764\ufe0f", "\U0001f1e9\U0001f1ea"),
    *("\U0001f3f4\U000e0067\U000e0062\U000e007f", "1\ufe0f\u20e3", "\U0001f389"),
)
FRAGMENTS = (*SPACES, *CONTRACTIONS, *SPECIAL_TOKENS, *WORDS, *SCRIPTS, *EMOJI)

BROKEN_UTF8 = (
    *(b"a", b" ", b"\xe2", b"\x82", b"\xac", b"\xf0\x9f", b"\x98\x80", b"\xff", b"\xed\xa0\x80", b"\xc0", b"\xf4\x90"),
    *(b"the", b"\xe2\x82\xac", b"</s>", b"\xf8\x88\x80\x80\x80", b"\x80", b"\xc3"),
)


@functools.cache
def characters_by_category() -> tuple[tuple[str, ...], ...]:
    """Every code point that text can hold, in one tuple for each Unicode category."""
    found: dict[str, list[str]] = {}
    for code in range(0x110000):
        if not 0xD800 <= code < 0xE000:
            found.setdefault(unicodedata.category(chr(code)), []).append(chr(code))
    return tuple(map(tuple, found.values()))


def fuzz_texts(count: int, seed: int = 0) -> Iterator[str]:
    """`count` strings of up to 24 fragments and characters of all categories, the empty string first."""
    generator = random.Random(seed)
    categories = characters_by_category()
    yield from ("", " ", "\n")[:count]
    for _ in range(count - 3):
        strangeness = generator.random()
        yield "".join(
            generator.choice(generator.choice(categories))
            if generator.random() < strangeness
            else generator.choice(FRAGMENTS)
            for _ in range(generator.randrange(25))
        )


def fuzz_bytes(count: int, seed: int = 0) -> Iterator[bytes]:
    """`count` byte strings, most of them not UTF-8."""
    generator = random.Random(seed)
    for _ in range(count):
        yield b"".join(generator.choices(BROKEN_UTF8, k=generator.randrange(12)))


def long_text(characters: int, seed: int = 0, is_ascii: bool = False) -> str:
    """A text of that many characters, or fewer: words, numbers, all categories, and runs of one character."""
    generator = random.Random(seed)
    pieces: list[str] = []
    size = 0
    while size < characters:
        kind = generator.random()
        if kind < 0.8:
            piece = "".join(generator.choices("abcdefghijklmnopqrstuvwxyz", k=generator.randrange(1, 12))) + " "
        elif kind < 0.9:
            piece = generator.choice(FRAGMENTS)
        elif kind < 0.95:
            piece = generator.choice(generator.choice(characters_by_category()))
        else:
            piece = generator.choice("ab #-=.0") * generator.randrange(40) + "\n"
        pieces.append(piece)
        size += len(piece)
    text = "".join(pieces)[:characters]
    return (
        "".join(character for character in text if character == "\n" or " " <= character <= "~") if is_ascii else text
    )


def batches(texts: Iterator[str], size: int = 1000) -> Iterator[list[str]]:
    """The texts in lists of `size`."""
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
