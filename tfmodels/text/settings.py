"""The JSON files of a tokenizer folder beside the vocabulary, read as transformers reads them."""

from __future__ import annotations

import dataclasses
import json
import os
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard

from tfmodels.text.added_tokens import MOST_IDS, AddedToken, contents

TOKENIZER, CONFIG = "tokenizer.json", "tokenizer_config.json"
SPECIAL_TOKENS, ADDED_TOKENS = "special_tokens_map.json", "added_tokens.json"
SETTINGS_FILES = (CONFIG, SPECIAL_TOKENS, ADDED_TOKENS)

# In the order in which transformers adds missing tokens to a vocabulary.
ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
ADDITIONAL = "additional_special_tokens"
_PATHS = ("vocab_file", "merges_file", "tokenizer_file", "name_or_path", "special_tokens_map_file")
# transformers writes 1e30 for "any length".
_ANY_LENGTH = 10**20

Token = str | AddedToken


@dataclasses.dataclass(frozen=True)
class Settings:
    """The content of tokenizer_config.json, special_tokens_map.json and added_tokens.json, and of tokenizer.json.

    Attributes:
        options: every key but tokens, by name.
        roles: tokens by role, such as `eos_token`; `None` for a role that the files leave empty.
        additional: special tokens without a role; `None` when the files do not say.
        added: added tokens with flags, by id.
    """

    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    roles: Mapping[str, Token | None] = dataclasses.field(default_factory=dict)
    additional: tuple[Token, ...] | None = None
    added: Mapping[int, AddedToken] = dataclasses.field(default_factory=dict)

    def flag(self, name: str, default: bool) -> bool:
        """Return an option that is true or false, or raise a `ValueError`."""
        value = self.options.get(name, default)
        if not isinstance(value, bool):
            raise ValueError(f"{name} in {CONFIG} must be true or false. Received: {value!r}")
        return value

    @property
    def model_max_length(self) -> int | None:
        """The most tokens that the checkpoint's model is made for, `None` for any number."""
        value = self.options.get("model_max_length", self.options.get("max_len"))
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 1:
            raise ValueError(f"model_max_length in {CONFIG} must be a positive number. Received: {value!r}")
        return None if value > _ANY_LENGTH else int(value)

    def special_tokens(self, defaults: Mapping[str, Token]) -> list[Token]:
        """The tokens of all roles and the additional ones, each content once, in transformers' order."""
        tokens = {**defaults, **self.roles}
        names = [*ROLES, *(name for name in tokens if name not in ROLES)]
        roles = [(name, tokens.get(name)) for name in names]
        first = [token for name, token in roles if name in ROLES]
        distinct: list[Token] = []
        for token in [*first, *(self.additional or ()), *(token for name, token in roles if name not in ROLES)]:
            if token is not None and contents([token])[0] not in contents(distinct):
                distinct.append(token)
        return distinct


def json_object(content: bytes, name: str) -> dict[str, Any]:
    """Return the object in a JSON file, or raise a `ValueError` that names the file."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} must be JSON. Received: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{name} must hold a JSON object. Received: {str(value)[:80]}")
    return value


def json_part(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the object under a name in tokenizer.json, empty for null, or raise a `ValueError`."""
    value = content.get(name)
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"{name} of {TOKENIZER} must be an object or null. Received: {str(value)[:80]}")
    return value or {}


def read_settings(files: Mapping[str, bytes], vocabulary_files: Iterable[str]) -> Settings:
    """Read the settings from the content of files, by name. Settings that are not followed are refused by name.

    Args:
        files: content by file name; any of the files may be missing.
        vocabulary_files: names of the files with the vocabulary, for options that hold paths.

    Raises:
        ValueError: content of another form, or a setting that is not followed.
    """
    config = json_object(files[CONFIG], CONFIG) if CONFIG in files else {}
    roles: dict[str, Any] = {key: config.pop(key) for key in (*ROLES, ADDITIONAL) if key in config}
    decoder = config.pop("added_tokens_decoder", None)
    if decoder is not None:
        added = _read_decoder(decoder)
        named = {token.content: token for token in added.values()}
    else:
        added, named = _read_older_files(files, roles)
    extra = config.pop("extra_special_tokens", {})
    if not isinstance(extra, dict):
        raise ValueError(f"extra_special_tokens in {CONFIG} must be an object. Received: {extra!r}")
    additional = _read_additional(roles.pop(ADDITIONAL, None))
    tokens = {key: _read_token(value, key) for key, value in {**roles, **extra}.items()}
    tokens = {
        key: named.get(contents([token])[0], token) if token is not None and key in ROLES else token
        for key, token in tokens.items()
    }
    _check_options(config, [name for name in vocabulary_files if name != TOKENIZER or name in files])
    options = {key: value for key, value in config.items() if key not in _PATHS}
    return Settings(options, tokens, additional, added)


def write_config(settings: Settings, tokenizer_class: str, further: Mapping[str, Any]) -> bytes:
    """tokenizer_config.json, as `read_settings` and transformers read it.

    Args:
        settings: the settings that the tokenizer was read with, with its added tokens of now.
        tokenizer_class: transformers' name of the class.
        further: options that the tokenizer holds itself.
    """
    config: dict[str, Any] = {**settings.options, "tokenizer_class": tokenizer_class, **further}
    extra: dict[str, Any] = {}
    for key, token in settings.roles.items():
        (config if key in ROLES else extra)[key] = _written(token)
    if extra:
        config["extra_special_tokens"] = extra
    if settings.additional is not None:
        config[ADDITIONAL] = [_written(token) for token in settings.additional]
    if settings.added:
        config["added_tokens_decoder"] = {str(index): token.to_json() for index, token in settings.added.items()}
    return (json.dumps(config, indent=2, sort_keys=True) + "\n").encode()


def _written(token: Token | None) -> Any:
    return {"__type": "AddedToken", **token.to_json()} if isinstance(token, AddedToken) else token


def _read_token(value: Any, name: str) -> Token | None:
    if isinstance(value, dict) and value.get("__type") == "AddedToken":
        return AddedToken.from_json(value, name)
    if value is None or isinstance(value, AddedToken) or (isinstance(value, str) and value):
        return value
    raise ValueError(f"{name} in {CONFIG} must be a str or an AddedToken. Received: {value!r}")


def _read_additional(value: Any) -> tuple[Token, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise ValueError(f"{ADDITIONAL} must be a list. Received: {value!r}")
    tokens = [_read_token(token, f"{ADDITIONAL}[{index}]") for index, token in enumerate(value)]
    return tuple(token for token in tokens if token is not None)


def _read_decoder(decoder: Any) -> dict[int, AddedToken]:
    name = f"added_tokens_decoder in {CONFIG}"
    if not isinstance(decoder, dict) or not all(map(_is_number, decoder)):
        raise ValueError(f"{name} must map ids below {MOST_IDS:,} to tokens. Received: {str(decoder)[:80]}")
    return {int(index): AddedToken.from_json(token, f"{name}[{index}]") for index, token in decoder.items()}


def _read_older_files(
    files: Mapping[str, bytes], roles: dict[str, Any]
) -> tuple[dict[int, AddedToken], dict[str, AddedToken]]:
    """Added tokens from the files that transformers reads where the config lists none; `roles` is brought up to date.

    Returns:
        the tokens by id, and the tokens by content whose flags a role's token takes over.
    """
    added: dict[int, AddedToken] = {}
    for key, value in (json_object(files[SPECIAL_TOKENS], SPECIAL_TOKENS) if SPECIAL_TOKENS in files else {}).items():
        if key == ADDITIONAL and isinstance(value, list):
            tokens = list(_read_additional(roles.get(ADDITIONAL)) or ())
            listed = [_special(token, f"{key} in {SPECIAL_TOKENS}") for token in value]
            roles[key] = tokens + [token for token in listed if token not in tokens]
        elif key in (*ROLES, ADDITIONAL):
            roles[key] = _special(value, f"{key} in {SPECIAL_TOKENS}")
    if ADDED_TOKENS in files:
        additional = _read_additional(roles.get(ADDITIONAL)) or ()
        special = contents(token for token in [*map(_read_token, map(roles.get, ROLES), ROLES), *additional] if token)
        for content, index in json_object(files[ADDED_TOKENS], ADDED_TOKENS).items():
            if not _is_id(index) or not content:
                raise ValueError(
                    f"{ADDED_TOKENS} must map tokens to ids below {MOST_IDS:,}. Received: {content!r}: {index!r}"
                )
            added[index] = AddedToken.of(content, ADDED_TOKENS, special=content in special)
    tokenizer = json_object(files[TOKENIZER], TOKENIZER) if TOKENIZER in files else {}
    named = read_added_tokens(tokenizer)
    return {**added, **named}, {token.content: token for token in named.values()}


def read_added_tokens(tokenizer: Mapping[str, Any]) -> dict[int, AddedToken]:
    """Return the added tokens in the content of tokenizer.json by id, or raise a `ValueError`."""
    name, tokens = f"added_tokens of {TOKENIZER}", tokenizer.get("added_tokens") or []
    if not isinstance(tokens, list):
        raise ValueError(f"{name} must be a list. Received: {str(tokens)[:80]}")
    added: dict[int, AddedToken] = {}
    for index, token in enumerate(tokens):
        place = token.get("id") if isinstance(token, dict) else None
        if not _is_id(place):
            raise ValueError(f"{name}[{index}].id must be an id below {MOST_IDS:,}. Received: {place!r}")
        added[place] = AddedToken.from_json(token, f"{name}[{index}]")
    return added


def _is_id(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < MOST_IDS


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) < 12 and _is_id(int(text))


def _special(value: Any, name: str) -> Any:
    return AddedToken.from_json({**value, "special": True}, name) if isinstance(value, dict) else value


def _check_options(config: Mapping[str, Any], vocabulary_files: list[str]) -> None:
    for name in ("padding_side", "truncation_side"):
        if config.get(name, "right") != "right":
            raise ValueError(f"{name} in {CONFIG} must be 'right'. Received: {config[name]!r}")
    if config.get("init_inputs"):
        raise ValueError(f"init_inputs in {CONFIG} must be empty. Received: {config['init_inputs']!r}")
    for name in _PATHS[:3]:
        path = config.get(name)
        if name == "tokenizer_file" and TOKENIZER not in vocabulary_files:
            # transformers does not read it then.
            continue
        if path is not None and (not isinstance(path, str) or os.path.basename(path) not in vocabulary_files):
            raise ValueError(f"{name} in {CONFIG} must be one of {vocabulary_files}. Received: {path!r}")
    if config.get("do_lower_case"):
        # None of transformers' classes with these vocabularies reads it.
        _warn(f"do_lower_case in {CONFIG} is not followed, as in transformers: texts keep their capitals")
    if config.get("errors", "replace") != "replace":
        _warn(f"errors={config['errors']!r} in {CONFIG} is not followed: U+FFFD stands for bytes without a text")


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=6)
