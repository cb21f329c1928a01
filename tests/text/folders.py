"""Folders of tokenizers as transformers writes them, with settings of every kind, for both families."""

import json
import random

# Beside words, spaces and line breaks, at both ends, twice in a row, one a part of another.
TOKENS = (
    "<doc-sep>",
    "<doc",
    "[EVENT]",
    "\n",
    "x y",
    "\u00a7",
    "word",
    "wordy",
    "\u00e9",
    "<s>x",
    "sep><",
    "\U0001f389",
)
NEIGHBOURS = ("word", "a", " ", "  ", "\n", " \n ", "\u3000", "<s>", "</s>", "<mask>", "<extra_id_0>", " <extra_id_7> ")
NEIGHBOURS += (
    "1",
    "!",
    "_",
    "'s",
    "\u00e9",
    "\u4e2d",
    "\u2581",
    "The",
    "<pad>",
    "<unk>",
    "\x1c",
    "\u200b",
    "Words here",
    "\xa0",
)


def texts_with(tokens: list[str], count: int, seed: int = 0) -> list[str]:
    """Texts in which the tokens stand next to everything, and to each other."""
    generator = random.Random(seed)
    texts = list(tokens) + [token + token for token in tokens]
    texts += [f"a {token} b" for token in tokens] + [f"a{token}b" for token in tokens]
    while len(texts) < count:
        kinds = generator.choices(((*tokens, " "), NEIGHBOURS), weights=(1, 1), k=generator.randrange(1, 9))
        texts.append("".join(generator.choice(kind) for kind in kinds))
    return texts


def token(content: str, **flags: bool) -> dict:
    """A token as the files have it."""
    default = {"lstrip": False, "rstrip": False, "single_word": False, "special": False}
    return {"content": content, **default, "normalized": not flags.get("special", False), **flags}


def numbered(first: int, *tokens: dict) -> dict:
    """Tokens as `added_tokens_decoder` has them, from an id on."""
    return {str(first + number): content for number, content in enumerate(tokens)}


def written(folder, files: dict, **changes) -> None:
    """Writes files, JSON where they are no bytes, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {**files, **changes}.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


CONFIG, MAP, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"


def led_kinds(size: int) -> dict[str, dict]:
    """Settings files by what they are about, for a vocabulary of `size` tokens."""
    return {**_kinds_of_added_tokens(size), **_kinds_of_special_tokens(size)}


def _kinds_of_added_tokens(size: int) -> dict[str, dict]:
    return {
        "plain": {},
        "added_tokens.json": {ADDED: {"<doc-sep>": size, "\n": size + 1}},
        "primera": {
            ADDED: {"<doc-sep>": size},
            MAP: {"additional_special_tokens": ["<doc-sep>"], "mask_token": token("<mask>", lstrip=True)},
            CONFIG: {"model_max_length": 4096, "add_prefix_space": False},
        },
        "added_tokens_decoder": {
            CONFIG: {"added_tokens_decoder": numbered(size, *map(token, TOKENS)), "clean_up_tokenization_spaces": True}
        },
        "strips": {
            CONFIG: {
                "added_tokens_decoder": numbered(
                    size, token("<doc-sep>", rstrip=True), token("[EVENT]", lstrip=True, rstrip=True, special=True)
                ),
                "add_prefix_space": True,
            }
        },
        "strips and white space": {
            CONFIG: {
                "added_tokens_decoder": numbered(
                    size,
                    token("<doc-sep>", rstrip=True),
                    token("<doc", lstrip=True),
                    token("\n"),
                    token("x y"),
                    token("  "),
                )
            }
        },
        "single words": {
            CONFIG: {
                "added_tokens_decoder": numbered(
                    size,
                    token("word", single_word=True),
                    token("<doc-sep>", single_word=True, lstrip=True),
                    token("a", single_word=True, special=True),
                    token("\u00e9"),
                ),
            }
        },
        "ids that leave others out": {CONFIG: {"added_tokens_decoder": numbered(size + 40, *map(token, TOKENS[:3]))}},
    }


def _kinds_of_special_tokens(size: int) -> dict[str, dict]:
    return {
        "special ones beside others": {
            CONFIG: {
                "added_tokens_decoder": numbered(
                    size, token("<doc-sep>", special=True), token("<doc"), token("<s>x"), token("sep><"), token("word")
                )
            }
        },
        "other special tokens": {
            CONFIG: {
                "bos_token": "[B]",
                "eos_token": "[E]",
                "sep_token": "[E]",
                "cls_token": "[B]",
                "pad_token": "word",
                "mask_token": "[M]",
                "additional_special_tokens": ["<doc-sep>", "a"],
                "extra_special_tokens": {"image_token": "<doc"},
            }
        },
        "flags in special_tokens_map.json": {
            MAP: {
                "eos_token": token("[E]", rstrip=True),
                "sep_token": token("[E]", rstrip=True),
                "additional_special_tokens": [token("<doc-sep>", lstrip=True)],
            }
        },
        "split special tokens": {
            CONFIG: {
                "split_special_tokens": True,
                "added_tokens_decoder": numbered(size, token("<doc-sep>"), token("[EVENT]", special=True)),
            }
        },
    }


def t5_kinds(size: int) -> dict[str, dict]:
    """The same for T5, whose model has `size` pieces."""
    sentinels = [f"<extra_id_{number}>" for number in range(100)]
    return {
        "plain": {},
        "legacy": {CONFIG: {"legacy": True}},
        "not legacy": {CONFIG: {"legacy": False}},
        "not legacy, no prefix": {CONFIG: {"legacy": False, "add_prefix_space": False}},
        "no prefix": {CONFIG: {"add_prefix_space": False, "clean_up_tokenization_spaces": True}},
        "additional special tokens": {CONFIG: {"additional_special_tokens": ["[EVENT]"]}},
        "additional special tokens and sentinels": {
            MAP: {"additional_special_tokens": [*sentinels, "[EVENT]", token("<doc", lstrip=True)]},
        },
        "sentinels in place of pieces": {CONFIG: {"extra_ids": 0, "additional_special_tokens": sentinels[:3]}},
        "no sentinels": {CONFIG: {"extra_ids": 0}},
        "7 sentinels": {CONFIG: {"extra_ids": 7, "legacy": False}},
        "150 sentinels": {CONFIG: {"extra_ids": 150, "additional_special_tokens": None}},
        "added_tokens.json": {ADDED: {"<doc-sep>": size + 100, "\n": size + 101}},
        "added_tokens_decoder": {CONFIG: {"added_tokens_decoder": numbered(size + 100, *map(token, TOKENS))}},
        "added_tokens_decoder, not legacy": {
            CONFIG: {"legacy": False, "added_tokens_decoder": numbered(size + 100, *map(token, TOKENS))}
        },
        "special ones beside others": {
            CONFIG: {
                "added_tokens_decoder": numbered(
                    size + 100, token("<doc-sep>", special=True), token("<doc"), token("word"), token("\n")
                )
            }
        },
        "strips": {
            CONFIG: {
                "legacy": False,
                "added_tokens_decoder": numbered(
                    size + 100, token("<doc-sep>", rstrip=True), token("[EVENT]", lstrip=True), token("<doc")
                ),
            }
        },
        "single words": {
            CONFIG: {
                "added_tokens_decoder": numbered(
                    size + 100, token("word", single_word=True), token("wordy", single_word=True), token("<doc-sep>")
                )
            }
        },
        "other special tokens": {
            CONFIG: {
                "eos_token": "[E]",
                "unk_token": "word",
                "pad_token": "<doc-sep>",
                "bos_token": "a",
                "extra_ids": 5,
            }
        },
        "split special tokens": {
            CONFIG: {"split_special_tokens": True, "added_tokens_decoder": numbered(size + 100, token("<doc-sep>"))}
        },
        "tokens of tokenizer.json": {
            "tokenizer.json": {"added_tokens": [{"id": size + 100, **token("<doc-sep>", rstrip=True)}]}
        },
    }


# What the graph refuses, by its message.
REFUSED = {"single words": "single_word"}
