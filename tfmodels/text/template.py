"""Rows of ids: special tokens around one text or a pair, truncation and padding, one rule for both paths."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class EncodedRow:
    """The ids of one row, and the positions of its first and of its second text."""

    ids: list[int]
    first: slice
    second: slice


@dataclasses.dataclass(frozen=True)
class Template:
    """The special tokens that a tokenizer puts around one text or a pair.

    Attributes:
        bos_token_id: the first token of a row, or `None`.
        eos_token_id: the token after each text.
        repeats_final_eos: whether a text that ends in an eos gets another one.
        separators: how many more eos tokens stand between the texts of a pair.
        favours_first: see `kept_of_longest`.
    """

    bos_token_id: int | None
    eos_token_id: int
    repeats_final_eos: bool
    separators: int
    favours_first: bool = True

    @property
    def start(self) -> int:
        """The position of a row's first text."""
        return 0 if self.bos_token_id is None else 1

    def special_count(self, is_pair: bool) -> int:
        """The number of special tokens that a row reserves room for."""
        return self.start + (2 + self.separators if is_pair else 1)

    def shortest(self, is_pair: bool) -> int:
        """The smallest length of a row: 2, or with a pair one that holds a token of each text."""
        return self.special_count(True) + 2 if is_pair else 2

    def count(self, first: Sequence[int], second: Sequence[int] | None = None) -> int:
        """The length of a row that is not truncated."""
        if second is not None:
            return len(first) + len(second) + self.special_count(True)
        return self.start + len(first) + self._adds_eos(first)

    def row(
        self,
        first: list[int],
        second: list[int] | None = None,
        max_length: int | None = None,
        kept: Callable[[int, int, int], tuple[int, int]] | None = None,
    ) -> EncodedRow:
        """The row of one text or of a pair, cut to `max_length`; its special tokens are never cut.

        Args:
            first, second: ids of the texts.
            max_length: the most ids of the row.
            kept: counts the ids of each text of a pair that stay; `kept_tokens` by default.
        """
        if max_length is not None:
            room = max_length - self.special_count(second is not None)
            rule = kept_tokens if kept is None or second is None else kept
            first_kept, second_kept = rule(len(first), len(second or ()), room)
            first, second = first[:first_kept], second if second is None else second[:second_kept]
        ids = [] if self.bos_token_id is None else [self.bos_token_id]
        ids += first
        first_positions = slice(self.start, len(ids))
        ids += [self.eos_token_id] * self._adds_eos(first)
        if second is None:
            return EncodedRow(ids, first_positions, slice(len(ids), len(ids)))
        ids += [self.eos_token_id] * self.separators
        second_positions = slice(len(ids), len(ids) + len(second))
        ids += second
        ids += [self.eos_token_id] * self._adds_eos(second)
        return EncodedRow(ids, first_positions, second_positions)

    def _adds_eos(self, ids: Sequence[int]) -> bool:
        return self.repeats_final_eos or not ids or ids[-1] != self.eos_token_id


def kept_tokens(
    first: Any,
    second: Any,
    room: Any,
    minimum: Callable[[Any, Any], Any] = min,
    maximum: Callable[[Any, Any], Any] = max,
) -> tuple[Any, Any]:
    """How many tokens of each text of a pair are kept when `room` tokens fit.

    The second text is cut first; the first one loses only what is more than half of the room.

    Args:
        first, second: tokens of the texts, as integers or as tensors (B,); `second` is 0 for a single text.
        room: tokens that fit, of the same kind.
        minimum, maximum: of two such values.

    >>> kept_tokens(10, 100, room=50), kept_tokens(40, 100, room=50), kept_tokens(40, 20, room=50)
    ((10, 40), (25, 25), (30, 20))
    """
    first_kept = minimum(first, maximum(room - second, room // 2))
    return first_kept, minimum(second, room - first_kept)


def kept_of_longest(first: int, second: int, room: int, favours_first: bool = True) -> tuple[int, int]:
    """How many tokens of each text of a pair are kept when the longer one is cut until both fit.

    Args:
        first, second: tokens of the texts.
        room: tokens that fit.
        favours_first: whether the first text gets the extra token of an odd room, where both are cut; otherwise the
            longer text gets it.

    >>> kept_of_longest(10, 100, room=50), kept_of_longest(40, 100, room=51)
    ((10, 40), (26, 25))
    """
    if first + second <= room:
        return first, second
    more = room - room // 2
    first_gets_more = favours_first or first > second
    first_half = more if first_gets_more else room - more
    if first <= first_half:
        return first, room - first
    if second <= room - first_half:
        return room - second, second
    return first_half, room - first_half


def kept_of_first(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of each text of a pair are kept when only the first may be cut."""
    return _kept_beside(second, first, room, "only_first"), second


def kept_of_second(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of each text of a pair are kept when only the second may be cut."""
    return first, _kept_beside(first, second, room, "only_second")


def _kept_beside(whole: int, cut: int, room: int, truncation: str) -> int:
    if whole + cut > room and whole >= room:
        raise ValueError(
            f"{truncation=} must leave room for a token of the text that is cut. "
            f"Received: {whole} tokens of the other one, where {room} fit"
        )
    return min(cut, room - whole)


def fitting_length(count: int, lengths: Sequence[int]) -> int:
    """The smallest of ascending lengths that holds `count` tokens, else the largest.

    >>> fitting_length(300, (256, 1024)), fitting_length(2000, (256, 1024))
    (1024, 1024)
    """
    return next((length for length in lengths if length >= count), lengths[-1])


def pad_rows(rows: Sequence[EncodedRow], width: int, fill: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids int32 (B, width) with `fill` behind each row, and the mask int32 (B, width), 0 on padding."""
    ids: np.ndarray = np.full((len(rows), width), fill, dtype=np.int32)
    mask: np.ndarray = np.zeros((len(rows), width), dtype=np.int32)
    for index, row in enumerate(rows):
        ids[index, : len(row.ids)] = row.ids
        mask[index, : len(row.ids)] = 1
    return ids, mask


def mark_positions(
    rows: Sequence[EncodedRow], width: int, positions: Callable[[EncodedRow], Sequence[slice]]
) -> np.ndarray:
    """int32 (B, width), 1 at the given positions of each row."""
    mask: np.ndarray = np.zeros((len(rows), width), dtype=np.int32)
    for index, row in enumerate(rows):
        for position in positions(row):
            mask[index, position] = 1
    return mask
