"""The folder of a served model: a numbered folder for each version."""

import os
from pathlib import Path

_HIGHEST, _DIGITS = 2**63 - 1, 19


def is_version(name: str) -> bool:
    """Whether servers take a folder of this name for a version: a number of 64 bits, in ASCII.

    >>> is_version("12"), is_version("²"), is_version("٣"), is_version("9" * 20)
    (True, False, False, False)
    """
    return name.isascii() and name.isdigit() and len(name) <= _DIGITS and int(name) <= _HIGHEST


def version_folders(folder: Path) -> list[Path]:
    """The versions' folders, oldest first."""
    return sorted((child for child in folder.glob("*/") if is_version(child.name)), key=lambda child: int(child.name))


def holds_model(folder: Path) -> bool:
    """Whether a folder is a SavedModel."""
    return (folder / "saved_model.pb").is_file()


def latest_version(folder: str | os.PathLike[str]) -> Path:
    """The folder itself if it is a SavedModel, else the highest version in it.

    Raises:
        ValueError: neither.
    """
    path = Path(folder)
    if holds_model(path):
        return path
    models = [child for child in version_folders(path) if holds_model(child)]
    if not models:
        raise ValueError(f"DIR must hold a SavedModel or numbered versions of one. Received: DIR={os.fspath(folder)}")
    return models[-1]
