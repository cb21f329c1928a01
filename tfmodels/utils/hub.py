"""Folders on disk for names on the Hugging Face hub."""

import os
import re
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


_SCHEME = "hf://"
# One part of a branch's or tag's name, as git has them; a part such as ".." would lead out of the cache.
_REVISION_PART = re.compile(r"[^\x00-\x20\x7f~^:?*\[\\.][^\x00-\x20\x7f~^:?*\[\\]*")
_CACHED = "models--"
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
        name_or_folder: a folder, a name of `packaged_models`, or a hub id such as "allenai/led-base-16384". "hf://"
            before an id says that it is one, whatever folders there are; "hf://OWNER/NAME@REVISION" names a revision.
        revision: branch, tag or commit of the repository.

    Raises:
        ValueError: a name of no folder and no repository, two revisions or none that there can be, or an unreachable
            hub.
        ImportError: a hub id without the extra `hub`.

    >>> local_folder(".")
    PosixPath('.')
    """
    hub_id, named_revision = _repository(name_or_folder)
    if hub_id is None:
        packaged = packaged_models().get(os.fspath(name_or_folder))
        return Path(name_or_folder) if packaged is None else packaged
    if None not in (revision, named_revision) and revision != named_revision:
        raise ValueError(f"revision must be that of the name. Received: {revision=}, {os.fspath(name_or_folder)!r}")
    revision = named_revision if revision is None else revision
    if revision is not None and not all(map(_REVISION_PART.fullmatch, revision.split("/"))):
        raise ValueError(f"revision must be a branch, tag or commit. Received: {revision=}")
    for pattern in _WEIGHTS:
        fetched = _snapshot(hub_id, revision, [*_SMALL_FILES, pattern])
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
    hub_id, _ = _repository(name_or_folder)
    if hub_id is not None:
        # The hub's cache names a folder after its commit: a branch may have moved on since.
        _snapshot(hub_id, folder.name, [pattern])


def hub_id_of(name_or_folder: str | os.PathLike[str]) -> str | None:
    """The hub id "OWNER/NAME" of a name or of a folder of the hub's cache; None for other folders and packaged models.

    Raises:
        ValueError: a name that is neither.

    >>> hub_id_of("hf://allenai/led-base-16384@main"), hub_id_of(".")
    ('allenai/led-base-16384', None)
    """
    snapshots = Path(name_or_folder).parent
    cached = snapshots.parent.name
    if snapshots.name == "snapshots" and cached.startswith(_CACHED):
        return cached.removeprefix(_CACHED).replace("--", "/")
    return _repository(name_or_folder)[0]


def _repository(name_or_folder: str | os.PathLike[str]) -> tuple[str | None, str | None]:
    """Hub id and revision of a name; None for both of a folder or a packaged model."""
    folder, name = Path(name_or_folder), os.fspath(name_or_folder)
    revision = None
    is_named = name.startswith(_SCHEME)
    if is_named:
        name, at, revision = name.removeprefix(_SCHEME).partition("@")
        if not name or (at and not revision):
            raise ValueError(f"name_or_folder must be {_SCHEME}OWNER/NAME[@REVISION]. Received: {name_or_folder!r}")
    elif (name and folder.is_dir()) or name in packaged_models():
        return None, None
    if folder.is_absolute() or name.startswith(".") or name.count("/") > 1 or not name:
        raise ValueError(f"name_or_folder must be a folder or a hub id. Received: {name!r}, which is no folder")
    return name, revision or None


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
