"""Settings of generation, under the reference's names."""

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

# The reference's length where nothing is asked for: so many tokens after the prompt.
DEFAULT_NEW_TOKENS = 20
_SPECIAL_IDS = ("decoder_start_token_id", "eos_token_id", "pad_token_id")
_OF_SAMPLING = ("temperature", "top_k", "top_p", "min_p", "typical_p")


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenerationConfig:
    """What `generate` searches for; names and defaults are the reference's.

    Lengths are in tokens. A prompt is the start token, or what `decoder_input_ids` holds.

    Args:
        max_length: longest sequence, the prompt included.
        max_new_tokens: the same without the prompt; wins over `max_length`. Neither: 20 tokens after the prompt.
        min_length, min_new_tokens: the end token is forbidden before this length; the second wins.
        do_sample: draw tokens instead of taking the best.
        num_beams: 1 is greedy search, or plain sampling.
        num_return_sequences: sequences per document: with beams the best, at most `num_beams`; of plain sampling any.
        length_penalty: a sequence's score is its log-probability over its new tokens to this power.
        early_stopping: stop a document when it has `num_beams` finished sequences (True), when no better one is likely
            (False), or when none is possible ("never").
        temperature, top_k, top_p, min_p, typical_p: of sampling: divide the scores; keep the k best tokens, the best of
            together p, those of at least p times the best's probability, those of together p whose probability is
            nearest to the expected. Off at 1, 0, 1, None and 1.
        seed: of sampling; the same one draws the same tokens on every backend. None: another one each time (inside a
            function that you compile with JAX: each time that it is traced).
        repetition_penalty, encoder_repetition_penalty: above 1, tokens that were written before are less likely, and
            those of the document more.
        no_repeat_ngram_size, encoder_no_repeat_ngram_size: no n-gram of this size appears twice, or is copied from the
            document; 0: no rule.
        bad_words_ids: lists of ids that never appear.
        suppress_tokens, begin_suppress_tokens: ids that never appear, or not as the first new token.
        exponential_decay_length_penalty: (start, factor): so many tokens after the prompt the end token begins to grow
            more likely.
        forced_bos_token_id, forced_eos_token_id: the first token after the start; the last at full length.
        renormalize_logits: make the scores log-probabilities again after all rules.
        decoder_start_token_id, eos_token_id, pad_token_id: special ids; None: those of the model's config. There may be
            several end tokens.

    Raises:
        ValueError: a setting out of range, or two that contradict each other.

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

    # Which settings come from where, but for those that the caller wrote: for errors alone, so that settings that are
    # equal share their compiled program.
    _sources: Mapping[str, str] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name, rule in RULES.items():
            # A frozen dataclass is normalised through its base's setter; lists become tuples, as settings are keys.
            object.__setattr__(self, name, rule(name, plain(getattr(self, name), name)))
        self._check_together()

    def _check_together(self) -> None:
        if self.num_return_sequences > self.num_beams and (self.num_beams > 1 or not self.do_sample):
            raise ValueError(
                f"num_return_sequences must be at most num_beams={self.num_beams}. Received: num_return_sequences="
                f"{self.num_return_sequences}{self.origin('num_return_sequences', 'num_beams')}"
            )
        # Of a length that counts the prompt and one that does not, only a prompt can say which is larger.
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
        """Where those of the named settings come from that the caller did not write, as the end of an error's text.

        >>> GenerationConfig.from_dict({"num_beams": 4}, source="the file s.json").origin("num_beams", "max_length")
        ' (num_beams=4 comes from the file s.json)'
        """
        found = [
            f"{name}={getattr(self, name)!r:.80} comes from {self._sources[name]}"
            for name in names
            if name in self._sources
        ]
        return f" ({', '.join(found)})" if found else ""

    def check_lengths(self, prompt_length: int) -> None:
        """Raise `ValueError` when sequences must be longer than they may."""
        if self.least_length(prompt_length) > self.total_length(prompt_length):
            name = "min_length" if self.min_new_tokens is None else "min_new_tokens"
            raise ValueError(
                f"{name} must be at most the full length of {self.total_length(prompt_length)} tokens. Received: "
                f"{name}={getattr(self, name)}, with a prompt of {prompt_length}"
                f"{self.origin(name, self.name_of_length)}"
            )

    def total_length(self, prompt_length: int = 1) -> int:
        """Length of the longest sequence, the prompt included."""
        if self.max_new_tokens is None and self.max_length is not None:
            return self.max_length
        return prompt_length + (self.max_new_tokens or DEFAULT_NEW_TOKENS)

    def least_length(self, prompt_length: int = 1) -> int:
        """Length before which the end token is forbidden, the prompt included."""
        return self.min_length if self.min_new_tokens is None else prompt_length + self.min_new_tokens

    @property
    def name_of_length(self) -> str:
        """The setting that `total_length` comes from."""
        return "max_length" if self.max_new_tokens is None and self.max_length is not None else "max_new_tokens"

    @property
    def end_tokens(self) -> tuple[int, ...]:
        """The ids that end a sequence."""
        return token_ids("eos_token_id", self.eos_token_id)

    @property
    def rows_per_document(self) -> int:
        """How many sequences of a document are continued side by side."""
        return self.num_beams if self.num_beams > 1 else self.num_return_sequences

    @property
    def needs_source_ids(self) -> tuple[str, ...]:
        """The settings that look at the document's tokens."""
        penalty, size = "encoder_repetition_penalty", "encoder_no_repeat_ngram_size"
        return (penalty,) * (getattr(self, penalty) != 1.0) + (size,) * (getattr(self, size) > 0)

    def check_vocabulary(self, vocab_size: int) -> None:
        """Raise `ValueError` for an id that a vocabulary of this size does not have."""
        named = (
            *_SPECIAL_IDS,
            "forced_bos_token_id",
            "forced_eos_token_id",
            "suppress_tokens",
            "begin_suppress_tokens",
        )
        found: list[tuple[str, Iterable[int]]] = [(name, token_ids(name, getattr(self, name))) for name in named]
        found += [("bad_words_ids", word) for word in self.bad_words_ids or ()]
        for name, ids in found:
            for token in ids:
                if token >= vocab_size:
                    raise ValueError(
                        f"{name} must be below the vocabulary's {vocab_size} tokens. Received: {token}"
                        f"{self.origin(name)}"
                    )

    @classmethod
    def names(cls) -> set[str]:
        """The settings that exist."""
        return set(RULES)

    @classmethod
    def reference_names(cls) -> set[str]:
        """The settings that exist, and those of the reference that are not built here."""
        return cls.names() | set(NOT_BUILT)

    @classmethod
    def of(cls, value: Any, default: Self | None = None) -> Self:
        """Settings from whatever holds them.

        Args:
            value: settings; a mapping of them, those that it lacks at their defaults; an object with transformers'
                `to_diff_dict` or `to_dict`; or None.
            default: what None stands for; None: all settings at their defaults.

        Raises:
            ValueError: another kind of value; and as `from_dict`.

        >>> GenerationConfig.of({"num_beams": 4}).num_beams
        4
        """
        if value is None:
            return cls() if default is None else default
        if isinstance(value, cls):
            return value
        given = value
        if not isinstance(value, (Mapping, type)):
            as_dict = getattr(value, "to_diff_dict", None) or getattr(value, "to_dict", None)
            given = as_dict() if callable(as_dict) else None
        if not isinstance(given, Mapping):
            raise ValueError(
                "generation_config must be a GenerationConfig, a mapping of settings or transformers' object. "
                f"Received: generation_config={value!r:.80}"
            )
        made = cls.from_dict(given)
        # Who writes a dict means the number; in transformers' files and objects it is the default.
        is_meant = isinstance(value, Mapping) and given.get("max_length") is not None and made.max_new_tokens is None
        return made.replace(max_length=given["max_length"]) if is_meant else made

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], strict: bool = True, source: str | None = None) -> Self:
        """Settings from a `generation_config.json`.

        Args:
            values: by name; None means the default. What says how the reference computes is passed over.
            strict: refuse settings that are unknown, not built here, out of range or contradictory; otherwise leave out
                those, as few as can be, with a warning that names each with its value and its rule.
            source: where the settings come from, which errors about them then say; None: the caller wrote them, or
                unless `strict`, the model's config.

        Raises:
            ValueError: see `strict`; and as the class.
        """
        source = source or (None if strict else "the model's config")
        place = "" if source is None else f" of {source}"
        values = {str(key): value for key, value in values.items()}
        known = {key: value for key, value in values.items() if key in cls.names() and value is not None}
        if "top_k" in values and values["top_k"] is None:
            known["top_k"] = 0  # the reference's way to turn it off
        if source is not None and values.get("bos_token_id") is not None:
            # Where a file names no start token, the reference begins with this one.
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
            known.pop("max_length")  # the reference's default, which it takes for new tokens
        if not strict:
            known, reasons = usable_settings(cls, known)
            if reasons:
                told = "; ".join(f"{name} ({reason})" for name, reason in reasons.items())
                warnings.warn(f"These generation settings{place} are left out: {told}", stacklevel=2)
        try:
            return cls(**known, _sources={} if source is None else dict.fromkeys(known, source))
        except ValueError as error:
            told = str(error)
            raise ValueError(told if source is None or source in told else f"{told} (from {source})") from None

    @classmethod
    def from_json(cls, path: str | os.PathLike[str], strict: bool = True) -> Self:
        """Settings from a file, see `from_dict`; `ValueError` when it is not a JSON object."""
        is_checkpoints = os.path.basename(path) == "generation_config.json"
        source = "the checkpoint's generation_config.json" if is_checkpoints else f"the file {os.fspath(path)}"
        return cls.from_dict(read_json_object(path), strict, source)

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write a `generation_config.json`, whole or not at all."""
        write_json(path, self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """The settings that are set."""
        values = {name: getattr(self, name) for name in RULES if getattr(self, name) is not None}
        if values.get("max_length") == DEFAULT_NEW_TOKENS:
            # In a file it would be the reference's default, which it takes for new tokens.
            values.setdefault("max_new_tokens", DEFAULT_NEW_TOKENS - 1)
            values.pop("max_length")
        return values

    def with_ids_of(self, model_config: Any) -> Self:
        """The special ids that are None here, taken from a model's config or other settings."""
        missing = [name for name in _SPECIAL_IDS if getattr(self, name) is None]
        theirs = getattr(model_config, "_sources", dict.fromkeys(missing, "the model's config"))
        sources = {**self._sources, **{name: theirs[name] for name in missing if name in theirs}}
        found = {name: getattr(model_config, name) for name in missing}
        if "eos_token_id" in found:
            # A model's config may list several, of which its field is the first.
            found["eos_token_id"] = getattr(model_config, "eos_token_ids", found["eos_token_id"])
        return dataclasses.replace(self, **found, _sources=sources)

    def replace(self, **overrides: Any) -> Self:
        """Settings with some changed, None for off; `ValueError` for an unknown one.

        `max_length` takes the place of `max_new_tokens`, and `min_length` of `min_new_tokens`. Settings of sampling may
        be kept without `do_sample`, as files do, but not given.
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
        given = {name: value for name, value in overrides.items() if value is not None}
        off: dict[str, Any] = {
            name: 0 if name == "top_k" else defaults[name] for name in overrides if name not in given
        }
        made = dataclasses.replace(self, **given, **off, _sources=sources)
        for name in _OF_SAMPLING:
            if not made.do_sample and name in given and getattr(made, name) != defaults[name]:
                raise ValueError(
                    f"{name} must go with do_sample=True. Received: {name}={getattr(made, name)!r} and do_sample=False"
                )
        return made
