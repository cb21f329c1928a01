"""Compares models of the public checkpoints' sizes with transformers 4.57, in every format that it writes.

`make parity-full`, or with a part alone `make parity-full PARITY="--only led --lengths 4096"`. transformers runs in an
environment of its own, since its TensorFlow and Flax code needs other libraries; every step is a process of its own, so
that memory holds one model at a time (up to 24 GB at 16,384 tokens). Weights are compared bit by bit in all formats,
logits and hidden states in one. A difference counts relative to the root mean square of what transformers computes,
where that is more than 1.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SUPPORT = ROOT / "tests" / "support"
sys.path.insert(0, str(SUPPORT))

from full_models import MODELS, SIZES, formats  # noqa: E402 - found by the line above

LIMIT = 1e-4
MEMORY = 24 * 10**9


class Failed(Exception):
    """A step that ended with an error, which was printed."""


class Comparison:
    """Steps of one model, and the lines of the table that they give."""

    def __init__(self, model, size, folder, writers):
        self.model, self.size, self.folder, self.writers = model, size, folder, writers
        self.lines = []
        self.failed = False
        self.peak = 0

    def step(self, side, task, *arguments):
        """Run one step on one side and return its result."""
        program, python = {
            "theirs": ("full_reference.py", self.writers),
            "ours": ("full_ours.py", sys.executable),
        }[side]
        command = [python, SUPPORT / program, task, self.model, self.size, self.folder, *arguments]
        start = time.monotonic()
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=ROOT)
        label = " ".join(map(str, [self.model, side, task, *arguments]))
        if done.returncode:
            # Only then: TensorFlow and Flax are loud when all is well.
            print(f"{done.stderr}\n{label}: failed", flush=True)
            raise Failed(label)
        result = json.loads(done.stdout.splitlines()[-1])
        self.peak = max(self.peak, result["peak"])
        print(f"{label}: {time.monotonic() - start:.0f} s, {result['peak'] / 1e9:.1f} GB", flush=True)
        return result

    def note(self, name, length, what, passed):
        """Add a line to the table."""
        self.failed |= not passed
        self.lines.append((self.model, name, length, what, "ok" if passed else "FAILED"))

    def note_difference(self, name, length, measured):
        relative = measured["difference"] / measured["scale"]
        what = f"{relative:.1e}" + (f" (scale {measured['scale']:.1f})" if measured["scale"] > 1 else "")
        self.note(name, length, what, measured["finite"] and relative <= LIMIT)

    def weights(self, wanted):
        """Every format gives the weights that transformers wrote, bit by bit."""
        for name in formats(self.model):
            try:
                found = self.step("ours", "digests", name)["digests"]
            except Failed:
                self.note(name, "-", "not loaded", False)
                continue
            unequal = [key for key, value in found.items() if wanted.get(key) != value]
            self.note(name, "-", f"{len(unequal)} of {len(found)} tensors differ", not unequal)

    def run(self, lengths):
        """All steps."""
        wanted = self.step("theirs", "write")["digests"]
        self.step("theirs", "convert")
        self.weights(wanted)
        for length in lengths:
            effective, seen = self.step("theirs", "reference", length)["keys"]
            print(f"{self.model}: attention of {seen:.0f} keys is as if of {effective:.1f}", flush=True)
            found = self.step("ours", "outputs", length)
            self.note_difference("logits", length, found["logits"])
            self.note_difference("hidden states", length, found["hidden"])
        self.step("ours", "save")
        again = self.step("theirs", "reload", lengths[0])
        unequal = [key for key, value in again["digests"].items() if wanted.get(key) != value]
        self.note("saved, in transformers", "-", f"{len(unequal)} of {len(wanted)} tensors differ", not unequal)
        self.note_difference("saved, logits", lengths[0], again["logits"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=MODELS, default=MODELS, help="models to compare")
    parser.add_argument("--lengths", nargs="+", type=int, default=[4096, 16384], help="source lengths in tokens")
    parser.add_argument("--size", choices=SIZES, default="base", help="tiny: a check of the program itself")
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "parity", help="folder for some 9 GB of files")
    parser.add_argument("--writers", default=str(ROOT / ".venv-writers" / "bin" / "python"), help="its Python")
    arguments = parser.parse_args()
    compared = []
    for model in arguments.only:
        folder = arguments.work.resolve() / model
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        comparison = Comparison(model, arguments.size, folder, arguments.writers)
        compared.append(comparison)
        try:
            comparison.run(arguments.lengths)
        except Failed as error:
            comparison.note(str(error), "-", "ended with an error", False)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        comparison.note("highest memory", "-", f"{comparison.peak / 1e9:.1f} GB", comparison.peak < MEMORY)
    lines = [("model", "format or output", "length", "largest difference", "")]
    lines += [line for comparison in compared for line in comparison.lines]
    widths = [max(len(str(line[column])) for line in lines) for column in range(5)]
    print()
    for line in lines:
        print("  ".join(str(cell).ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    sys.exit(any(comparison.failed for comparison in compared))


if __name__ == "__main__":
    main()
