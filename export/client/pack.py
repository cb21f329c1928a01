"""`python -m export pack`: a version as one archive, for services that take a model as a file.

python -m export pack served/summaries --output model.tar.gz

The archive holds NAME/VERSION/, as SageMaker's image of TensorFlow Serving expects. The same version gives the same
bytes.
"""

import argparse
import gzip
import os
import tarfile
from pathlib import Path

from export.client.verification import Trust, add_trust_arguments, trust_of, verify
from export.client.version_folders import latest_version


def main(arguments: list[str]) -> int:
    """Run the program; return its exit status.

    Args:
        arguments: the command line's arguments behind `pack`.

    Raises:
        ValueError: no version in the folder, or one that is not as it was written or signed.
        OSError: the output exists or cannot be written.
    """
    parser = argparse.ArgumentParser("python -m export pack", description="Write a version as one archive.")
    parser.add_argument("directory", metavar="DIR", help="a version's folder, or the folder of its versions")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="ends with .tar.gz")
    add_trust_arguments(parser)
    options = parser.parse_args(arguments)
    pack(latest_version(options.directory), options.output, trust_of(options))
    return 0


def pack(version: Path, output: Path, trust: Trust | None = None) -> None:
    """Write a version's folder into an archive, whole or not at all.

    Args:
        version: the folder.
        output: the archive, a new file whose name ends with ".tar.gz".
        trust: what the version must prove first.

    Raises:
        ValueError: another ending, or a version that is not as it was written or signed.
        OSError: the output exists or cannot be written.
    """
    if not output.name.endswith(".tar.gz"):
        raise ValueError(f"output must end with .tar.gz. Received: output={output}")
    if output.exists():
        raise FileExistsError(f"output must not exist. Received: output={output}")
    verify(version, trust)
    version = version.resolve()
    beside = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        # Weights hardly get smaller: the fastest level. Without a time and a name of its own in the header.
        with (
            beside.open("xb") as file,
            gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as packed,
            # A second name of a file is a file, too.
            tarfile.open(fileobj=packed, mode="w", dereference=True) as archive,
        ):
            for path in sorted(path for path in version.rglob("*") if path.is_file()):
                archive.add(path, str(Path(version.parent.name, path.relative_to(version.parent))), filter=_plain)
        os.rename(beside, output)
    finally:
        beside.unlink(missing_ok=True)


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """The entry without what differs from machine to machine."""
    entry.mtime, entry.mode = 0, 0o644
    entry.uid, entry.gid, entry.uname, entry.gname = 0, 0, "", ""
    return entry
