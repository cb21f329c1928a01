"""Checkpoints that are whole or absent, verified by checksum, the newest whole one found again."""

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfmodels.utils.files import nearest_existing, read_json_object, sync_folder, write_json, written_whole

MANIFEST = "MANIFEST.json"
_NAME = re.compile(r"step-(\d{8})")
_CHUNK = 2**20
_LAST_FAILURE = 4


class SavingFailed(RuntimeError):
    """Several checkpoints in a row could not be written."""


class Checkpoints:
    """The checkpoints `step-N` of a run.

    Each is written beside its final name, brought to the disk, and then renamed; only then older ones are removed. A
    checkpoint that cannot be written costs a warning; the fourth in a row ends the run.

    Args:
        folder: the folder of the checkpoints.
        keep: newest checkpoints that are kept, besides the best.
    """

    def __init__(self, folder: str | os.PathLike[str], keep: int = 2) -> None:
        self.folder = Path(folder)
        self.keep = keep
        self.failures = 0
        self._bytes = 0

    def path(self, step: int) -> Path:
        """The folder of a step's checkpoint."""
        return self.folder / f"step-{step:08d}"

    def steps(self) -> list[int]:
        """The steps with a checkpoint, ascending; checked or not."""
        names = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
        return sorted(int(match.group(1)) for name in names if (match := _NAME.fullmatch(name)))

    def save(self, step: int, write: Callable[[Path], None], best_step: int | None = None) -> bool:
        """Write the checkpoint of a step, and return whether it was written.

        Args:
            step: the number of steps made.
            write: writes the files into a new folder.
            best_step: the step whose checkpoint is kept whatever comes.

        Raises:
            SavingFailed: the fourth failure in a row.
        """
        self._forget_partial()
        if self.path(step).exists():
            return True
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with written_whole(self.path(step)) as partial:
                partial.mkdir()
                write(partial)
                self._bytes = write_manifest(partial)
            sync_folder(self.folder)
        except OSError as error:
            self._count_failure(step, error)
            return False
        self.failures = 0
        self._remove_old({step, best_step})
        return True

    def newest_whole(self) -> int | None:
        """The step of the newest checkpoint whose files are as its manifest says, or None.

        Broken ones get another name, so that they are neither loaded nor counted.

        Warns:
            UserWarning: a broken checkpoint.
        """
        self._forget_partial()
        for step in reversed(self.steps()):
            problem = find_damage(self.path(step))
            if problem is None:
                return step
            warnings.warn(f"{self.path(step)} is left out: {problem}", stacklevel=2)
            os.replace(self.path(step), self.folder / f"damaged-{step:08d}-{os.getpid()}")
        return None

    def _remove_old(self, kept: set[int | None]) -> None:
        for step in self.steps()[: -self.keep]:
            if step not in kept:
                shutil.rmtree(self.path(step), ignore_errors=True)

    def _forget_partial(self) -> None:
        """Remove the remains of a killed process."""
        for path in self.folder.glob(".partial-*") if self.folder.is_dir() else ():
            shutil.rmtree(path, ignore_errors=True)

    def _count_failure(self, step: int, error: OSError) -> None:
        self.failures += 1
        message = f"the checkpoint of step {step} could not be written: {error}; {self._space()}"
        if self.failures >= _LAST_FAILURE:
            raise SavingFailed(f"{message}. This is the {self.failures}th in a row, and the run ends") from None
        warnings.warn(f"{message}. Training goes on", stacklevel=3)

    def _space(self) -> str:
        needed = f"{self._bytes:,}" if self._bytes else "an unknown number of"
        return f"{free_bytes(self.folder):,} bytes are free, {needed} needed"


def free_bytes(folder: Path) -> int:
    """Free bytes of the disk that holds a folder, which need not exist yet."""
    return shutil.disk_usage(nearest_existing(folder)).free


def check_space(folder: Path, checkpoint_bytes: int, count: int) -> None:
    """Raise `OSError` unless `count` checkpoints fit onto the disk."""
    needed, free = checkpoint_bytes * count, free_bytes(folder)
    if free < needed:
        raise OSError(
            f"output must have room for {count} checkpoints, {needed:,} bytes. "
            f"Received: output={folder} with {free:,} bytes free"
        )


def write_manifest(folder: Path) -> int:
    """Write the sizes and checksums of a folder's files, bring all to the disk, and return the bytes in all."""
    files: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            files[path.relative_to(folder).as_posix()] = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
    write_json(folder / MANIFEST, {"files": files})
    for path in [*folder.rglob("*"), folder]:
        sync_folder(path)
    return sum(entry["bytes"] for entry in files.values())


def find_damage(folder: Path) -> str | None:
    """What differs between a folder and its manifest, or None."""
    try:
        files = read_json_object(folder / MANIFEST)["files"]
        for name, entry in files.items():
            path = folder / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != entry["bytes"]:
                return f"{name} has {path.stat().st_size:,} bytes instead of {entry['bytes']:,}"
            if sha256_of(path) != entry["sha256"]:
                return f"{name} is damaged"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        return f"its manifest cannot be read ({error})"
    return None


def sha256_of(path: Path) -> str:
    """The checksum of a file, read in parts."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while part := stream.read(_CHUNK):
            digest.update(part)
    return digest.hexdigest()
