"""The usable settings of a file: as many as possible, and the reason against each of the rest."""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import combinations
from typing import Any

from tfmodels.generation.validation import RULES
from tfmodels.utils.plain_values import plain

# Settings that can contradict each other; of a contradictory pair the earlier one is dropped.
_CONTRADICTABLE = (
    "num_return_sequences",
    "min_new_tokens",
    "min_length",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "suppress_tokens",
    "max_new_tokens",
    "max_length",
    "num_beams",
    "do_sample",
)


def usable_settings(make: Callable[..., Any], settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Drop the settings that break a rule, and as few as possible of contradictory ones.

    Args:
        make: the class of settings; its `ValueError` reports a contradiction.
        settings: {name: value}.

    Returns:
        The usable settings, and {name of a dropped setting: the rule that it breaks}.

    >>> from tfmodels.generation.config import GenerationConfig
    >>> usable_settings(GenerationConfig, {"num_beams": 4, "top_p": 7})
    ({'num_beams': 4}, {'top_p': 'top_p must be a number above 0 and at most 1. Received: top_p=7'})
    """
    reasons = {name: _broken(partial(_follow, name, settings[name])) for name in settings}
    kept = {name: value for name, value in settings.items() if reasons[name] is None}
    candidates = [name for name in _CONTRADICTABLE if name in kept]
    for count in range(len(candidates) + 1):
        for dropped in combinations(candidates, count):
            rest = {name: value for name, value in kept.items() if name not in dropped}
            if _broken(partial(make, **rest)) is None:
                reasons |= {name: _broken(partial(make, **rest, **{name: kept[name]})) for name in dropped}
                return rest, {name: reason for name, reason in reasons.items() if reason is not None}
    raise ValueError(f"settings must be among those of {make}. Received: {sorted(settings)}")


def _follow(name: str, value: Any) -> None:
    RULES[name](name, plain(value, name))


def _broken(check: Callable[[], Any]) -> str | None:
    """The rule that a check reports as broken, or None."""
    try:
        check()
    except ValueError as error:
        return str(error)
    return None
