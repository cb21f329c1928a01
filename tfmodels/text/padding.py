"""Rows of ids of several lengths, padded to one."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfmodels.text.arguments import as_id_rows, check_length
from tfmodels.utils.labels import IGNORED_LABEL

# Values on padding, by name; ids are padded with the padding token.
_FILLS = {
    "attention_mask": 0,
    "global_attention_mask": 0,
    "segment_mask": 0,
    "special_tokens_mask": 1,
    "labels": IGNORED_LABEL,
}


def padded_arrays(
    rows: Any, pad_token_id: int, padding: Any, max_length: Any, pad_to_multiple_of: Any
) -> dict[str, np.ndarray]:
    """The arrays of a batch, as `Tokenizer.pad` describes them."""
    columns = _columns(rows)
    unknown = sorted(set(columns) - {"input_ids", *_FILLS})
    if unknown or "input_ids" not in columns:
        raise ValueError(f"rows must hold input_ids, and may hold {sorted(_FILLS)}. Received: {sorted(columns)}")
    padding = getattr(padding, "value", padding)
    if padding not in (True, "longest", "max_length") or (padding == "max_length" and max_length is None):
        raise ValueError(
            f"padding must be True, 'longest', or 'max_length' with a max_length. Received: {padding=}, {max_length=}"
        )
    ids = as_id_rows(columns["input_ids"], "input_ids")
    if not ids:
        raise ValueError("rows must hold at least one row. Received: none")
    columns.setdefault("attention_mask", [[1] * len(row) for row in ids])
    multiple = 1 if pad_to_multiple_of is None else check_length(pad_to_multiple_of, "pad_to_multiple_of", 1)
    arrays = {}
    for name, values in columns.items():
        values = as_id_rows(values, name)
        if name != "labels" and list(map(len, values)) != list(map(len, ids)):
            raise ValueError(f"{name} must have as many values as input_ids has in each row. Received: other lengths")
        longest = max(map(len, values))
        width = check_length(max_length, "max_length", 1) if padding == "max_length" else longest
        width = -(-max(width, 1) // multiple) * multiple
        if longest > width:
            raise ValueError(f"max_length must be at least the longest row of {name}. Received: {width} for {longest}")
        fill = pad_token_id if name == "input_ids" else _FILLS[name]
        arrays[name] = np.array([[*row, *[fill] * (width - len(row))] for row in values], np.int32)
    return arrays


def _columns(rows: Any) -> dict[str, Any]:
    if isinstance(rows, Mapping):
        return dict(rows)
    if not isinstance(rows, Sequence) or not rows or not all(isinstance(row, Mapping) for row in rows):
        raise ValueError(f"rows must be a mapping of rows, or a sequence of mappings. Received: {str(rows)[:80]}")
    if any(set(row) != set(rows[0]) for row in rows):
        raise ValueError("rows must all have the same names. Received: other names")
    return {name: [row[name] for row in rows] for name in rows[0]}
