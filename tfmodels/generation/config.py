"""Settings of generation, under the reference's names."""

import dataclasses
import os
import warnings
from collections.abc import Mapping
from typing import Any, Literal, Self

from tfmodels.files import read_json_object, write_json

# Settings that change no output of ours, or restate a default.
_HARMLESS = frozenset({"_from_model_config", "transformers_version", "use_cache", "is_encoder_decoder", "bos_token_id"})
_SPECIAL_IDS = ("decoder_start_token_id", "eos_token_id", "pad_token_id")
_TOKEN_IDS = (*_SPECIAL_IDS, "forced_bos_token_id", "forced_eos_token_id")


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenerationConfig:
    """What `generate` searches for; defaults are the reference's.

    Args:
        max_length: longest sequence in tokens, the start token included.
        max_new_tokens: the same without the start token; wins over `max_length`.
        min_length: the end token is forbidden before this length, the start token included.
        num_beams: 1 is greedy search.
        num_return_sequences: best sequences per document, at most `num_beams`.
        length_penalty: a sequence's score is its log-probability over its length to this power.
        early_stopping: stop a document when it has `num_beams` finished sequences (True), when no better one is likely
            (False), or when none is possible ("never").
        no_repeat_ngram_size: no n-gram of this size appears twice; 0: no rule.
        forced_bos_token_id, forced_eos_token_id: the first token after the start; the last at full length.
        decoder_start_token_id, eos_token_id, pad_token_id: special ids; None: those of the model's config.

    Raises:
        ValueError: a setting out of range, or two that contradict each other.

    >>> GenerationConfig(max_new_tokens=8).total_length
    9
    """

    max_length: int = 20
    max_new_tokens: int | None = None
    min_length: int = 0
    num_beams: int = 1
    num_return_sequences: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    no_repeat_ngram_size: int = 0
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | None = None
    decoder_start_token_id: int | None = None
    eos_token_id: int | None = None
    pad_token_id: int | None = None

    def __post_init__(self) -> None:
        self._check_at_least("num_beams", 1)
        self._check_at_least("num_return_sequences", 1)
        self._check_at_least("no_repeat_ngram_size", 0)
        self._check_at_least("min_length", 0)
        if self.max_new_tokens is None:
            self._check_at_least("max_length", 2)
        else:
            self._check_at_least("max_new_tokens", 1)
        for name in _TOKEN_IDS:
            if getattr(self, name) is not None:
                self._check_at_least(name, 0)
        if self.num_return_sequences > self.num_beams:
            raise ValueError(
                f"num_return_sequences must be at most num_beams={self.num_beams}. "
                f"Received: num_return_sequences={self.num_return_sequences}"
            )
        if self.min_length > self.total_length:
            raise ValueError(
                f"min_length must be at most the full length of {self.total_length} tokens. "
                f"Received: min_length={self.min_length}"
            )
        penalty = self.length_penalty
        if isinstance(penalty, bool) or not isinstance(penalty, (int, float)) or not abs(penalty) < 1e300:
            raise ValueError(f"length_penalty must be a finite number. Received: length_penalty={penalty!r:.80}")
        if self.early_stopping not in (True, False, "never"):
            raise ValueError(
                f"early_stopping must be True, False or 'never'. Received: early_stopping={self.early_stopping!r}"
            )

    def _check_at_least(self, name: str, lowest: int) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
            raise ValueError(f"{name} must be an integer of at least {lowest}. Received: {name}={value!r}")

    @property
    def total_length(self) -> int:
        """Length of the longest sequence, the start token included."""
        return self.max_length if self.max_new_tokens is None else self.max_new_tokens + 1

    @classmethod
    def names(cls) -> set[str]:
        """The settings that exist."""
        return {field.name for field in dataclasses.fields(cls)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Settings from a `generation_config.json`; a warning names those that are not supported yet."""
        known = {key: value for key, value in values.items() if key in cls.names() and value is not None}
        unknown = sorted(
            key for key, value in values.items() if key not in cls.names() | _HARMLESS and value not in (None, False)
        )
        if unknown:
            warnings.warn(f"These generation settings are not supported and change nothing: {unknown}", stacklevel=2)
        return cls(**known)

    @classmethod
    def from_json(cls, path: str | os.PathLike[str]) -> Self:
        """Settings from a file; `ValueError` when it is not a JSON object."""
        return cls.from_dict(read_json_object(path))

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write a `generation_config.json`, whole or not at all."""
        write_json(path, self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """The settings that are set."""
        return {key: value for key, value in dataclasses.asdict(self).items() if value is not None}

    def with_ids_of(self, model_config: Any) -> Self:
        """The special ids that are None here, taken from a model's config."""
        missing = [name for name in _SPECIAL_IDS if getattr(self, name) is None]
        return dataclasses.replace(self, **{name: getattr(model_config, name) for name in missing})

    def replace(self, **overrides: Any) -> Self:
        """Settings with some changed; `ValueError` for an unknown one."""
        unknown = sorted(set(overrides) - self.names())
        if unknown:
            raise ValueError(
                f"generation settings must be among {sorted(self.names())}. Received: {', '.join(unknown)}"
            )
        if "max_length" in overrides and "max_new_tokens" not in overrides:
            overrides["max_new_tokens"] = None
        return dataclasses.replace(self, **overrides)
