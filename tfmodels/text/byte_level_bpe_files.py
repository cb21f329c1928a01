"""The files of a byte-level BPE vocabulary: vocab.json with merges.txt, or tokenizer.json; and settings."""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any

from tfmodels.text.settings import (
    CONFIG,
    TOKENIZER,
    Settings,
    json_object,
    json_part,
    read_added_tokens,
    read_settings,
    write_config,
)

VOCAB, MERGES = "vocab.json", "merges.txt"
_MERGES_HEADER = "#version: 0.2"
# Settings of a BPE model that change its ids, with the only values that are followed.
_MODEL_SETTINGS = {
    "dropout": None,
    "continuing_subword_prefix": None,
    "end_of_word_suffix": None,
    "fuse_unk": False,
    "byte_fallback": False,
    "ignore_merges": False,
}


@dataclasses.dataclass(frozen=True)
class ByteLevelBPEVocabulary:
    """The content of the files.

    Attributes:
        vocab: token to id, without the tokens that were only added to it.
        merges: pairs of tokens, best first.
        settings: the content of the other files.
        unknown_token: the token of a byte without a symbol; `None` leaves such bytes out.
        content: all of tokenizer.json, if it was read.
    """

    vocab: Mapping[str, int]
    merges: list[tuple[str, str]]
    settings: Settings = dataclasses.field(default_factory=Settings)
    unknown_token: str | None = None
    content: Mapping[str, Any] | None = None


def read_files(files: Mapping[str, bytes]) -> ByteLevelBPEVocabulary:
    """Read the vocabulary from the content of files, by name. tokenizer.json comes first, as in transformers.

    Raises:
        ValueError: content that is not a vocabulary of byte-level BPE.
    """
    if TOKENIZER in files:
        vocabulary = _read_tokenizer(json_object(files[TOKENIZER], TOKENIZER))
    elif VOCAB in files and MERGES in files:
        vocab = _checked_vocab(json_object(files[VOCAB], VOCAB), VOCAB)
        vocabulary = ByteLevelBPEVocabulary(vocab, list(_read_merges(files[MERGES])))
    else:
        raise ValueError(f"files must hold {VOCAB} and {MERGES}, or {TOKENIZER}. Received: {sorted(files)}")
    return dataclasses.replace(vocabulary, settings=read_settings(files, (VOCAB, MERGES, TOKENIZER)))


def write_files(vocabulary: ByteLevelBPEVocabulary, backend: str | None, transformers_class: str) -> dict[str, bytes]:
    """Return the content of the files, by name, for `read_files` and transformers.

    Args:
        vocabulary: the vocabulary.
        backend: the tokenizer as the tokenizers library writes it, where the two files cannot hold all of it; otherwise
            `None`.
        transformers_class: transformers' name of the tokenizer's class.
    """
    options = {"add_prefix_space": vocabulary.settings.flag("add_prefix_space", False)}
    written = {CONFIG: write_config(vocabulary.settings, transformers_class, options)}
    if backend is not None:
        written[TOKENIZER] = backend.encode()
    has_normalizer = vocabulary.content is not None and vocabulary.content.get("normalizer") is not None
    if vocabulary.unknown_token is not None or has_normalizer:
        return written
    vocab = dict(sorted(vocabulary.vocab.items(), key=lambda item: item[1]))
    lines = [_MERGES_HEADER, *(f"{left} {right}" for left, right in vocabulary.merges)]
    content = {VOCAB: json.dumps(vocab, ensure_ascii=False).encode(), MERGES: ("\n".join(lines) + "\n").encode()}
    return {**content, **written}


def _checked_vocab(vocab: Any, name: str) -> dict[str, int]:
    if not isinstance(vocab, dict) or not all(type(index) is int for index in vocab.values()):
        raise ValueError(f"{name} must map tokens to integer ids. Received: {str(vocab)[:80]}")
    return vocab


def _read_merges(content: bytes) -> Iterable[tuple[str, str]]:
    for number, line in enumerate(content.decode("utf-8").split("\n"), start=1):
        pair = line.rstrip("\r").split(" ")
        if pair == [""] or line.startswith("#version"):
            continue
        if len(pair) != 2:
            raise ValueError(f"{MERGES} must hold two tokens a line. Received: {line!r} in line {number}")
        yield pair[0], pair[1]


def _read_tokenizer(content: dict[str, Any]) -> ByteLevelBPEVocabulary:
    model, splitter = json_part(content, "model"), json_part(content, "pre_tokenizer")
    _require("model.type", model.get("type", "BPE"), "BPE")
    _require("pre_tokenizer.type", splitter.get("type"), "ByteLevel")
    _require("pre_tokenizer.use_regex", splitter.get("use_regex", True), True)
    _require("decoder.type", json_part(content, "decoder").get("type"), "ByteLevel")
    for name, value in _MODEL_SETTINGS.items():
        # An empty prefix counts as none, and so does a dropout of 0.
        _require(f"model.{name}", model.get(name) or value, value)
    for part in ("truncation", "padding"):
        _require(f"{part}.direction", json_part(content, part).get("direction", "Right"), "Right")
    vocab = _checked_vocab(model.get("vocab"), f"model.vocab of {TOKENIZER}")
    unknown = model.get("unk_token")
    if unknown is not None and unknown not in vocab:
        raise ValueError(f"model.unk_token of {TOKENIZER} must be in model.vocab. Received: {unknown!r}")
    merges = [_pair(merge) for merge in model.get("merges") or []]
    read_added_tokens(content)
    return ByteLevelBPEVocabulary(vocab, merges, unknown_token=unknown, content=content)


def _require(name: str, value: Any, expected: Any) -> None:
    if value != expected:
        raise ValueError(f"{name} of {TOKENIZER} must be {expected!r} for byte-level BPE. Received: {value!r}")


def _pair(merge: Any) -> tuple[str, str]:
    # Older files have "left right", newer ones ["left", "right"].
    pair = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(token, str) for token in pair):
        raise ValueError(f"model.merges of {TOKENIZER} must hold two tokens each. Received: {merge!r}")
    return pair[0], pair[1]
