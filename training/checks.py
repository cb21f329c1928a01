"""Early checks of a run's settings, all at once, before anything is imported or read that takes long."""

import dataclasses
import itertools
import re
import typing
from collections.abc import Callable, Iterable
from types import NoneType
from typing import Any, Literal, get_args

from tfmodels.generation.config import GenerationConfig
from tfmodels.utils.checks import check_at_least, check_number, check_positive
from training.config import Config, flat
from training.defaults import ModelSource

_POSITIVE = (
    "lengths.target",
    "lengths.batch_tokens",
    "lengths.rows_multiple",
    "weights.vocab_size",
    "steps.keep",
)
_POSITIVE_OR_NONE = (
    "steps.epochs",
    "steps.max_steps",
    "steps.evaluate_every",
    "steps.checkpoint_every",
    "steps.patience",
    "optim.accumulate",
    "weights.lora_rank",
    "data.workers",
    "evaluation.batch_tokens",
)
_AT_LEAST_ZERO = (
    "optim.warmup",
    "optim.weight_decay",
    "optim.clip",
    "data.max_bad_rows",
    "evaluation.rouge_rows",
    "evaluation.samples",
)
_HIGHEST_SEED = 2**32 - 1


def check_config(config: Config) -> list[str]:
    """What is wrong with settings that need no model and no file, each as a sentence.

    >>> from pathlib import Path
    >>> check_config(Config(model="led-tiny", output=Path("out")))
    ['data.train must name at least one file, folder or pattern. Received: none']
    """
    errors = [f"{name} must be given. Received: none" for name in ("model", "output") if not getattr(config, name)]
    if not config.data.train:
        errors.append("data.train must name at least one file, folder or pattern. Received: none")
    errors += _of_choices(config)
    errors += _of_numbers(flat(config))
    errors += _of_lengths(config)
    for argument in ("optim.no_decay", "weights.frozen"):
        errors += _of_patterns(argument, flat(config)[argument])
    unknown = sorted(set(config.data.fields) - {"document", "summary"})
    if unknown:
        errors.append(f"data.fields must name document and summary alone. Received: {', '.join(unknown)}")
    fields = {"document": "document", "summary": "summary", **config.data.fields}
    if fields["document"] == fields["summary"]:
        errors.append(f"data.fields must be two different fields. Received: both are {fields['document']!r}")
    errors += _of_generation(config.generation)
    if config.steps.best != "loss" and config.evaluation.rouge_rows == 0:
        errors.append(
            f"evaluation.rouge_rows must be positive for steps.best={config.steps.best}. "
            "Received: evaluation.rouge_rows=0"
        )
    return errors


def check_against_model(config: Config, source: ModelSource) -> list[str]:
    """What is wrong with resolved settings for this model, each as a sentence."""
    errors = []
    for argument, length, field in (
        ("lengths.source", max(config.lengths.sources), "max_encoder_position_embeddings"),
        ("lengths.target", config.lengths.target or 0, "max_decoder_position_embeddings"),
    ):
        limit = source.config.get(field)
        if isinstance(limit, int) and length > limit:
            errors.append(f"{argument} must be at most {field}={limit} of {source.name}. Received: {length}")
    if max(config.lengths.sources) > (config.lengths.batch_tokens or 0):
        errors.append(
            "lengths.batch_tokens must hold a document of the largest of lengths.source. "
            f"Received: lengths.batch_tokens={config.lengths.batch_tokens}, lengths.source={config.lengths.source}"
        )
    return errors


def raise_all(errors: Iterable[str]) -> None:
    """Raise one `ValueError` for all errors, if there is any."""
    listed = list(errors)
    if listed:
        raise ValueError("\n".join(listed))


def _of_choices(config: Any, prefix: str = "") -> list[str]:
    """Settings of a few values: from YAML and flags the parser refuses others, from Python nothing else does."""
    errors = []
    for name, hint in typing.get_type_hints(type(config)).items():
        value = getattr(config, name)
        kinds = typing.get_args(hint)
        choices = [choice for kind in (hint, *kinds) if typing.get_origin(kind) is Literal for choice in get_args(kind)]
        if dataclasses.is_dataclass(value):
            errors += _of_choices(value, f"{name}.")
        elif choices and value not in choices and not (value is None and NoneType in kinds):
            errors.append(f"{prefix}{name} must be one of {', '.join(choices)}. Received: {prefix}{name}={value!r}")
        elif hint is bool and not isinstance(value, bool):
            errors.append(f"{prefix}{name} must be true or false. Received: {prefix}{name}={value!r}")
    return errors


def _of_numbers(values: dict[str, Any]) -> list[str]:
    checks: list[tuple[Callable[..., None], tuple[str, ...], tuple[Any, ...]]] = [
        (check_positive, _POSITIVE, ()),
        (check_positive, _POSITIVE_OR_NONE, ()),
        (check_number, _AT_LEAST_ZERO, (0.0,)),
        (check_at_least, ("evaluation.loss_rows", "evaluation.test_rows"), (1,)),
        (check_number, ("seed",), (0, _HIGHEST_SEED)),
        (check_number, ("data.hold_out",), (0.0, 0.4)),
        (check_number, ("optim.smoothing", "weights.dropout"), (0.0, 0.9)),
        (check_number, ("logging.seconds",), (0.0,)),
        (check_number, ("optim.learning_rate", "steps.max_minutes", "steps.checkpoint_minutes"), (0.0, 1e300, True)),
    ]
    return [
        error
        for check, names, limits in checks
        for name in names
        if values[name] is not None
        for error in _error_of(check, name, values[name], *limits)
    ]


def _error_of(check: Callable[..., None], *arguments: Any) -> list[str]:
    try:
        check(*arguments)
    except ValueError as error:
        return [str(error)]
    return []


def _of_lengths(config: Config) -> list[str]:
    errors = []
    if config.lengths.source is not None:
        source = config.lengths.sources
        are_positive = all(isinstance(length, int) and length > 0 for length in source)
        if not source or not are_positive or any(a >= b for a, b in itertools.pairwise(source)):
            errors.append(
                "lengths.source must be one or more positive lengths in ascending order. "
                f"Received: lengths.source={list(source)}"
            )
    if config.lengths.target is not None and config.lengths.target == 1:
        errors.append("lengths.target must be at least 2. Received: lengths.target=1")
    return errors


def _of_generation(settings: dict[str, Any]) -> list[str]:
    try:
        GenerationConfig().replace(**settings)
    except (ValueError, TypeError) as error:
        return [f"generation must hold settings of generation. Received: {error}"]
    return []


def _of_patterns(argument: str, patterns: Iterable[str]) -> list[str]:
    errors = []
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            errors.append(f"{argument} must hold regular expressions. Received: {pattern!r} ({error})")
    return errors
