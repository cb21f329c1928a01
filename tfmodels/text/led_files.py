"""The files of LED's vocabulary: vocab.json with merges.txt, or tokenizer.json, and tokenizer_config.json."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

VOCAB, MERGES, TOKENIZER, CONFIG = "vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json"
_MERGES_HEADER = "#version: 0.2"
# Settings of a BPE model that change its ids, with the value that LED's have.
_MODEL_SETTINGS = {
    "dropout": None,
    "continuing_subword_prefix": None,
    "end_of_word_suffix": None,
    "fuse_unk": False,
    "byte_fallback": False,
    "ignore_merges": False,
}


@dataclasses.dataclass(frozen=True)
class LEDVocabulary:
    """What the files hold; the fields are the arguments of `LEDTokenizer`."""

    vocab: Mapping[str, int]
    merges: list[tuple[str, str]]
    add_prefix_space: bool = False
    marks_unknown_bytes: bool = False


def read_files(files: Mapping[str, bytes], special_tokens: Iterable[str]) -> LEDVocabulary:
    """The vocabulary in the content of files, by file name. tokenizer.json counts where the others are missing.

    Raises:
        ValueError: On content that is not a vocabulary of byte-level BPE.
    """
    if VOCAB in files and MERGES in files:
        found = LEDVocabulary(_read_vocab(files[VOCAB]), list(_read_merges(files[MERGES])))
    elif TOKENIZER in files:
        found = _read_tokenizer(_json_object(files[TOKENIZER], TOKENIZER), list(special_tokens))
    else:
        raise ValueError(f"files must hold {VOCAB} and {MERGES}, or {TOKENIZER}. Received: {sorted(files)}")
    if CONFIG in files:
        setting = _json_object(files[CONFIG], CONFIG).get("add_prefix_space", found.add_prefix_space)
        if not isinstance(setting, bool):
            raise ValueError(f"add_prefix_space in {CONFIG} must be true or false. Received: {setting!r}")
        found = dataclasses.replace(found, add_prefix_space=setting)
    return found


def write_files(vocabulary: LEDVocabulary, backend: Callable[[], str]) -> dict[str, bytes]:
    """The content of the files, by file name, that `read_files` and transformers read.

    Args:
        vocabulary: What to write.
        backend: Gives the tokenizer as the tokenizers library writes it, for what the two files cannot say.
    """
    config = {"tokenizer_class": "LEDTokenizer", "add_prefix_space": vocabulary.add_prefix_space}
    written = {CONFIG: (json.dumps(config, indent=2) + "\n").encode()}
    if vocabulary.marks_unknown_bytes:
        return {TOKENIZER: backend().encode(), **written}
    vocab = dict(sorted(vocabulary.vocab.items(), key=lambda item: item[1]))
    lines = [_MERGES_HEADER, *(f"{left} {right}" for left, right in vocabulary.merges)]
    content = {VOCAB: json.dumps(vocab, ensure_ascii=False).encode(), MERGES: ("\n".join(lines) + "\n").encode()}
    return {**content, **written}


def _json_object(content: bytes, name: str) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError as error:
        raise ValueError(f"{name} must be JSON. Received: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{name} must hold a JSON object. Received: {str(found)[:80]}")
    return found


def _read_vocab(content: bytes) -> dict[str, int]:
    return _checked_vocab(_json_object(content, VOCAB), VOCAB)


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


def _read_tokenizer(content: dict[str, Any], special_tokens: list[str]) -> LEDVocabulary:
    model, splitter = content.get("model") or {}, content.get("pre_tokenizer") or {}
    _require("model.type", model.get("type", "BPE"), "BPE")
    _require("normalizer", content.get("normalizer"), None)
    _require("pre_tokenizer.type", splitter.get("type"), "ByteLevel")
    _require("pre_tokenizer.use_regex", splitter.get("use_regex", True), True)
    for name, value in _MODEL_SETTINGS.items():
        # An empty prefix is none, and so is a dropout of nothing.
        _require(f"model.{name}", model.get(name) or value, value)
    unknown = model.get("unk_token")
    if unknown is not None:
        _require("model.unk_token", unknown, "<unk>")
    vocab = dict(_checked_vocab(model.get("vocab"), f"model.vocab of {TOKENIZER}"))
    for token in content.get("added_tokens") or []:
        if token.get("content") not in special_tokens:
            raise ValueError(
                f"added_tokens of {TOKENIZER} must be among {special_tokens}. Received: {token.get('content')!r}"
            )
        vocab.setdefault(token["content"], token["id"])
    merges = [_pair(merge) for merge in model.get("merges") or []]
    return LEDVocabulary(vocab, merges, bool(splitter.get("add_prefix_space", False)), unknown is not None)


def _require(name: str, value: Any, expected: Any) -> None:
    if value != expected:
        raise ValueError(f"{name} of {TOKENIZER} must be {expected!r} for byte-level BPE. Received: {value!r}")


def _pair(merge: Any) -> tuple[str, str]:
    # Older files have "left right", newer ones ["left", "right"].
    pair = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(token, str) for token in pair):
        raise ValueError(f"model.merges of {TOKENIZER} must hold two tokens each. Received: {merge!r}")
    return pair[0], pair[1]
