"""Tiny vocabularies, trained once, and the reference tokenizers that read their files."""

import inspect
import json
import logging
import random
import textwrap

import pytest
from fuzzing import fuzz_texts as make_fuzz_texts

from tfmodels import LEDTokenizer, LongT5Tokenizer


def _module_sources() -> list[str]:
    return [inspect.getsource(module) for module in (json, random, textwrap, inspect)]


@pytest.fixture(scope="session")
def source_texts() -> list[str]:
    return _module_sources()


@pytest.fixture(scope="session")
def fuzz_texts() -> list[str]:
    return list(make_fuzz_texts(3000))


@pytest.fixture(scope="session")
def led_tokenizer() -> LEDTokenizer:
    return LEDTokenizer.train_from_iterator(_module_sources(), vocab_size=1000)


@pytest.fixture(scope="session")
def longt5_tokenizer() -> LongT5Tokenizer:
    return LongT5Tokenizer.train_from_iterator(_module_sources(), vocab_size=1000)


@pytest.fixture(scope="session", params=["led", "longt5"])
def tokenizer(request: pytest.FixtureRequest) -> LEDTokenizer | LongT5Tokenizer:
    return request.getfixturevalue(f"{request.param}_tokenizer")


@pytest.fixture(scope="session")
def led_reference(led_tokenizer, tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("led")
    led_tokenizer.save_pretrained(folder)
    return transformers.LEDTokenizerFast.from_pretrained(folder)


@pytest.fixture(scope="session")
def longt5_reference(longt5_tokenizer, tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    # The Google checkpoints' tokenizer_config.json has no `legacy`, which transformers reads as legacy=True.
    folder = tmp_path_factory.mktemp("longt5")
    longt5_tokenizer.save_pretrained(folder)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    return transformers.T5Tokenizer.from_pretrained(folder, legacy=True)


@pytest.fixture(scope="session", params=["led", "longt5"])
def with_reference(request: pytest.FixtureRequest):
    """A family's tokenizer and the reference for the same files."""
    return request.getfixturevalue(f"{request.param}_tokenizer"), request.getfixturevalue(f"{request.param}_reference")
