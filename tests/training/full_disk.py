"""Proof that a full disk costs checkpoints and not the run, and at last an end in good order.

python -m tests.training.full_disk

The output is a tmpfs of 20 MB, which a file fills up after the first checkpoint. Without the right to mount one, a
limit on the size of files (RLIMIT_FSIZE) of the running process takes its place.
"""

import argparse
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.training.kill import CHECKPOINT_EVERY, check, command, write_data

DISK_MB = 20
_LEFT_BYTES = 1_000_000
_PATIENCE = 300.0
_UNSAVED = 4


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A disk of 20 MB at `folder`; False where it cannot be mounted."""
    folder.mkdir()
    arguments = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)]
    try:
        is_mounted = subprocess.run(arguments, capture_output=True, check=False).returncode == 0
    except OSError:
        is_mounted = False
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)


def fill(folder: Path) -> None:
    """Leave next to nothing of a disk."""
    size = shutil.disk_usage(folder).free - _LEFT_BYTES
    with (folder / "filler").open("wb") as stream:
        stream.write(bytes(size))


def run(arguments: list[str], output: Path, at_first_checkpoint: Callable[[int], None]) -> tuple[int, str]:
    """Run, do something when the first checkpoint after the start is whole, and return status and text."""
    with tempfile.TemporaryFile("w+") as stream:
        process = subprocess.Popen(arguments, stdout=stream, stderr=subprocess.STDOUT, env=dict(os.environ))
        first = output / "checkpoints" / f"step-{CHECKPOINT_EVERY:08d}"
        deadline = time.monotonic() + _PATIENCE
        while not first.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        if process.poll() is None:
            at_first_checkpoint(process.pid)
        status = process.wait()
        stream.seek(0)
        return status, stream.read()


def prove(model: str, folder: Path) -> str:
    """Fill the disk under a run, look at its end, free the disk, and let it go on; return the table."""
    data = write_data(folder / "data.jsonl", 2_000)
    disk = folder / "disk"
    with small_disk(disk) as is_mounted:
        output = disk / "out"
        arguments = command(model, False, data, folder, "--steps.keep", "1", "--weights.frozen", "[encoder,decoder]")
        arguments[arguments.index("--output") + 1] = str(output)

        def disturb(pid: int) -> None:
            if is_mounted:
                fill(disk)
            else:
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (_LEFT_BYTES, _LEFT_BYTES))

        status, text = run(arguments, output, disturb)
        warnings = [line for line in text.splitlines() if "could not be written" in line]
        check(status == _UNSAVED, f"the status must be {_UNSAVED}. Received: {status}\n{text[-3000:]}")
        check(len(warnings) == 4, f"there must be three warnings and an error. Received: {warnings}")
        for line in warnings:
            check(bool(re.search(r"[\d,]+ bytes are free, [\d,]+ needed", line)), f"bytes must be told: {line}")
        newest = sorted((output / "checkpoints").glob("step-*"))[-1]
        loads(newest / "model")
        if is_mounted:
            (disk / "filler").unlink()
        again = subprocess.run(arguments, capture_output=True, text=True, check=False, env=dict(os.environ))
        check(again.returncode == 0, f"the run must go on afterwards. Received: {again.stderr[-2000:]}")
        start = re.search(r"from step (\d+)", again.stdout)
        kind = f"tmpfs of {DISK_MB} MB" if is_mounted else "limit on the size of files"
    told = "\n".join(f"  {line}" for line in warnings)
    return (
        f"{model}, {kind}: status {status}, {newest.name} loads; after freeing the disk the same command goes on "
        f"from step {start.group(1) if start else '?'} to the end\n{told}"
    )


def loads(folder: Path) -> None:
    """Load a model in a process of its own, as a user would."""
    code = f"from tfmodels.auto import load_pretrained; model, _ = load_pretrained({str(folder)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    check(done.returncode == 0, f"{folder} must load. Received: {done.stderr[-1500:]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["longt5-tglobal-tiny"])
    options = parser.parse_args()
    for model in options.models:
        folder = Path(tempfile.mkdtemp(prefix="full-disk-"))
        try:
            print(prove(model, folder), flush=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
