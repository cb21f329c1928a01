"""`python -m export sign DIR`: sign a version with a private key, by OpenSSF model signing; no network is needed.

openssl ecparam -name prime256v1 -genkey -noout -out key.pem
openssl ec -in key.pem -pubout -out key.pub
python -m export sign served/summaries --private-key key.pem
"""

import argparse
import os
import shlex
from pathlib import Path

from export.client.integrity import SIGNATURE
from export.client.quiet import import_tensorflow_quietly
from export.client.verification import Trust, hashed_files, import_model_signing, reading_key, verify
from export.client.version_folders import latest_version


def main(arguments: list[str]) -> int:
    """Write `model.sig` into a version's folder; return the exit status.

    Args:
        arguments: the command line's arguments behind `sign`.

    Raises:
        ValueError: a version that is not as it was written, or a key that cannot sign.
        FileNotFoundError: no key.
        ImportError: model-signing is not installed.
    """
    parser = argparse.ArgumentParser("python -m export sign", description="Sign a version, all of its files.")
    parser.add_argument("directory", metavar="DIR", help="a version's folder, or the folder of its versions")
    parser.add_argument("--private-key", type=Path, required=True, metavar="FILE", help="of an elliptic curve, PEM")
    options = parser.parse_args(arguments)
    folder = latest_version(options.directory)
    import_tensorflow_quietly()
    sign(folder, options.private_key)
    print(f"wrote {folder / SIGNATURE}")
    print(f"verify it: python -m export verify {shlex.quote(options.directory)} --public-key FILE")
    return 0


def sign(folder: Path, private_key: Path) -> None:
    """Sign a version that is as it was written; errors as in `main`."""
    hashing, signing, _ = import_model_signing()
    with reading_key("--private-key", private_key):
        config = signing.Config().use_elliptic_key_signer(private_key=private_key)
    verify(folder, Trust())
    # Beside the folder, whose files are hashed meanwhile.
    partial = folder.resolve().with_name(f".partial-{os.getpid()}-{SIGNATURE}")
    try:
        config.set_hashing_config(hashed_files(hashing)).sign(folder, partial)
        os.replace(partial, folder / SIGNATURE)
    finally:
        partial.unlink(missing_ok=True)
