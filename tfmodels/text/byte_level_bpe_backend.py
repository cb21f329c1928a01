"""Byte-level BPE in the tokenizers library, with every part and added token that transformers gives it.

The special tokens are those of RoBERTa and BART.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfmodels.text.added_tokens import AddedToken, contents
from tfmodels.text.byte_level_bpe_files import ByteLevelBPEVocabulary
from tfmodels.text.fast_backend import add_tokens, added_tokens, backend_of, tokens_around, update_part
from tfmodels.text.settings import Token, read_added_tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer as BackendTokenizer
    from tokenizers import models

BOS, PAD, EOS, UNK, MASK = SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
_ROLES: dict[str, Token] = {
    "bos_token": BOS,
    "eos_token": EOS,
    "unk_token": UNK,
    "sep_token": EOS,
    "pad_token": PAD,
    "cls_token": BOS,
    "mask_token": AddedToken(MASK, lstrip=True, normalized=True, special=True),
}


@dataclasses.dataclass(frozen=True)
class ByteLevelBPEBackend:
    """The tokenizers library's tokenizer, and its facts that the library does not keep.

    Attributes:
        tokenizer: it splits, encodes and decodes.
        roles: tokens by role; roles without a token are missing.
        special: all special tokens of roles and settings, each once.
        start, end: the tokens around a text, with their ids.
        twice: added tokens that are looked for both in the text as it is and in the normalized text.
    """

    tokenizer: BackendTokenizer
    roles: Mapping[str, str]
    special: Sequence[str]
    start: tuple[str, int]
    end: tuple[str, int]
    twice: set[str]

    @property
    def added(self) -> dict[int, AddedToken]:
        """The added tokens by id, with their flags."""
        return added_tokens(self.tokenizer)


def byte_level(model: models.BPE, add_prefix_space: bool) -> BackendTokenizer:
    """A tokenizer of bytes without special tokens."""
    from tokenizers import Tokenizer as BackendTokenizer
    from tokenizers import decoders, pre_tokenizers

    backend = BackendTokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    backend.decoder = decoders.ByteLevel()
    return backend


def check_special_tokens(vocabulary: ByteLevelBPEVocabulary) -> None:
    """Raise `ValueError` when a special token is in no file: then the files are another model's."""
    settings = vocabulary.settings
    added = read_added_tokens(vocabulary.content or {}).values()
    named = {*vocabulary.vocab, *contents(added), *contents(settings.added.values())}
    defaults = {contents([token])[0] for role, token in _ROLES.items() if role not in settings.roles}
    missing = [token for token in SPECIAL_TOKENS if token in defaults - named]
    if missing:
        raise ValueError(f"vocab must hold the special tokens. Received: none for {missing}")


def build(vocabulary: ByteLevelBPEVocabulary) -> ByteLevelBPEBackend:
    """Build the backend of a vocabulary.

    Raises:
        ValueError: a special token without an id, or a template of another form in tokenizer.json.
    """
    from tokenizers import pre_tokenizers, processors

    settings = vocabulary.settings
    prefix, trim = settings.flag("add_prefix_space", False), settings.flag("trim_offsets", True)
    roles: dict[str, Token | None] = {**_ROLES, **settings.roles}
    mask = roles["mask_token"]
    if isinstance(mask, str):
        roles["mask_token"] = AddedToken(mask, lstrip=True, special=True)
    missing = [role for role in _ROLES if role != "mask_token" and roles[role] is None]
    if missing:
        raise ValueError(f"{' and '.join(missing)} must not be null. Received: null")
    if vocabulary.content is None:
        # transformers makes its slower class first, whose tokens have other flags.
        plain = {role: token for role, token in roles.items() if role in _ROLES and isinstance(token, str)}
        roles = {**roles, **{role: AddedToken(token) for role, token in plain.items()}}
        backend = _of_two_files(vocabulary, roles, prefix)
    else:
        backend = backend_of(vocabulary.content)
    special = dataclasses.replace(settings, roles=roles).special_tokens({})
    twice = add_tokens(backend, settings, special)
    backend.encode_special_tokens = settings.flag("split_special_tokens", False)
    update_part(backend, "pre_tokenizer", pre_tokenizers, {"add_prefix_space": prefix})
    update_part(backend, "post_processor", processors, {"add_prefix_space": prefix, "trim_offsets": trim})
    start, end = _around(json.loads(backend.to_str())["post_processor"])
    names = {role: contents([token])[0] for role, token in roles.items() if token is not None}
    return ByteLevelBPEBackend(backend, names, contents(special), start, end, twice)


def _of_two_files(
    vocabulary: ByteLevelBPEVocabulary, roles: Mapping[str, Token | None], add_prefix_space: bool
) -> BackendTokenizer:
    from tokenizers import models, processors

    ids = {**vocabulary.vocab, **{token.content: index for index, token in vocabulary.settings.added.items()}}
    for token in dataclasses.replace(vocabulary.settings, roles=roles).special_tokens({}):
        ids.setdefault(contents([token])[0], len(ids))
    unknown = {} if vocabulary.unknown_token is None else {"unk_token": vocabulary.unknown_token}
    backend = byte_level(models.BPE(dict(vocabulary.vocab), vocabulary.merges, **unknown), add_prefix_space)
    end, start = (contents([roles[role] or ""])[0] for role in ("sep_token", "cls_token"))
    backend.post_processor = processors.RobertaProcessing((end, ids[end]), (start, ids[start]))
    return backend


def _around(processor: Mapping[str, Any] | None) -> list[tuple[str, int]]:
    """Return the tokens before and behind a text, or raise a `ValueError`."""
    if processor is not None and processor.get("type") == "RobertaProcessing":
        return [tuple(processor["cls"]), tuple(processor["sep"])]
    return tokens_around(processor, ("cls", "A", "sep"), ("cls", "A", "sep", "sep", "B", "sep"))
