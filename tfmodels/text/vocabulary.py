"""Tokens to ids and back, one by one, and the files of a vocabulary in a folder."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfmodels.text.arguments import as_id_list, check_texts
from tfmodels.utils.files import written_whole

if TYPE_CHECKING:
    from tfmodels.text.tokenizer import Tokenizer

# As many added tokens as a description names.
_SHOWN = 5


def ids_of_tokens(vocab: Mapping[str, int], tokens: Any, unknown_id: int) -> Any:
    """The id of a token, or the ids of a sequence of them; of one that there is not, `unknown_id`."""
    if isinstance(tokens, str):
        return vocab.get(tokens, unknown_id)
    if isinstance(tokens, Sequence) and not tokens:
        return []
    return [vocab.get(token, unknown_id) for token in check_texts(tokens, "tokens")]


def tokens_of_ids(vocab: Mapping[str, int], ids: Any, skipped: Collection[int]) -> Any:
    """The token of an id, or the tokens of one row of ids without those of `skipped`, else raise a `ValueError`."""
    names = {index: token for token, index in vocab.items()}
    values = np.asarray(ids)
    row = as_id_list(values.reshape(-1) if values.ndim == 0 else values, "ids")
    unknown = [index for index in row if index not in names]
    if unknown:
        raise ValueError(f"ids must be ids of the vocabulary. Received: {unknown[:10]}")
    return names[row[0]] if values.ndim == 0 else [names[index] for index in row if index not in skipped]


def described(tokenizer: Tokenizer) -> str:
    """A tokenizer in one line."""
    pad, eos = (tokenizer.convert_ids_to_tokens(index) for index in (tokenizer.pad_token_id, tokenizer.eos_token_id))
    added = [
        token.content for token in tokenizer.added_tokens.values() if token.content not in tokenizer.special_tokens
    ]
    shown = added if len(added) <= _SHOWN else [*added[:_SHOWN], f"and {len(added) - _SHOWN} more"]
    return (
        f"{type(tokenizer).__name__}(tokens={len(tokenizer)}, vocab_size={tokenizer.vocab_size}, "
        f"model_max_length={tokenizer.model_max_length}, pad_token={pad!r}, eos_token={eos!r}, "
        f"special_tokens={len(tokenizer.special_tokens)}, added_tokens={shown})"
    )


def files_in(folder: Path, kind: type[Tokenizer]) -> dict[str, bytes]:
    """The content of the files that a kind of tokenizer reads, by name, else raise a `FileNotFoundError`."""
    names = [name for name in (*kind.file_names, *kind.further_file_names) if Path(folder, name).is_file()]
    missing = [name for name in kind.file_names if name not in names]
    if missing and kind.substitute_file_name not in names:
        instead = f", or {kind.substitute_file_name}," if kind.substitute_file_name else ""
        raise FileNotFoundError(
            f"folder must hold {' and '.join(kind.file_names)}{instead} for {kind.__name__}. "
            f"Received: folder={str(folder)!r}, without {' and '.join(missing)}"
        )
    return {name: Path(folder, name).read_bytes() for name in names}


def write_to(folder: Path, files: Mapping[str, bytes], kind: type[Tokenizer]) -> None:
    """Write files into a folder, created when missing, each one whole; those of a former tokenizer are taken away.

    Which of them say what the tokenizer is, is decided by what is there: tokenizer.json comes before vocab.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        with written_whole(folder / name) as partial:
            partial.write_bytes(content)
    for name in {*kind.file_names, *kind.further_file_names} - set(files):
        (folder / name).unlink(missing_ok=True)
