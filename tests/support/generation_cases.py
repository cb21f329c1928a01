"""Settings of generation under which both libraries must find the same tokens, made from a seed."""

import zlib

import numpy as np
from tiny import VOCABULARY

MAX_NEW_TOKENS = 12


def _some_ids(generator, count):
    return generator.choice(np.arange(5, VOCABULARY), count, replace=False).tolist()


# Settings by what they are about; each gets a generator, the number of beams and the end token.
SETTINGS = {
    "plain": lambda generator, beams, end: {},
    "length penalty": lambda generator, beams, end: {"length_penalty": float(generator.choice([-0.5, 0.0, 0.6, 2.0]))},
    "early stopping": lambda generator, beams, end: {"early_stopping": True},
    "never stop early": lambda generator, beams, end: {
        "early_stopping": "never",
        "length_penalty": float(generator.choice([-0.5, 1.5])),
    },
    "several returned": lambda generator, beams, end: {"num_return_sequences": int(generator.integers(1, beams + 1))},
    "repetition penalty": lambda generator, beams, end: {
        "repetition_penalty": float(generator.choice([0.8, 1.4, 3.5]))
    },
    "encoder repetition penalty": lambda generator, beams, end: {
        "encoder_repetition_penalty": float(generator.choice([0.6, 1.8]))
    },
    "no repeated n-grams": lambda generator, beams, end: {"no_repeat_ngram_size": int(generator.integers(1, 4))},
    "no copied n-grams": lambda generator, beams, end: {"encoder_no_repeat_ngram_size": int(generator.integers(1, 3))},
    "min length": lambda generator, beams, end: {"min_length": int(generator.integers(4, MAX_NEW_TOKENS))},
    "min new tokens": lambda generator, beams, end: {"min_new_tokens": int(generator.integers(4, MAX_NEW_TOKENS))},
    "max length": lambda generator, beams, end: {
        "max_length": int(generator.integers(5, 11)),
        "max_new_tokens": None,
    },
    "default length": lambda generator, beams, end: {"max_new_tokens": None},
    "forced first": lambda generator, beams, end: {"forced_bos_token_id": _some_ids(generator, 1)[0]},
    "forced last": lambda generator, beams, end: {"forced_eos_token_id": end},
    "bad words": lambda generator, beams, end: {
        "bad_words_ids": [[token] for token in _some_ids(generator, 20)]
        + [_some_ids(generator, 2) for _ in range(20)]
        + [_some_ids(generator, 3), [end]]
    },
    "suppressed": lambda generator, beams, end: {"suppress_tokens": _some_ids(generator, 25)},
    "suppressed first": lambda generator, beams, end: {"begin_suppress_tokens": _some_ids(generator, 40)},
    "growing end": lambda generator, beams, end: {
        "exponential_decay_length_penalty": (int(generator.integers(1, 5)), float(generator.choice([1.2, 1.6])))
    },
    "several ends": lambda generator, beams, end: {"eos_token_id": [end, *_some_ids(generator, 12)]},
    "renormalized": lambda generator, beams, end: {
        "renormalize_logits": True,
        "suppress_tokens": _some_ids(generator, 25),
    },
    # What the public fine-tunes ship, lengths aside.
    "led fine-tune": lambda generator, beams, end: {
        "min_length": 8,
        "length_penalty": 2.0,
        "early_stopping": True,
        "no_repeat_ngram_size": 3,
    },
    "led book summary": lambda generator, beams, end: {
        "min_length": 5,
        "length_penalty": 0.8,
        "early_stopping": True,
        "no_repeat_ngram_size": 3,
        "repetition_penalty": 3.5,
    },
    "longt5 book summary": lambda generator, beams, end: {
        "min_length": 6,
        "length_penalty": 0.8,
        "no_repeat_ngram_size": 3,
        "encoder_no_repeat_ngram_size": 4,
        "repetition_penalty": 3.5,
    },
}
# Settings that a combination may not hold together: they give the same name twice, or the reference gets NaN.
_APART = [
    {"max length", "default length", "min length", "min new tokens", "growing end"},
    {"suppressed", "renormalized", "growing end"},
    {"length penalty", "never stop early"},
    {"early stopping", "never stop early"},
    {"several ends", "growing end", "bad words"},
    {"no repeated n-grams", "growing end"},
    {"no copied n-grams", "growing end"},
    {"forced last", "growing end"},
    {"forced first", "suppressed", "suppressed first"},
    {"forced first", "renormalized"},
    {"forced first", "bad words"},
    {"forced first", "several ends"},
]
COMBINATIONS = [f"combination {number}" for number in range(6)]


def settings_of(kind, beams, case, end):
    """The settings of one case: the same ones each time, and others for each kind and number of beams."""
    generator = np.random.default_rng(zlib.crc32(f"{kind} {beams} {case}".encode()))
    names = [case] if case in SETTINGS else _combination(generator)
    found = {"max_new_tokens": MAX_NEW_TOKENS}
    for name in names:
        found |= SETTINGS[name](generator, beams, end)
    return {name: value for name, value in found.items() if value is not None}


def _combination(generator):
    """Names of three or four settings that go together."""
    chosen = []
    for name in generator.permutation([name for name in SETTINGS if " fine-tune" not in name and "book" not in name]):
        if len(chosen) < 4 and not any({name, other} <= apart for other in chosen for apart in _APART):
            chosen.append(str(name))
    return chosen
