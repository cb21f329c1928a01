"""Settings of generation, under transformers' names."""

import dataclasses
import os
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self

from tfmodels.generation.reference_settings import HARMLESS, NOT_BUILT, is_idle
from tfmodels.generation.usable_settings import usable_settings
from tfmodels.generation.validation import RULES, token_ids
from tfmodels.utils.files import read_json_object, write_json
from tfmodels.utils.plain_values import plain

# The default number of new tokens, as in transformers.
DEFAULT_NEW_TOKENS = 20
_SPECIAL_IDS = ("decoder_start_token_id", "eos_token_id", "pad_token_id")
_OF_SAMPLING = ("temperature", "top_k", "top_p", "min_p", "typical_p")


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenerationConfig:
    """The settings of `generate`, with transformers' names and defaults.

    Lengths are in tokens. A prompt is the start token, or `decoder_input_ids`.

    Args:
        max_length: longest sequence, the prompt included.
        max_new_tokens: the same without the prompt; wins over `max_length`. Neither: 20 tokens after the prompt.
        min_length, min_new_tokens: the end token is forbidden before this length; the second wins.
        do_sample: draw tokens in place of taking the best.
        num_beams: 1 is greedy search, or plain sampling.
        num_return_sequences: sequences per document: with beams at most `num_beams`, with plain sampling any number.
        length_penalty: a sequence's score is its log-probability over its new tokens to this power.
        early_stopping: stop a document when it has `num_beams` finished sequences (True), when no better one is likely
            (False), or when none is possible ("never").
        temperature: of sampling, the divisor of the scores; off at 1.
        top_k: of sampling, keep the k best tokens; off at 0.
        top_p: of sampling, keep the best tokens of probability p together; off at 1.
        min_p: of sampling, keep the tokens of at least p times the best token's probability; off at None.
        typical_p: of sampling, keep the tokens of probability p together whose surprise is nearest to the entropy; off
            at 1.
        seed: of sampling; equal seeds draw equal tokens on every backend. None: a new seed for each call (inside a
            function that you compile with JAX: for each tracing).
        repetition_penalty, encoder_repetition_penalty: above 1, earlier tokens are less likely, and the document's
            tokens more likely.
        no_repeat_ngram_size, encoder_no_repeat_ngram_size: no n-gram of this size is repeated, or copied from the
            document; off at 0.
        bad_words_ids: lists of ids that never appear.
        suppress_tokens, begin_suppress_tokens: ids that never appear, or never as the first new token.
        exponential_decay_length_penalty: (start, factor); from `start` tokens after the prompt, the end token becomes
            more and more likely.
        forced_bos_token_id, forced_eos_token_id: the first token after the start; the last at full length.
        renormalize_logits: normalize the scores to log-probabilities after all processors.
        decoder_start_token_id, eos_token_id, pad_token_id: special ids, of end tokens one or several; None: the ids in
            the model's config.

    Raises:
        ValueError: a setting out of range, or two contradictory settings.

    >>> GenerationConfig(max_new_tokens=8).total_length()
    9
    """

    max_length: int | None = None
    max_new_tokens: int | None = None
    min_length: int = 0
    min_new_tokens: int | None = None
    do_sample: bool = False
    num_beams: int = 1
    num_return_sequences: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    temperature: float = 1.0
    top_k: int = 50
    top_p: float = 1.0
    min_p: float | None = None
    typical_p: float = 1.0
    seed: int | None = None
    repetition_penalty: float = 1.0
    encoder_repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    encoder_no_repeat_ngram_size: int = 0
    bad_words_ids: Any = None
    suppress_tokens: Any = None
    begin_suppress_tokens: Any = None
    exponential_decay_length_penalty: Any = None
    forced_bos_token_id: int | None = None
    forced_eos_token_id: Any = None
    renormalize_logits: bool = False
    decoder_start_token_id: int | None = None
    eos_token_id: Any = None
    pad_token_id: int | None = None

    # {setting: source}, without settings by the caller. For error messages alone: it is not compared, so that equal
    # settings share their compiled program.
    _sources: Mapping[str, str] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name, rule in RULES.items():
            # Values are normalised through the base's setter, as the dataclass is frozen; lists become tuples, as
            # settings are keys of programs.
            object.__setattr__(self, name, rule(name, plain(getattr(self, name), name)))
        self._check_together()

    def _check_together(self) -> None:
        if self.num_return_sequences > self.num_beams and (self.num_beams > 1 or not self.do_sample):
            raise ValueError(
                f"num_return_sequences must be at most num_beams={self.num_beams}. Received: num_return_sequences="
                f"{self.num_return_sequences}{self.origin('num_return_sequences', 'num_beams')}"
            )
        # A length with the prompt and one without it can be compared only when the prompt is known.
        if (self.min_new_tokens is None) == (self.max_new_tokens is None and self.max_length is not None):
            self.check_lengths(prompt_length=1)
        for name in ("forced_bos_token_id", "forced_eos_token_id"):
            lost = set(token_ids(name, getattr(self, name))) & set(self.suppress_tokens or ())
            if lost:
                raise ValueError(
                    f"{name} must not be among suppress_tokens. Received: {name}={lost.pop()}"
                    f"{self.origin(name, 'suppress_tokens')}"
                )

    def origin(self, *names: str) -> str:
        """The sources of settings that the caller did not write, as the end of an error message.

        >>> GenerationConfig.from_dict({"num_beams": 4}, source="the file s.json").origin("num_beams", "max_length")
        ' (num_beams=4 comes from the file s.json)'
        """
        sources = [
            f"{name}={getattr(self, name)!r:.80} comes from {self._sources[name]}"
            for name in names
            if name in self._sources
        ]
        return f" ({', '.join(sources)})" if sources else ""

    def check_lengths(self, prompt_length: int) -> None:
        """Raise `ValueError` when the least length exceeds the full length."""
        if self.least_length(prompt_length) > self.total_length(prompt_length):
            name = "min_length" if self.min_new_tokens is None else "min_new_tokens"
            raise ValueError(
                f"{name} must be at most the full length of {self.total_length(prompt_length)} tokens. Received: "
                f"{name}={getattr(self, name)}, with a prompt of {prompt_length}"
                f"{self.origin(name, self.name_of_length)}"
            )

    def total_length(self, prompt_length: int = 1) -> int:
        """The full length of a sequence, the prompt included."""
        if self.max_new_tokens is None and self.max_length is not None:
            return self.max_length
        return prompt_length + (self.max_new_tokens or DEFAULT_NEW_TOKENS)

    def least_length(self, prompt_length: int = 1) -> int:
        """The least length of a sequence, the prompt included, before which the end token is forbidden."""
        return self.min_length if self.min_new_tokens is None else prompt_length + self.min_new_tokens

    @property
    def name_of_length(self) -> str:
        """The name of the setting that determines `total_length`."""
        return "max_length" if self.max_new_tokens is None and self.max_length is not None else "max_new_tokens"

    @property
    def end_tokens(self) -> tuple[int, ...]:
        """The ids that end a sequence."""
        return token_ids("eos_token_id", self.eos_token_id)

    @property
    def rows_per_document(self) -> int:
        """K, the number of rows of a document in a search."""
        return self.num_beams if self.num_beams > 1 else self.num_return_sequences

    @property
    def needs_source_ids(self) -> tuple[str, ...]:
        """The names of active settings that read the document's tokens."""
        penalty, size = "encoder_repetition_penalty", "encoder_no_repeat_ngram_size"
        return (penalty,) * (getattr(self, penalty) != 1.0) + (size,) * (getattr(self, size) > 0)

    def check_vocabulary(self, vocab_size: int) -> None:
        """Raise `ValueError` for an id outside the vocabulary."""
        named = (
            *_SPECIAL_IDS,
            "forced_bos_token_id",
            "forced_eos_token_id",
            "suppress_tokens",
            "begin_suppress_tokens",
        )
        all_ids: list[tuple[str, Iterable[int]]] = [(name, token_ids(name, getattr(self, name))) for name in named]
        all_ids += [("bad_words_ids", word) for word in self.bad_words_ids or ()]
        for name, ids in all_ids:
            for token in ids:
                if token >= vocab_size:
                    raise ValueError(
                        f"{name} must be below the vocabulary's {vocab_size} tokens. Received: {token}"
                        f"{self.origin(name)}"
                    )

    @classmethod
    def names(cls) -> set[str]:
        """The names of all settings."""
        return set(RULES)

    @classmethod
    def reference_names(cls) -> set[str]:
        """The names of all settings, and of transformers' unsupported ones."""
        return cls.names() | set(NOT_BUILT)

    @classmethod
    def of(cls, value: Any, default: Self | None = None) -> Self:
        """Convert a value to settings.

        Args:
            value: settings; a mapping of settings (missing ones have their defaults); an object with transformers'
                `to_diff_dict` or `to_dict`; or None.
            default: the settings for None; None: all settings at their defaults.

        Raises:
            ValueError: a value of another type, or an error of `from_dict`.

        >>> GenerationConfig.of({"num_beams": 4}).num_beams
        4
        """
        if value is None:
            return cls() if default is None else default
        if isinstance(value, cls):
            return value
        mapping = value
        if not isinstance(value, (Mapping, type)):
            as_dict = getattr(value, "to_diff_dict", None) or getattr(value, "to_dict", None)
            mapping = as_dict() if callable(as_dict) else None
        if not isinstance(mapping, Mapping):
            raise ValueError(
                "generation_config must be a GenerationConfig, a mapping of settings or transformers' object. "
                f"Received: generation_config={value!r:.80}"
            )
        settings = cls.from_dict(mapping)
        # In a caller's dict max_length=20 is meant; in transformers' files and objects it is the default.
        is_meant = (
            isinstance(value, Mapping) and mapping.get("max_length") is not None and settings.max_new_tokens is None
        )
        return settings.replace(max_length=mapping["max_length"]) if is_meant else settings

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], strict: bool = True, source: str | None = None) -> Self:
        """Create settings from the keys of a `generation_config.json`.

        Args:
            values: {name: value}; None stands for the default. Settings about transformers' implementation are ignored.
            strict: refuse settings that are unknown, unsupported, out of range or contradictory; otherwise drop as few
                of them as possible, with a warning that names each with its value and its rule.
            source: the source of the settings, for error messages; None: the caller, or unless `strict`, the model's
                config.

        Raises:
            ValueError: see `strict`; and the errors of the class.

        Warns:
            UserWarning: unless `strict`, settings that are dropped or unsupported.
        """
        source = source or (None if strict else "the model's config")
        place = "" if source is None else f" of {source}"
        values = {str(key): value for key, value in values.items()}
        known = {key: value for key, value in values.items() if key in cls.names() and value is not None}
        if "top_k" in values and values["top_k"] is None:
            known["top_k"] = 0  # off, as in transformers
        if source is not None and values.get("bos_token_id") is not None:
            # The start token of a file without one, as in transformers.
            known.setdefault("decoder_start_token_id", values["bos_token_id"])
        unknown = sorted(
            key for key, value in values.items() if key not in cls.names() | HARMLESS and not is_idle(key, value)
        )
        if unknown and strict:
            raise ValueError(f"generation settings{place} must be among {sorted(cls.names())}. Received: {unknown}")
        if unknown:
            warnings.warn(
                f"These generation settings{place} are not supported and change nothing: {unknown}", stacklevel=2
            )
        if plain(known.get("max_length"), "max_length") == DEFAULT_NEW_TOKENS:
            known.pop("max_length")  # transformers' default, which there means new tokens
        if not strict:
            known, reasons = usable_settings(cls, known)
            if reasons:
                listed = "; ".join(f"{name} ({reason})" for name, reason in reasons.items())
                warnings.warn(f"These generation settings{place} are left out: {listed}", stacklevel=2)
        try:
            return cls(**known, _sources={} if source is None else dict.fromkeys(known, source))
        except ValueError as error:
            text = str(error)
            raise ValueError(text if source is None or source in text else f"{text} (from {source})") from None

    @classmethod
    def from_json(cls, path: str | os.PathLike[str], strict: bool = True) -> Self:
        """Read settings from a file, see `from_dict`; `ValueError` for a file that is no JSON object."""
        is_checkpoints = os.path.basename(path) == "generation_config.json"
        source = "the checkpoint's generation_config.json" if is_checkpoints else f"the file {os.fspath(path)}"
        return cls.from_dict(read_json_object(path), strict, source)

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write a `generation_config.json`, whole or not at all."""
        write_json(path, self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """The settings that are not None, by name."""
        values = {name: getattr(self, name) for name in RULES if getattr(self, name) is not None}
        if values.get("max_length") == DEFAULT_NEW_TOKENS:
            # In a file 20 would be transformers' default, which there means new tokens.
            values.setdefault("max_new_tokens", DEFAULT_NEW_TOKENS - 1)
            values.pop("max_length")
        return values

    def with_ids_of(self, model_config: Any) -> Self:
        """A copy with missing special ids from a model's config or from further settings."""
        missing = [name for name in _SPECIAL_IDS if getattr(self, name) is None]
        origins = getattr(model_config, "_sources", dict.fromkeys(missing, "the model's config"))
        sources = {**self._sources, **{name: origins[name] for name in missing if name in origins}}
        ids = {name: getattr(model_config, name) for name in missing}
        if "eos_token_id" in ids:
            # A model's config may have several end tokens; its field `eos_token_id` is the first.
            ids["eos_token_id"] = getattr(model_config, "eos_token_ids", ids["eos_token_id"])
        return dataclasses.replace(self, **ids, _sources=sources)

    def replace(self, **overrides: Any) -> Self:
        """A copy with some settings changed; None turns a setting off.

        `max_length` replaces `max_new_tokens`, and `min_length` replaces `min_new_tokens`. Without `do_sample`, the
        settings of sampling may be inherited (files have them), but not changed.

        Raises:
            ValueError: an unknown setting, a setting of sampling without `do_sample`, or an error of the class.
        """
        unknown = sorted(set(overrides) - self.names())
        if unknown:
            raise ValueError(
                f"generation settings must be among {sorted(self.names())}. Received: {', '.join(unknown)}"
            )
        for total, new in (("max_length", "max_new_tokens"), ("min_length", "min_new_tokens")):
            if overrides.get(total) is not None:
                overrides.setdefault(new, None)
        sources = {name: source for name, source in self._sources.items() if name not in overrides}
        defaults: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(self)}
        changes = {name: value for name, value in overrides.items() if value is not None}
        off: dict[str, Any] = {
            name: 0 if name == "top_k" else defaults[name] for name in overrides if name not in changes
        }
        settings = dataclasses.replace(self, **changes, **off, _sources=sources)
        for name in _OF_SAMPLING:
            value = getattr(settings, name)
            if not settings.do_sample and name in changes and value != defaults[name]:
                raise ValueError(f"{name} must go with do_sample=True. Received: {name}={value!r} and do_sample=False")
        return settings
