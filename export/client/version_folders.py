"""The folder of a served model: a numbered folder for each version."""

import os
from pathlib import Path


def version_folders(folder: Path) -> list[Path]:
    """The versions' folders, oldest first."""
    return sorted((child for child in folder.glob("*/") if child.name.isdigit()), key=lambda child: int(child.name))


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
