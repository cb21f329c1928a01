"""Holding an export to its manifest, its ops and its signature, before anything of it is loaded."""

import argparse
import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.client.arguments import names
from export.client.graph_file import wrong_graph
from export.client.integrity import SIGNATURE, wrong_files
from export.client.manifest_file import FILE_NAME as MANIFEST
from export.client.manifest_file import read_manifest
from export.client.untrusted import bounded_bytes

# Of a signature, which lists the files' hashes.
_MOST_BYTES = 64 << 20


@dataclass(frozen=True)
class Trust:
    """What an export must prove before it is loaded.

    Attributes:
        public_key: a file with the public key of whoever signed it; None: no signature is asked for.
        allow_ops: ops that its graph may hold besides `ALLOWED_OPS`.
        unverified: load an export without hashes, as earlier releases wrote them; those with hashes are verified all
            the same.
    """

    public_key: Path | None = None
    allow_ops: tuple[str, ...] = ()
    unverified: bool = False


def verify(folder: Path, trust: Trust | None = None) -> None:
    """Check the files, the graph and with a key the signature of a version; nothing of it is loaded or run.

    Without a signature this finds damage, and graphs that do more than ours; whoever can rewrite the manifest can give
    it the hashes of other weights.

    Args:
        folder: the version's folder.
        trust: what it must prove.

    Raises:
        ValueError: an export that is not as it was written or signed, or has no hashes, with all reasons.
        ImportError: a signature, and model-signing is not installed.
    """
    trust = trust or Trust()
    if trust.unverified and not has_hashes(folder):
        if trust.public_key is not None:
            raise ValueError("--public-key and --unverified exclude each other for an export without hashes")
        print(f"warning: {folder} is loaded UNVERIFIED: it has no hashes", file=sys.stderr)
        return
    manifest = read_manifest(folder)
    if "files" not in manifest:
        raise ValueError(
            f"DIR must hold an export with hashes. Received: {folder}, whose {MANIFEST} has none, as of earlier "
            "releases. Export it again, or load it as it is by --unverified (in Python: Trust(unverified=True))"
        )
    failures = wrong_files(folder, manifest)
    # One at a time: what comes later reads what came before.
    failures = failures or wrong_graph(folder, trust.allow_ops)
    if not failures and trust.public_key is not None:
        failures = wrong_signature(folder, trust.public_key)
    if failures:
        raise ValueError(f"DIR must hold an export as it was written. Received: {folder}: {'; '.join(failures)}")


def has_hashes(folder: Path) -> bool:
    """Whether a version claims to have hashes; a manifest that cannot be read claims it too."""
    if not (folder / MANIFEST).exists():
        return False
    try:
        return "files" in read_manifest(folder)
    except ValueError:
        return True


def wrong_signature(folder: Path, public_key: Path) -> list[str]:
    """Why a version is not what the owner of a key has signed; [] if it is."""
    hashing, _, _ = import_model_signing()
    signature = folder / SIGNATURE
    config = verifier(public_key)
    if not signature.is_file():
        return [f"{SIGNATURE} is missing: it is not signed"]
    try:
        bounded_bytes(signature, _MOST_BYTES)
        config.set_hashing_config(hashed_files(hashing)).verify(folder, signature)
    # A parser of hostile bytes: whatever it raises, nothing is proved.
    except Exception as error:
        reason = str(error) or type(error).__name__
        return [f"{SIGNATURE} is not a signature of these files by that key ({reason:.200})"]
    return []


def verifier(public_key: Path) -> Any:
    """What verifies signatures by the owner of a key.

    Raises:
        ValueError: a file that holds no such key.
        FileNotFoundError: no file.
        ImportError: model-signing is not installed.
    """
    _, _, verifying = import_model_signing()
    with reading_key("--public-key", public_key):
        return verifying.Config().use_elliptic_key_verifier(public_key=public_key)


@contextlib.contextmanager
def reading_key(option: str, path: Path) -> Iterator[None]:
    """A scope in which the library reads a key; its errors, of any kind, name the option that gave it."""
    if not path.is_file():
        raise FileNotFoundError(f"{option} must be a file. Received: {path}")
    try:
        yield
    except Exception as error:
        rule = f"{option} must be a key of the curve P-256, P-384 or P-521 in PEM, without a password"
        raise ValueError(f"{rule}. Received: {path} ({error!s:.200})") from None


def import_model_signing() -> tuple:
    """The modules `hashing`, `signing` and `verifying` of OpenSSF model signing.

    Raises:
        ImportError: it is not installed.
    """
    try:
        from model_signing import hashing, signing, verifying
    except ImportError as error:
        raise ImportError(f"signatures need model-signing: pip install 'tfmodels[sign]' ({error})") from None
    return hashing, signing, verifying


def hashed_files(hashing: Any) -> Any:
    """The files that a signature covers: all but itself. The library's default leaves those of git out."""
    return hashing.Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)


def add_trust_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `Trust`."""
    group = parser.add_argument_group("verification, before anything is loaded")
    group.add_argument("--public-key", type=Path, metavar="FILE", help="ask for a signature by the owner of this key")
    group.add_argument("--allow-ops", type=names, default=(), metavar="OPS", help="with commas, besides our exports'")
    group.add_argument("--unverified", action="store_true", help="load an export of earlier releases, without hashes")


def trust_of(options: argparse.Namespace) -> Trust:
    """The options of `add_trust_arguments`."""
    return Trust(options.public_key, options.allow_ops, options.unverified)
