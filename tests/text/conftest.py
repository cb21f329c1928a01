"""Tiny vocabularies, trained once, and strings that cover what Unicode and source text bring."""

import inspect
import json
import random
import textwrap
import unicodedata

import pytest

from tfmodels.text import LEDTokenizer, LongT5Tokenizer

FUZZ_COUNT = 3000
FRAGMENTS = [
    *(
        " ",
        "  ",
        "    ",
        "\t",
        "\t\t",
        "\n",
        "\n\n",
        "\r\n",
        "\x0b",
        "\x1c",
        "\x85",
        "\xa0",
        "\u2003",
        "\u3000",
        "\u200b",
    ),
    *("'s", "'S", "'t", "'re", "'RE", "'ve", "'m", "'ll", "'LL", "'d", "'", "''", " 's", "\u2019s", "\n's"),
    *("<s>", "</s>", "<pad>", "<unk>", "<mask>", " <mask>", "<mask >", "<extra_id_0>", "<extra_id_99>"),
    *(" <extra_id_10> ", "<extra_id_100>", "<extra_id_01>", "<", ">", "</", "\u2581", "\u2581\u2581", "\0", "\ufeff"),
    *("the", " the", "return", "def ", "self", "1", "23", "x1", "\u00e9", "e\u0301", "\u0e01\u0e33", "\u4e2d\u6587"),
    *("\U0001f469\u200d\U0001f469\u200d\U0001f467", "\U0001f44d\U0001f3fd", "\u05e9\u05dc\u05d5\u05dd", "\u0627\u0644"),
    *(
        "aaaa",
        "----",
        "####",
        "0000",
        "....",
        "\ufffd",
        "\ufffe",
        "\u2028",
        "\uac00",
        "\u1100\u1161",
        "\ufb01",
        "\u00bd",
    ),
]


def _module_sources() -> list[str]:
    return [inspect.getsource(module) for module in (json, random, textwrap, inspect)]


@pytest.fixture(scope="session")
def source_texts() -> list[str]:
    return _module_sources()


@pytest.fixture(scope="session")
def fuzz_texts() -> list[str]:
    generator = random.Random(0)
    by_category: dict[str, list[str]] = {}
    for code in range(0x110000):
        if not 0xD800 <= code < 0xE000:
            by_category.setdefault(unicodedata.category(chr(code)), []).append(chr(code))
    categories = list(by_category.values())

    def fuzz() -> str:
        strangeness = generator.random()
        return "".join(
            generator.choice(generator.choice(categories))
            if generator.random() < strangeness
            else generator.choice(FRAGMENTS)
            for _ in range(generator.randrange(25))
        )

    return ["", " ", "\n", *(fuzz() for _ in range(FUZZ_COUNT))]


@pytest.fixture(scope="session")
def led_tokenizer() -> LEDTokenizer:
    return LEDTokenizer.train_from_iterator(_module_sources(), vocab_size=1000)


@pytest.fixture(scope="session")
def long_t5_tokenizer() -> LongT5Tokenizer:
    return LongT5Tokenizer.train_from_iterator(_module_sources(), vocab_size=1000)


@pytest.fixture(scope="session", params=["led", "long_t5"])
def tokenizer(request: pytest.FixtureRequest) -> LEDTokenizer | LongT5Tokenizer:
    return request.getfixturevalue(f"{request.param}_tokenizer")
