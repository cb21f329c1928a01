"""Exports of every head, loaded by other releases of TensorFlow: do they answer as they did?

    python -m tests.compatibility .venv-2.18/bin/python .venv-2.20/bin/python

Each argument is a Python with tensorflow and tensorflow-text; `make compatibility` makes them. Prints a table, and
each fault as a line; the exit status is 1 if there is any.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

RUNTIME = Path(__file__).with_name("runtime.py")


def answers(python: str, folder: Path) -> list[dict]:
    """What one runtime found, export by export."""
    # From elsewhere and without paths: it must not see this checkout.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(Path(python).absolute()), "-P", str(RUNTIME), str(folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=variables | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise RuntimeError(f"{python}: exit code {done.returncode}\n{done.stderr.strip()[-2000:]}")
    return lines


def main(pythons: list[str]) -> int:
    if not pythons:
        print("error: name at least one Python with tensorflow and tensorflow-text", file=sys.stderr)
        return 2
    sys.path[:0] = [str(Path(__file__).parents[1] / "support")]
    from tests.compatibility.record import record

    faults = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        exports = record(folder)
        rows = {name: [] for name in exports}
        versions = []
        for python in pythons:
            found = {line["export"]: line for line in answers(python, folder)}
            versions.append(next(iter(found.values()))["tensorflow"])
            for export in exports:
                line = found.get(export, {"requests": 0, "largest": 0.0, "wrong": ["no answer"]})
                shown = f"{line['requests']} equal, {line['largest']:.0e}" if not line["wrong"] else "WRONG"
                rows[export].append(shown)
                faults += [f"{export} on TensorFlow {versions[-1]}: {fault}" for fault in line["wrong"]]
    print("| export | " + " | ".join(versions) + " |")
    print("|" + " --- |" * (len(versions) + 1))
    for export, cells in rows.items():
        print(f"| {export} | " + " | ".join(cells) + " |")
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
