"""`python -m export verify DIR`: whether exports are as they were written and signed; nothing of them is loaded.

python -m export verify served/summaries --public-key key.pub
python -m export verify served/summaries/3
python -m export verify served/summaries --all --public-key key.pub
"""

import argparse
from pathlib import Path

from export.client.quiet import import_tensorflow_quietly
from export.client.untrusted import printable
from export.client.verification import add_trust_arguments, trust_of, verifier, verify
from export.client.version_folders import latest_version, version_folders


def main(arguments: list[str]) -> int:
    """Verify one version or all; return 0 if they are as written, else 1.

    Args:
        arguments: the command line's arguments behind `verify`.

    Raises:
        ValueError: no SavedModel in the folder, or a file that holds no public key.
        ImportError: a signature, and model-signing is not installed.
    """
    parser = argparse.ArgumentParser("python -m export verify", description="Hold exports to hashes and signatures.")
    parser.add_argument("directory", metavar="DIR", help="a version's folder, or the folder of its versions")
    parser.add_argument("--all", action="store_true", help="every version in the folder (default: the highest)")
    add_trust_arguments(parser)
    options = parser.parse_args(arguments)
    folders = version_folders(Path(options.directory)) if options.all else [latest_version(options.directory)]
    if not folders:
        raise ValueError(f"DIR must hold numbered versions. Received: DIR={options.directory}")
    # The protos are in its package.
    import_tensorflow_quietly()
    trust = trust_of(options)
    if trust.public_key is not None:
        verifier(trust.public_key)  # a wrong key is no fault of any version
    wrong = 0
    for folder in folders:
        try:
            verify(folder, trust)
        except ValueError as error:
            wrong += 1
            print(f"WRONG: {printable(str(error))}")
        else:
            signed = "as signed" if trust.public_key else "as written; NO SIGNATURE was asked for (--public-key)"
            print(f"{folder}: {signed}")
    return 1 if wrong else 0
