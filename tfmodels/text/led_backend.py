"""LED's tokenizer for the tokenizers library, with every part and added token that transformers would give it."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer as BackendTokenizer
from tokenizers import decoders, models, pre_tokenizers, processors

from tfmodels.text.added_tokens import AddedToken, contents
from tfmodels.text.led_files import LEDVocabulary
from tfmodels.text.settings import TOKENIZER, Settings, Token

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
class LEDBackend:
    """The tokenizers library's tokenizer, and what it does not say of itself.

    Attributes:
        tokenizer: It splits, encodes and decodes.
        roles: The token of each role that has one.
        special: All special tokens of roles and settings, each once.
        start, end: The tokens around a text, with their ids.
    """

    tokenizer: BackendTokenizer
    roles: Mapping[str, str]
    special: Sequence[str]
    start: tuple[str, int]
    end: tuple[str, int]

    @property
    def added(self) -> dict[int, AddedToken]:
        """The added tokens by id, with their flags."""
        tokens = self.tokenizer.get_added_tokens_decoder()
        return {index: AddedToken.of(token, "token") for index, token in sorted(tokens.items())}


def byte_level(model: models.BPE, add_prefix_space: bool) -> BackendTokenizer:
    """A tokenizer of bytes without special tokens."""
    backend = BackendTokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    backend.decoder = decoders.ByteLevel()
    return backend


def check_special_tokens(vocabulary: LEDVocabulary) -> None:
    """Raises `ValueError` when a special token that no file names would have to be added: another model's files."""
    settings = vocabulary.settings
    own = [token["content"] for token in (vocabulary.content or {}).get("added_tokens") or []]
    named = {*vocabulary.vocab, *own, *contents(settings.added.values())}
    defaults = {contents([token])[0] for role, token in _ROLES.items() if role not in settings.roles}
    missing = [token for token in SPECIAL_TOKENS if token in defaults - named]
    if missing:
        raise ValueError(f"vocab must hold the special tokens. Received: none for {missing}")


def build(vocabulary: LEDVocabulary) -> LEDBackend:
    """The backend of a vocabulary.

    Raises:
        ValueError: When a special token has no id, or tokenizer.json puts other tokens around a text than LED's do.
    """
    settings = vocabulary.settings
    prefix, trim = settings.flag("add_prefix_space", False), settings.flag("trim_offsets", True)
    roles: dict[str, Token | None] = {**_ROLES, **settings.roles}
    mask = roles["mask_token"]
    if isinstance(mask, str):
        roles["mask_token"] = AddedToken(mask, lstrip=True, special=True)
    missing = [role for role in _ROLES if role != "mask_token" and roles[role] is None]
    if missing:
        raise ValueError(f"{' and '.join(missing)} must not be null for LED. Received: null")
    if vocabulary.content is None:
        # What transformers makes of its slower class first, whose tokens have other flags.
        own = {role: token for role, token in roles.items() if role in _ROLES and isinstance(token, str)}
        roles = {**roles, **{role: AddedToken(token) for role, token in own.items()}}
        backend = _of_two_files(vocabulary, roles, prefix)
    else:
        backend = _of_content(vocabulary.content)
    special = dataclasses.replace(settings, roles=roles).special_tokens({})
    _add(backend, settings, special)
    backend.encode_special_tokens = settings.flag("split_special_tokens", False)
    _update(backend, "pre_tokenizer", pre_tokenizers, {"add_prefix_space": prefix})
    _update(backend, "post_processor", processors, {"add_prefix_space": prefix, "trim_offsets": trim})
    start, end = _around(json.loads(backend.to_str())["post_processor"])
    names = {role: contents([token])[0] for role, token in roles.items() if token is not None}
    return LEDBackend(backend, names, contents(special), start, end)


def _of_two_files(
    vocabulary: LEDVocabulary, roles: Mapping[str, Token | None], add_prefix_space: bool
) -> BackendTokenizer:
    ids = {**vocabulary.vocab, **{token.content: index for index, token in vocabulary.settings.added.items()}}
    for token in dataclasses.replace(vocabulary.settings, roles=roles).special_tokens({}):
        ids.setdefault(contents([token])[0], len(ids))
    unknown = {} if vocabulary.unknown_token is None else {"unk_token": vocabulary.unknown_token}
    backend = byte_level(models.BPE(dict(vocabulary.vocab), vocabulary.merges, **unknown), add_prefix_space)
    end, start = (contents([roles[role] or ""])[0] for role in ("sep_token", "cls_token"))
    backend.post_processor = processors.RobertaProcessing((end, ids[end]), (start, ids[start]))
    return backend


def _of_content(content: Mapping[str, Any]) -> BackendTokenizer:
    try:
        return BackendTokenizer.from_str(json.dumps({**content, "truncation": None, "padding": None}))
    except Exception as error:
        raise ValueError(f"{TOKENIZER} must be a file of the tokenizers library. Received: {error}") from error


def _add(backend: BackendTokenizer, settings: Settings, special: Sequence[Token]) -> None:
    tokens: list[Token] = [token for _, token in sorted(settings.added.items())]
    known = [token.content for token in backend.get_added_tokens_decoder().values()] + contents(tokens)
    tokens += [token for token in special if token not in known and token not in tokens]
    names = contents(special)
    flagged = [AddedToken.of(token, "token", special=contents([token])[0] in names) for token in tokens]
    backend.add_tokens([token.for_backend() for token in flagged])


def _update(backend: BackendTokenizer, part: str, kinds: Any, changes: Mapping[str, bool]) -> None:
    """Puts settings into a part of the backend that has them."""
    state = json.loads(getattr(backend, part).__getstate__()) if getattr(backend, part) is not None else {}
    changed = {name: value for name, value in changes.items() if state.get(name, value) != value}
    if changed:
        arguments = {**state, **changed}
        kind = getattr(kinds, arguments.pop("type"))
        # The library writes pairs as lists, and takes them as tuples.
        pairs = {name: tuple(value) for name, value in arguments.items() if isinstance(value, list)}
        setattr(backend, part, kind(**{**arguments, **pairs}))


def _around(processor: Mapping[str, Any] | None) -> tuple[tuple[str, int], tuple[str, int]]:
    """The tokens before and behind a text, else raises a `ValueError`."""
    kind = (processor or {}).get("type")
    if processor is not None and kind == "RobertaProcessing":
        return tuple(processor["cls"]), tuple(processor["sep"])
    if processor is not None and kind == "TemplateProcessing":
        names = [[next(iter(piece.values()))["id"] for piece in processor[template]] for template in ("single", "pair")]
        start, end = names[0][0], names[0][-1]
        ids = [processor["special_tokens"].get(name, {}).get("ids", []) for name in (start, end)]
        if names == [[start, "A", end], [start, "A", end, end, "B", end]] and [len(found) for found in ids] == [1, 1]:
            return (start, ids[0][0]), (end, ids[1][0])
    raise ValueError(
        f"post_processor of {TOKENIZER} must be RobertaProcessing, or a template of the same form "
        f"(cls A sep, cls A sep sep B sep). Received: {kind}"
    )
