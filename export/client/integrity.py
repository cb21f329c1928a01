"""The files of an export: names that it may hold, and their SHA-256; needs the standard library alone."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from export.client.manifest_file import FILE_NAME as MANIFEST
from export.client.untrusted import printable
from export.client.version_folders import is_version

SIGNATURE = "model.sig"
"""The file of the signature, which covers all others, the manifest among them."""

_NAMES = re.compile(
    r"saved_model\.pb|README\.md|model\.cdx\.json|batching_params\.pbtxt|"
    r"variables/variables\.(index|data-[0-9]{5}-of-[0-9]{5})|assets\.extra/tf_serving_warmup_requests"
)
_FOLDERS = ("assets", "assets.extra", "variables")


def digests_below(folder: Path) -> dict[str, str]:
    """SHA-256 by name of all files of an export but the manifest and the signature, which cannot be in the manifest.

    Raises:
        ValueError: a file that an export does not hold, a link, or a special file.
    """
    names, failures = _names_below(folder)
    if failures:
        raise ValueError(f"folder must hold the files of an export alone. Received: {'; '.join(failures)}")
    return {name: digest(folder / name) for name in names}


def wrong_files(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """What in a version's folder is other than its manifest says.

    Names come first, and nothing is read where they are wrong: a name such as "../secret" is never opened.
    """
    files = manifest["files"]
    names, failures = _names_below(folder)
    failures += [
        f"{name!r} in the manifest is no name of an export's file" for name in files if not _NAMES.fullmatch(name)
    ]
    failures += [f"{name} is not in the manifest" for name in names if name not in files]
    failures += [f"{name} is missing" for name in files if name not in names and _NAMES.fullmatch(name)]
    number = manifest.get("version")
    # A link or "." may name the folder, but no link that is itself a number, which servers take for the version's.
    if {folder.resolve().name, *filter(is_version, [folder.name])} != {str(number)}:
        failures.append(f"the folder must be named {number}, as the version in the manifest. It is {folder.name}")
    return failures or [
        f"{name} has another SHA-256 than in the manifest" for name in names if digest(folder / name) != files[name]
    ]


def digest(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _names_below(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the hashed files, sorted, and what should not be there."""
    names, failures = [], []
    for name, kind in sorted(_entries(folder, "")):
        if (kind == "folder" and name in _FOLDERS) or (kind == "file" and name in (MANIFEST, SIGNATURE)):
            continue
        if kind == "file" and _NAMES.fullmatch(name):
            names.append(name)
        else:
            failures.append(f"{printable(name)} is {'no file of an export' if kind == 'file' else f'a {kind}'}")
    return names, failures


def _entries(folder: Path, prefix: str) -> Iterator[tuple[str, str]]:
    """(name, kind) of everything below a folder; links are not followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                yield prefix + entry.name, "symbolic link"
            elif entry.is_dir(follow_symlinks=False):
                yield prefix + entry.name, "folder"
                # Below another folder there is nothing to look for: it is wrong as it is.
                if prefix + entry.name in _FOLDERS:
                    yield from _entries(folder / entry.name, f"{entry.name}/")
            else:
                yield prefix + entry.name, "file" if entry.is_file(follow_symlinks=False) else "special file"
