"""From a name to a folder on disk."""

import os
from pathlib import Path

# Of the root only, and no weights twice: `*.bin` is fetched where there is no safetensors file.
_SMALL_FILES = ("config.json", "generation_config.json", "*.index.json", "*.txt", "*.model", "vocab.json")
_WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")


def local_folder(name_or_folder: str | os.PathLike[str], revision: str | None = None) -> Path:
    """The folder itself, or the local copy of a Hugging Face hub repository, fetched on first use.

    The hub's own cache and offline mode (`HF_HOME`, `HF_HUB_OFFLINE`) apply.

    Raises:
        ValueError: no such folder and no such repository, or the hub cannot be reached.
        ImportError: a hub id without the extra `hub`.
    """
    folder, name = Path(name_or_folder), os.fspath(name_or_folder)
    if name and folder.is_dir():
        return folder
    if folder.is_absolute() or name.startswith(".") or name.count("/") > 1 or not name:
        raise ValueError(f"name_or_folder must be a folder or a hub id. Received: {name!r}, which is no folder")
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ImportError(f"{name!r} is no folder; to fetch it from the hub install tfmodels[hub]") from None
    try:
        for pattern in _WEIGHTS:
            fetched = Path(snapshot_download(name, revision=revision, allow_patterns=[*_SMALL_FILES, pattern]))
            if any(fetched.glob(pattern)):
                break
        return fetched
    except Exception as error:
        raise ValueError(
            f"name_or_folder must be a folder or a hub id that can be fetched. Received: {name!r} ({error})"
        ) from error
