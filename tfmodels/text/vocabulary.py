"""Tokens to ids and back, one by one, and the files of a vocabulary in a folder."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfmodels.text.arguments import as_id_list, check_texts
from tfmodels.text.spec import TokenizerSpec
from tfmodels.utils.files import written_whole

# A description names at most so many added tokens.
_MOST_NAMED = 5


def ids_of_tokens(vocab: Mapping[str, int], tokens: Any, unknown_id: int) -> Any:
    """The id of a token, or the ids of a sequence of tokens; `unknown_id` for one that is not in the vocabulary."""
    if isinstance(tokens, str):
        return vocab.get(tokens, unknown_id)
    if isinstance(tokens, Sequence) and not tokens:
        return []
    return [vocab.get(token, unknown_id) for token in check_texts(tokens, "tokens")]


def tokens_of_ids(vocab: Mapping[str, int], ids: Any, skipped: Collection[int]) -> Any:
    """The token of an id, or the tokens of a row of ids, `skipped` ones left out. An id without a token raises."""
    names = {index: token for token, index in vocab.items()}
    values = np.asarray(ids)
    row = as_id_list(values.reshape(-1) if values.ndim == 0 else values, "ids")
    unknown = [index for index in row if index not in names]
    if unknown:
        raise ValueError(f"ids must be ids of the vocabulary. Received: {unknown[:10]}")
    return names[row[0]] if values.ndim == 0 else [names[index] for index in row if index not in skipped]


def describe(class_name: str, spec: TokenizerSpec, vocab: Mapping[str, int]) -> str:
    """A tokenizer in one line."""
    pad, eos = tokens_of_ids(vocab, [spec.pad_token_id, spec.eos_token_id], ())
    added = [token.content for token in spec.added_tokens.values() if token.content not in spec.special_tokens]
    if len(added) > _MOST_NAMED:
        added = [*added[:_MOST_NAMED], f"and {len(added) - _MOST_NAMED} more"]
    return (
        f"{class_name}(tokens={len(vocab)}, vocab_size={spec.vocab_size}, "
        f"model_max_length={spec.model_max_length}, pad_token={pad!r}, eos_token={eos!r}, "
        f"special_tokens={len(spec.special_tokens)}, added_tokens={added})"
    )


def read_folder(
    folder: Path, class_name: str, required: Sequence[str], optional: Sequence[str], substitute: str | None
) -> dict[str, bytes]:
    """Read the files of a tokenizer from its folder.

    Args:
        folder: the folder.
        class_name: the tokenizer's class, for the error message.
        required, optional: names of files.
        substitute: a file that is enough where required ones are missing.

    Returns:
        the content of the files that are there, by name.

    Raises:
        FileNotFoundError: a missing file.
    """
    names = [name for name in (*required, *optional) if Path(folder, name).is_file()]
    missing = [name for name in required if name not in names]
    if missing and substitute not in names:
        instead = f", or {substitute}," if substitute else ""
        raise FileNotFoundError(
            f"folder must hold {' and '.join(required)}{instead} for {class_name}. "
            f"Received: folder={str(folder)!r}, without {' and '.join(missing)}"
        )
    return {name: Path(folder, name).read_bytes() for name in names}


def write_folder(folder: Path, files: Mapping[str, bytes], known_names: Collection[str]) -> None:
    """Write files into a folder, created when missing, each one whole, and remove an earlier tokenizer's files.

    A file that stays could change the tokenizer: tokenizer.json is read before vocab.json.

    Args:
        folder: the folder.
        files: contents by name.
        known_names: names of all files that belong to a tokenizer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        with written_whole(folder / name) as partial:
            partial.write_bytes(content)
    for name in set(known_names) - set(files):
        (folder / name).unlink(missing_ok=True)
