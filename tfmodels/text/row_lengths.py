"""How long the rows of a call are, and how texts are cut to that: `max_length`, `lengths`, `padding`, `truncation`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tfmodels.text.arguments import check_lengths
from tfmodels.text.template import kept_of_first, kept_of_longest, kept_of_second, kept_tokens

if TYPE_CHECKING:
    from tfmodels.text.tokenizer import Tokenizer

# What transformers' call has and this one has not, with what does it here.
_ELSEWHERE = {
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
class RowLengths:
    """What the arguments ask for.

    Attributes:
        allowed: the lengths that rows may have, ascending; none for rows of any length.
        is_exact: whether rows are padded to such a length; otherwise to the longest of them.
        kept: how many tokens of each text of a pair stay, as `kept_tokens` says it; `None` where nothing may be cut.
    """

    allowed: tuple[int, ...]
    is_exact: bool = True
    kept: Callable[[int, int, int], tuple[int, int]] | None = kept_tokens


def refuse_others(others: Mapping[str, Any]) -> None:
    """Raise `ValueError` for an argument of transformers' call that this one has not, `TypeError` for any other."""
    for name in others:
        if name in _ELSEWHERE:
            raise ValueError(f"{name} is no argument here: {_ELSEWHERE[name]}. Received: {name}={others[name]!r}")
        raise TypeError(f"a tokenizer's call got an unexpected keyword argument {name!r}")


def read_row_lengths(
    tokenizer: Tokenizer,
    lengths: tuple[Any, Any],
    padding: Any,
    truncation: Any,
    is_pair: bool,
    name: str = "max_length",
) -> RowLengths:
    """What `max_length`, `lengths`, `padding` and `truncation` of a call ask for.

    Args:
        tokenizer: Whose call it is.
        lengths: `max_length` (or what has that name for labels) and `lengths`.
        padding, truncation: as transformers has them; `None` for what this call does by itself.
        is_pair: whether rows hold two texts.
        name: what the error message calls `max_length`.

    Raises:
        ValueError: what cannot be, with the argument that does it.
    """
    # transformers has enumerations of the same strings.
    padding, truncation = (getattr(value, "value", value) for value in (padding, truncation))
    max_length, several = lengths
    is_bounded = max_length is not None or several is not None
    if padding not in (None, True, "longest", "max_length"):
        raise ValueError(
            f"padding must be True, 'longest' or 'max_length': a call returns arrays, whose rows are of one length; "
            f"encode(text) gives one text's ids as they are. Received: {padding=}"
        )
    if truncation not in (None, True, False, *_CUTS, "do_not_truncate"):
        raise ValueError(f"truncation must be True, False or one of {sorted(_CUTS)}. Received: {truncation=}")
    if padding in (True, "longest") and several is not None:
        raise ValueError(f"padding must be None with lengths, which say how long rows may be. Received: {padding=}")
    cuts = truncation in (True, *_CUTS)
    if not is_bounded and (cuts or padding == "max_length"):
        max_length = tokenizer.model_max_length
        if max_length is None:
            argument = f"{truncation=}" if cuts else f"{padding=}"
            raise ValueError(f"{argument} needs {name}, as the tokenizer's files have no model_max_length")
    allowed = check_lengths(max_length, several, tokenizer.frame.shortest(is_pair), name)
    is_exact = padding == "max_length" or (padding is None and is_bounded)
    if truncation is None:
        return RowLengths(allowed, is_exact, kept_tokens)
    return RowLengths(allowed, is_exact, _cut(truncation, tokenizer) if cuts else None)


_CUTS: dict[str, Callable[[int, int, int], tuple[int, int]]] = {
    "longest_first": kept_of_longest,
    "only_first": kept_of_first,
    "only_second": kept_of_second,
}


def _cut(truncation: Any, tokenizer: Tokenizer) -> Callable[[int, int, int], tuple[int, int]]:
    if truncation in (True, "longest_first"):
        # The two references halve an odd room otherwise.
        return lambda first, second, room: kept_of_longest(first, second, room, not tokenizer.marks_global_token)
    return _CUTS[truncation]
