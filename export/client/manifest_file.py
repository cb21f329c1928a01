"""Reading `manifest.json` of an export, every type of it checked; needs the standard library alone."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from export.client.untrusted import bounded_bytes

FILE_NAME = "manifest.json"

_DIGEST = re.compile(r"[0-9a-f]{64}")
# A thousand times as many as an export has.
_MOST_BYTES = 64 << 20


def read_manifest(folder: Path) -> Mapping[str, Any]:
    """The manifest of a version.

    Raises:
        ValueError: no manifest, no JSON, a key that stands twice, or a field of another type than an export writes.
    """
    path = folder / FILE_NAME
    try:
        text = bounded_bytes(path, _MOST_BYTES).decode("utf-8")
        manifest = json.loads(text, object_pairs_hook=_unique, parse_constant=_refused)
        _check_types(manifest)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"DIR must hold the manifest.json of an export. Received: {path} ({error!r:.120})") from None
    return manifest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, in which other readers find what this one finds."""
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key stands twice")
    return values


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _check_types(manifest: Any) -> None:
    described = manifest["signatures"].values()
    if not all(isinstance(one[side], Mapping) for one in described for side in ("inputs", "outputs")):
        raise TypeError("inputs and outputs are objects")
    if not all(isinstance(op, str) for op in manifest["ops"]) or isinstance(manifest["ops"], str):
        raise TypeError("ops is a list of names")
    flags = manifest.get("server_flags", [])
    if not isinstance(flags, list) or not all(isinstance(flag, str) for flag in flags):
        raise TypeError("server_flags is a list of flags")
    if "version" in manifest and (type(manifest["version"]) is not int or manifest["version"] < 0):
        raise TypeError("version is a number")
    digests = manifest.get("files", {})
    if not isinstance(digests, dict) or not all(
        isinstance(one, str) and _DIGEST.fullmatch(one) for one in digests.values()
    ):
        raise TypeError("files holds the SHA-256 of each file, in hexadecimal digits")
