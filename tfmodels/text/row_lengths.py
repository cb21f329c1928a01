"""The lengths of a call's rows, and how texts are cut to them: `max_length`, `lengths`, `padding`, `truncation`."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from tfmodels.text.arguments import check_lengths
from tfmodels.text.spec import TokenizerSpec
from tfmodels.text.template import Template, kept_of_first, kept_of_longest, kept_of_second, kept_tokens

# Arguments of transformers' call that this one lacks, with their replacements.
_REPLACEMENTS = {
    "add_special_tokens": "encode(text, add_special_tokens=False) gives one text's ids without them",
    "is_split_into_words": "texts are whole: join the words",
    "pad_to_multiple_of": "lengths=(...) gives the lengths that rows may have",
    "padding_side": "rows are padded on the right",
    "return_attention_mask": "attention_mask is always there",
    "return_length": "attention_mask.sum(axis=1) is the length of each row",
    "return_offsets_mapping": "return_offsets=True adds offsets",
    "return_overflowing_tokens": "cut a long text into texts before the call",
    "return_token_type_ids": "return_segment_mask=True adds segment_mask",
    "split_special_tokens": "it is read from tokenizer_config.json",
    "stride": "cut a long text into texts before the call",
    "text_pair_target": "join the targets to one text",
    "verbose": "nothing is printed",
}


@dataclasses.dataclass(frozen=True)
class LengthArguments:
    """Arguments of `Tokenizer.__call__` about lengths, under the same names.

    Attributes:
        name: the name of `max_length` in error messages: labels have a length of their own.
    """

    max_length: Any = None
    lengths: Any = None
    padding: Any = None
    truncation: Any = None
    name: str = "max_length"


@dataclasses.dataclass(frozen=True)
class RowLengths:
    """The lengths that rows may have, and the rule that cuts them.

    Attributes:
        allowed: the lengths that rows may have, ascending; none for rows of any length.
        is_exact: whether rows are padded to such a length; otherwise to the longest row.
        kept: counts the tokens of each text of a pair that stay, as `kept_tokens` does; `None` where rows that are too
            long are refused.
    """

    allowed: tuple[int, ...]
    is_exact: bool = True
    kept: Callable[[int, int, int], tuple[int, int]] | None = kept_tokens


def refuse_unknown_arguments(arguments: Mapping[str, Any]) -> None:
    """Raise `ValueError` for an argument of transformers' call that this one lacks, `TypeError` for any other."""
    for name, value in arguments.items():
        if name in _REPLACEMENTS:
            raise ValueError(f"{name} is no argument here: {_REPLACEMENTS[name]}. Received: {name}={value!r}")
        raise TypeError(f"a tokenizer's call got an unexpected keyword argument {name!r}")


def read_row_lengths(spec: TokenizerSpec, arguments: LengthArguments, is_pair: bool) -> RowLengths:
    """Read the arguments of a call that say how long its rows are.

    Args:
        spec: the tokenizer's facts.
        arguments: `padding` and `truncation` as in transformers; `None` for this call's own defaults.
        is_pair: whether rows hold two texts.

    Raises:
        ValueError: a wrong argument, or arguments that contradict each other.
    """
    # transformers has enumerations of the same strings.
    padding, truncation = (getattr(value, "value", value) for value in (arguments.padding, arguments.truncation))
    max_length, lengths, name = arguments.max_length, arguments.lengths, arguments.name
    is_bounded = max_length is not None or lengths is not None
    if padding not in (None, True, "longest", "max_length"):
        raise ValueError(
            f"padding must be True, 'longest' or 'max_length': a call returns arrays, whose rows are of one length; "
            f"encode(text) gives one text's ids as they are. Received: {padding=}"
        )
    if truncation not in (None, True, False, *_CUTS, "do_not_truncate"):
        raise ValueError(f"truncation must be True, False or one of {sorted(_CUTS)}. Received: {truncation=}")
    if padding in (True, "longest") and lengths is not None:
        raise ValueError(f"padding must be None with lengths, which say how long rows may be. Received: {padding=}")
    cuts = truncation in (True, *_CUTS)
    if not is_bounded and (cuts or padding == "max_length"):
        max_length = spec.model_max_length
        if max_length is None:
            argument = f"{truncation=}" if cuts else f"{padding=}"
            raise ValueError(f"{argument} needs {name}, as the tokenizer's files have no model_max_length")
    allowed = check_lengths(max_length, lengths, spec.template.shortest(is_pair), name)
    is_exact = padding == "max_length" or (padding is None and is_bounded)
    if truncation is None:
        return RowLengths(allowed, is_exact, kept_tokens)
    return RowLengths(allowed, is_exact, _cut(truncation, spec.template) if cuts else None)


_CUTS: dict[str, Callable[[int, int, int], tuple[int, int]]] = {
    "longest_first": kept_of_longest,
    "only_first": kept_of_first,
    "only_second": kept_of_second,
}


def _cut(truncation: Any, template: Template) -> Callable[[int, int, int], tuple[int, int]]:
    if truncation in (True, "longest_first"):
        return lambda first, second, room: kept_of_longest(first, second, room, template.favours_first)
    return _CUTS[truncation]
