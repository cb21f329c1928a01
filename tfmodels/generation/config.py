"""Settings of generation, under the reference's names."""

import dataclasses
import os
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self

from tfmodels.files import read_json_object, write_json
from tfmodels.generation.config_checks import (
    check_at_least,
    check_finite,
    check_flag,
    check_number,
    decay,
    token_ids,
    words,
)

# The reference's length where nothing is asked for: so many tokens after the prompt.
DEFAULT_NEW_TOKENS = 20
# Settings that change no output of ours, or say how the reference computes it or what it returns.
_HARMLESS = frozenset(
    (
        "_from_model_config",
        "_commit_hash",
        "transformers_version",
        "use_cache",
        "is_encoder_decoder",
        "bos_token_id",
        "cache_implementation",
        "cache_config",
        "return_legacy_cache",
        "prefill_chunk_size",
        "compile_config",
        "disable_compile",
        "return_dict_in_generate",
        "output_attentions",
        "output_hidden_states",
        "output_scores",
        "output_logits",
        "low_memory",
        "is_assistant",
        "num_assistant_tokens",
        "num_assistant_tokens_schedule",
        "assistant_confidence_threshold",
        "max_matching_ngram_size",
        "assistant_early_exit",
        "assistant_lookbehind",
        "target_lookbehind",
    )
)
# The reference's settings that are not built here, with the values at which they do nothing.
_NOT_BUILT: dict[str, tuple[Any, ...]] = {
    "epsilon_cutoff": (0.0,),
    "eta_cutoff": (0.0,),
    "remove_invalid_values": (False,),
    "token_healing": (False,),
    "guidance_scale": (1.0,),
    "diversity_penalty": (0.0,),
    "num_beam_groups": (1,),
    **dict.fromkeys(("max_time", "stop_strings", "sequence_bias", "watermarking_config", "penalty_alpha"), ()),
    **dict.fromkeys(("dola_layers", "constraints", "force_words_ids", "prompt_lookup_num_tokens"), ()),
}
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

    def __post_init__(self) -> None:
        self._check_counts()
        self._check_numbers()
        self._make_tuples()
        self._check_together()

    def _check_counts(self) -> None:
        lowest = {"num_beams": 1, "num_return_sequences": 1, "min_length": 0, "top_k": 0}
        lowest |= {"no_repeat_ngram_size": 0, "encoder_no_repeat_ngram_size": 0}
        optional = {"max_length": 2, "max_new_tokens": 1, "min_new_tokens": 0, "seed": 0}
        optional |= dict.fromkeys(("forced_bos_token_id", "decoder_start_token_id", "pad_token_id"), 0)
        for name, least in (lowest | optional).items():
            if name in lowest or getattr(self, name) is not None:
                check_at_least(name, getattr(self, name), least)

    def _check_numbers(self) -> None:
        check_finite("length_penalty", self.length_penalty)
        for name in ("temperature", "repetition_penalty", "encoder_repetition_penalty"):
            check_number(name, getattr(self, name), 0.0, above=True)
        for name in ("top_p", "typical_p"):
            check_number(name, getattr(self, name), 0.0, 1.0, above=True)
        if self.min_p is not None:
            check_number("min_p", self.min_p, 0.0, 1.0)
        for name in ("do_sample", "renormalize_logits"):
            check_flag(name, getattr(self, name))
        if not isinstance(self.early_stopping, bool) and self.early_stopping != "never":
            raise ValueError(
                f"early_stopping must be True, False or 'never'. Received: early_stopping={self.early_stopping!r}"
            )

    def _make_tuples(self) -> None:
        """Lists as tuples: settings are keys of the compiled searches."""
        made: dict[str, Any] = {
            "bad_words_ids": words("bad_words_ids", self.bad_words_ids),
            "exponential_decay_length_penalty": decay(
                "exponential_decay_length_penalty", self.exponential_decay_length_penalty
            ),
        }
        for name in ("suppress_tokens", "begin_suppress_tokens", "eos_token_id", "forced_eos_token_id"):
            found = token_ids(name, getattr(self, name))
            made[name] = found or None
        for name in ("eos_token_id", "forced_eos_token_id"):
            made[name] = made[name][0] if made[name] and len(made[name]) == 1 else made[name]
        for name, value in made.items():
            object.__setattr__(self, name, value)

    def _check_together(self) -> None:
        if self.num_return_sequences > self.num_beams and (self.num_beams > 1 or not self.do_sample):
            raise ValueError(
                f"num_return_sequences must be at most num_beams={self.num_beams}. "
                f"Received: num_return_sequences={self.num_return_sequences}"
            )
        # Of a length that counts the prompt and one that does not, only a prompt can say which is larger.
        if (self.min_new_tokens is None) == (self.max_new_tokens is None and self.max_length is not None):
            self.check_lengths(prompt_length=1)
        for name in ("forced_bos_token_id", "forced_eos_token_id"):
            lost = set(token_ids(name, getattr(self, name))) & set(self.suppress_tokens or ())
            if lost:
                raise ValueError(f"{name} must not be among suppress_tokens. Received: {name}={lost.pop()}")

    def check_lengths(self, prompt_length: int) -> None:
        """Raise `ValueError` when sequences must be longer than they may."""
        if self.least_length(prompt_length) > self.total_length(prompt_length):
            name = "min_length" if self.min_new_tokens is None else "min_new_tokens"
            raise ValueError(
                f"{name} must be at most the full length of {self.total_length(prompt_length)} tokens. "
                f"Received: {name}={getattr(self, name)}, with a prompt of {prompt_length}"
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
                    raise ValueError(f"{name} must be below the vocabulary's {vocab_size} tokens. Received: {token}")

    @classmethod
    def names(cls) -> set[str]:
        """The settings that exist."""
        return {field.name for field in dataclasses.fields(cls)}

    @classmethod
    def reference_names(cls) -> set[str]:
        """The settings that exist, and those of the reference that are not built here."""
        return cls.names() | set(_NOT_BUILT)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], strict: bool = True) -> Self:
        """Settings from a `generation_config.json`.

        Args:
            values: by name; None means the default. What says how the reference computes is passed over.
            strict: refuse settings that are unknown, not built here or contradictory; otherwise warn, and leave them
                out.

        Raises:
            ValueError: see `strict`; and as the class.
        """
        known = {key: value for key, value in values.items() if key in cls.names() and value is not None}
        if "top_k" in values and values["top_k"] is None:
            known["top_k"] = 0  # the reference's way to turn it off
        unknown = sorted(
            key
            for key, value in values.items()
            if key not in cls.names() | _HARMLESS and value not in (None, *_NOT_BUILT.get(key, ()))
        )
        if unknown and strict:
            raise ValueError(f"generation settings must be among {sorted(cls.names())}. Received: {unknown}")
        if unknown:
            warnings.warn(f"These generation settings are not supported and change nothing: {unknown}", stacklevel=2)
        if known.get("max_length") == DEFAULT_NEW_TOKENS:
            known.pop("max_length")  # the reference's default, which it takes for new tokens
        try:
            return cls(**known)
        except ValueError as error:
            if strict:
                raise
            warnings.warn(f"These generation settings are left out, but for special ids: {error}", stacklevel=2)
            return cls(**{name: known[name] for name in _SPECIAL_IDS if name in known})

    @classmethod
    def from_json(cls, path: str | os.PathLike[str], strict: bool = True) -> Self:
        """Settings from a file, see `from_dict`; `ValueError` when it is not a JSON object."""
        return cls.from_dict(read_json_object(path), strict)

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write a `generation_config.json`, whole or not at all."""
        write_json(path, self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """The settings that are set."""
        values = {key: value for key, value in dataclasses.asdict(self).items() if value is not None}
        if values.get("max_length") == DEFAULT_NEW_TOKENS:
            # In a file it would be the reference's default, which it takes for new tokens.
            values.setdefault("max_new_tokens", DEFAULT_NEW_TOKENS - 1)
            values.pop("max_length")
        return values

    def with_ids_of(self, model_config: Any) -> Self:
        """The special ids that are None here, taken from a model's config or other settings."""
        missing = [name for name in _SPECIAL_IDS if getattr(self, name) is None]
        return dataclasses.replace(self, **{name: getattr(model_config, name) for name in missing})

    def replace(self, **overrides: Any) -> Self:
        """Settings with some changed; `ValueError` for an unknown one.

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
        made = dataclasses.replace(self, **overrides)
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for name in _OF_SAMPLING:
            if not made.do_sample and name in overrides and overrides[name] != defaults[name]:
                raise ValueError(
                    f"{name} must go with do_sample=True. Received: {name}={overrides[name]!r} and do_sample=False"
                )
        return made
