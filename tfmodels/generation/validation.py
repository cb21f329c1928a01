"""The rules of the settings of generation; errors name the setting, the rule and the value."""

from collections.abc import Callable, Sequence
from typing import Any

from tfmodels.utils.checks import check_at_least, check_finite, check_flag, check_number

Rule = Callable[[str, Any], Any]
"""(name, value) -> the value in a setting's own type; `ValueError` for a value that breaks the rule."""


def token_ids(name: str, value: Any) -> tuple[int, ...]:
    """Convert one id or several to a tuple without repetitions.

    >>> token_ids("eos_token_id", 2), token_ids("eos_token_id", [2, 5, 2]), token_ids("eos_token_id", None)
    ((2,), (2, 5), ())
    """
    if value is None:
        return ()
    ids = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    for token in ids:
        check_at_least(name, token, 0)
    return tuple(dict.fromkeys(ids))


def words(name: str, value: Any) -> tuple[tuple[int, ...], ...] | None:
    """Convert a list of words, each of at least one id, to tuples; None stays None."""
    if value is None:
        return None
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(x, Sequence) for x in value):
        raise ValueError(f"{name} must be a list of lists of ids. Received: {name}={value!r:.80}")
    tuples = tuple(token_ids(name, word) if len(word) < 2 else _word(name, word) for word in value)
    if not all(tuples):
        raise ValueError(f"{name} must hold words of at least one id. Received: {name}={value!r:.80}")
    return tuples


def _word(name: str, word: Sequence[Any]) -> tuple[int, ...]:
    for token in word:
        check_at_least(name, token, 0)
    return tuple(word)


def decay(name: str, value: Any) -> tuple[int, float] | None:
    """Convert a start in tokens and a factor to a tuple; None stays None."""
    if value is None:
        return None
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise ValueError(f"{name} must be (start, factor). Received: {name}={value!r:.80}")
    check_at_least(f"{name}[0]", value[0], 0)
    check_number(f"{name}[1]", value[1], 0.0, above=True)
    return value[0], float(value[1])


def _ids(name: str, value: Any) -> tuple[int, ...] | None:
    return token_ids(name, value) or None


def _id_or_ids(name: str, value: Any) -> int | tuple[int, ...] | None:
    ids = token_ids(name, value)
    return ids[0] if len(ids) == 1 else ids or None


def _at_least(lowest: int, optional: bool = True) -> Rule:
    def rule(name: str, value: Any) -> Any:
        if value is not None or not optional:
            check_at_least(name, value, lowest)
        return value

    return rule


def _number(low: float, high: float = 1e300, above: bool = True, optional: bool = False) -> Rule:
    def rule(name: str, value: Any) -> Any:
        if value is not None or not optional:
            check_number(name, value, low, high, above)
        return value

    return rule


def _finite(name: str, value: Any) -> Any:
    check_finite(name, value)
    return value


def _flag(name: str, value: Any) -> Any:
    check_flag(name, value)
    return value


def _early_stopping(name: str, value: Any) -> Any:
    if not isinstance(value, bool) and value != "never":
        raise ValueError(f"{name} must be True, False or 'never'. Received: {name}={value!r:.80}")
    return value


RULES: dict[str, Rule] = {
    **dict.fromkeys(("num_beams", "num_return_sequences"), _at_least(1, optional=False)),
    **dict.fromkeys(("min_length", "top_k"), _at_least(0, optional=False)),
    **dict.fromkeys(("no_repeat_ngram_size", "encoder_no_repeat_ngram_size"), _at_least(0, optional=False)),
    "max_length": _at_least(2),
    "max_new_tokens": _at_least(1),
    **dict.fromkeys(("min_new_tokens", "seed", "forced_bos_token_id"), _at_least(0)),
    **dict.fromkeys(("decoder_start_token_id", "pad_token_id"), _at_least(0)),
    "length_penalty": _finite,
    **dict.fromkeys(("temperature", "repetition_penalty", "encoder_repetition_penalty"), _number(0.0)),
    **dict.fromkeys(("top_p", "typical_p"), _number(0.0, 1.0)),
    "min_p": _number(0.0, 1.0, above=False, optional=True),
    **dict.fromkeys(("do_sample", "renormalize_logits"), _flag),
    "early_stopping": _early_stopping,
    "bad_words_ids": words,
    "exponential_decay_length_penalty": decay,
    **dict.fromkeys(("suppress_tokens", "begin_suppress_tokens"), _ids),
    **dict.fromkeys(("eos_token_id", "forced_eos_token_id"), _id_or_ids),
}
"""The rule of each setting by itself."""
