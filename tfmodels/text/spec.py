"""The facts of a tokenizer that batches, masks and the graph need: ids, special tokens and the template of a row."""

import dataclasses
from collections.abc import Mapping, Sequence

from tfmodels.text.added_tokens import AddedToken
from tfmodels.text.template import Template


@dataclasses.dataclass(frozen=True)
class TokenizerSpec:
    """The facts of a tokenizer, without its vocabulary and its algorithm.

    Attributes:
        vocab_size: the highest id plus one.
        pad_token_id, eos_token_id, unk_token_id: ids of special tokens.
        special_tokens: ids of all special tokens, by content.
        added_tokens: tokens that are found in a text before it is cut into pieces, by id.
        skipped_ids: ids that decoding leaves out with `skip_special_tokens`.
        template: the special tokens around a text or a pair.
        marks_global_token: whether batches hold a `global_attention_mask`.
        model_max_length: the most tokens that the checkpoint's model is made for; `None` for any number.
        cleans_up_spaces: whether decoding takes out spaces before punctuation and English contractions.
    """

    vocab_size: int
    pad_token_id: int
    eos_token_id: int
    unk_token_id: int
    special_tokens: Mapping[str, int]
    added_tokens: Mapping[int, AddedToken]
    skipped_ids: Sequence[int]
    template: Template
    marks_global_token: bool
    model_max_length: int | None
    cleans_up_spaces: bool
