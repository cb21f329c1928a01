"""Folders on disk for names on the Hugging Face hub."""

import os
from pathlib import Path

# Files of the repository's root. Each kind of weights is fetched only if the kinds before it are missing.
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


_PACKAGED = Path(__file__).parent.parent / "pretrained"


def packaged_models() -> dict[str, Path]:
    """The folders of the small trained models that come with the package, by name; each has a model card.

    >>> "longt5-python" in packaged_models()
    True
    """
    return {path.parent.name: path.parent for path in sorted(_PACKAGED.glob("*/config.json"))}


def local_folder(name_or_folder: str | os.PathLike[str], revision: str | None = None) -> Path:
    """The folder itself, or of a packaged model, or the local copy of a hub repository, fetched on first use.

    The hub's own cache and offline mode (`HF_HOME`, `HF_HUB_OFFLINE`) apply.

    Args:
        name_or_folder: a folder, a name of `packaged_models`, or a hub id such as "allenai/led-base-16384".
        revision: branch, tag or commit of the repository.

    Raises:
        ValueError: a name of no folder and no repository, or an unreachable hub.
        ImportError: a hub id without the extra `hub`.

    >>> local_folder(".")
    PosixPath('.')
    """
    folder, name = Path(name_or_folder), os.fspath(name_or_folder)
    if name and folder.is_dir():
        return folder
    packaged = packaged_models().get(name)
    if packaged is not None:
        return packaged
    if folder.is_absolute() or name.startswith(".") or name.count("/") > 1 or not name:
        raise ValueError(f"name_or_folder must be a folder or a hub id. Received: {name!r}, which is no folder")
    for pattern in _WEIGHTS:
        fetched = _snapshot(name, revision, [*_SMALL_FILES, pattern])
        if any(fetched.glob(pattern)):
            break
    return fetched


def fetch_beside(name_or_folder: str | os.PathLike[str], folder: Path, pattern: str) -> None:
    """Fetch further files of a repository into the folder that `local_folder` returned for it.

    Args:
        name_or_folder: the argument of `local_folder`. A folder is complete: for one nothing happens.
        folder: the result of `local_folder`.
        pattern: a glob pattern of files, such as "flax_model*.msgpack"; it may match none.

    Raises:
        ValueError: an unreachable hub.

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
