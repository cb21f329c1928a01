"""From a name to a folder on disk."""

import os
from pathlib import Path

# Of the root only, and no weights twice: each kind is fetched where the kinds before it are missing.
_SMALL_FILES = (
    "config.json",
    "generation_config.json",
    "*.index.json",
    "*.txt",
    "*.model",
    "vocab.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
_WEIGHTS = ("model*.safetensors", "pytorch_model*.bin", "tf_model*.h5", "flax_model*.msgpack")


def local_folder(name_or_folder: str | os.PathLike[str], revision: str | None = None) -> Path:
    """The folder itself, or the local copy of a Hugging Face hub repository, fetched on first use.

    The hub's own cache and offline mode (`HF_HOME`, `HF_HUB_OFFLINE`) apply.

    Args:
        name_or_folder: A folder, or a hub id such as "allenai/led-base-16384".
        revision: Branch, tag or commit of the repository.

    Raises:
        ValueError: no such folder and no such repository, or the hub cannot be reached.
        ImportError: a hub id without the extra `hub`.

    >>> local_folder(".")
    PosixPath('.')
    """
    folder, name = Path(name_or_folder), os.fspath(name_or_folder)
    if name and folder.is_dir():
        return folder
    if folder.is_absolute() or name.startswith(".") or name.count("/") > 1 or not name:
        raise ValueError(f"name_or_folder must be a folder or a hub id. Received: {name!r}, which is no folder")
    for pattern in _WEIGHTS:
        fetched = _snapshot(name, revision, [*_SMALL_FILES, pattern])
        if any(fetched.glob(pattern)):
            break
    return fetched


def fetch_beside(name_or_folder: str | os.PathLike[str], folder: Path, pattern: str) -> None:
    """Bring further files of a repository into the folder that `local_folder` gave for it.

    Args:
        name_or_folder: What `local_folder` got. A folder holds all that there is: then nothing happens.
        folder: What `local_folder` gave.
        pattern: Which files, such as "flax_model*.msgpack"; there may be none.

    Raises:
        ValueError: the hub cannot be reached.

    >>> fetch_beside(".", Path("."), "flax_model*.msgpack")
    """
    if Path(name_or_folder) != folder:
        # The hub's cache names a folder after its commit: a branch may have moved on since.
        _snapshot(os.fspath(name_or_folder), folder.name, [pattern])


def _snapshot(name: str, revision: str | None, patterns: list[str]) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ImportError(f"{name!r} is no folder; to fetch it from the hub install tfmodels[hub]") from None
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except Exception as error:
        raise ValueError(
            f"name_or_folder must be a folder or a hub id that can be fetched. Received: {name!r} ({error})"
        ) from error
