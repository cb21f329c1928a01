"""Proof that memory does not grow with the data: gigabytes of JSONL beside a run on a few rows.

python -m tests.training.large --gigabytes 3

Memory is the peak of resident memory (VmHWM) of the main process, which counts pages of memory-mapped files too, and
beside it that of the largest process that tokenizes. The limit is the main process' peak on 200 rows plus 300 MB.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOM_MB, MOST_CPU_SECONDS = 300.0, 60.0
FEW_ROWS, STEPS = 200, 20
_DOCUMENT_BYTES = 60_000
_PARAGRAPHS = 400
_SAMPLING_SECONDS = 0.1
_SYLLABLES = ["ka", "lo", "mi", "ne", "ru", "sta", "ti", "vo", "an", "er", "is", "on"]


@dataclass
class Measured:
    """One start of the program.

    Attributes:
        lines: what it printed.
        peak_mb: peak of resident memory of the main process.
        worker_mb: the same of the largest other process.
        seconds: time from start to end.
        cpu_to_step: seconds of CPU, of all its processes, until the line of its first step.
    """

    lines: list[str]
    peak_mb: float = 0.0
    worker_mb: float = 0.0
    seconds: float = 0.0
    cpu_to_step: float = 0.0


def rows(count: int) -> Iterator[str]:
    """Lines of JSON, each with a document of 60 kB."""
    draw = random.Random(7)
    words = ["".join(draw.choices(_SYLLABLES, k=draw.randint(1, 4))) for _ in range(3000)]
    paragraphs = [" ".join(draw.choices(words, k=110)) for _ in range(_PARAGRAPHS)]
    per_document = _DOCUMENT_BYTES // (sum(map(len, paragraphs)) // _PARAGRAPHS)
    for number in range(count):
        chosen = draw.choices(paragraphs, k=per_document)
        row = {"document": f"{number}. " + "\n".join(chosen), "summary": f"{number} {chosen[0][:80]}"}
        yield json.dumps(row) + "\n"


def write_data(path: Path, count: int) -> Path:
    """A file of so many rows."""
    with path.open("w", encoding="utf-8") as stream:
        stream.writelines(rows(count))
    return path


def command(data: Path, output: Path, cache: Path, steps: int) -> list[str]:
    """A run of some steps of a small model, without XLA."""
    settings = {
        "model": "longt5-tglobal-tiny",
        "data.train": str(data),
        "data.cache": str(cache),
        "lengths.source": "[1024,2048]",
        "lengths.target": "32",
        "lengths.batch_tokens": "2048",
        "weights.vocab_size": "1000",
        "weights.jit": "false",
        "steps.max_steps": str(steps),
        "evaluation.loss_rows": "4",
        "evaluation.rouge_rows": "0",
        "evaluation.test_rows": "2",
        "output": str(output),
    }
    flags = [text for name, value in settings.items() for text in (f"--{name}", value)]
    return [sys.executable, "-m", "training", *flags]


def measured(arguments: list[str]) -> Measured:
    """Run the program, and look at its processes all the time."""
    result, begin = Measured([]), time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as printed:
        process = subprocess.Popen(arguments, stdout=printed, stderr=subprocess.STDOUT, env=dict(os.environ))
        while process.poll() is None:
            time.sleep(_SAMPLING_SECONDS)
            result.peak_mb = max(result.peak_mb, _peak_mb(process.pid))
            for worker in _children(process.pid):
                result.worker_mb = max(result.worker_mb, _peak_mb(worker))
            if not result.cpu_to_step and "\nstep " in _text(printed):
                result.cpu_to_step = _cpu_seconds(process.pid)
        result.lines = _text(printed).splitlines()
    result.seconds = time.monotonic() - begin
    if process.returncode:
        raise SystemExit("FAILED: the program must end with 0\n" + "\n".join(result.lines[-20:]))
    return result


def _text(stream: object) -> str:
    descriptor = stream.fileno()  # type: ignore[attr-defined]
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode("utf-8", "replace")


def _peak_mb(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(lines[0].split()[1]) * 1024 / 1e6 if lines else 0.0


def _children(pid: int) -> list[int]:
    try:
        paths = list(Path(f"/proc/{pid}/task").glob("*/children"))
        return [int(child) for path in paths for child in path.read_text().split()]
    except OSError:
        return []


def _cpu_seconds(pid: int) -> float:
    """Of the process and its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def prove(gigabytes: float, folder: Path) -> str:
    """Run on few rows and on many; return the table."""
    few = write_data(folder / "few.jsonl", FEW_ROWS)
    many = write_data(folder / "many.jsonl", max(FEW_ROWS, int(gigabytes * 1e9 / _DOCUMENT_BYTES)))
    cache = folder / "cache"
    empty = measured(command(few, folder / "few", cache, STEPS))
    first = measured(command(many, folder / "many", cache, STEPS))
    second = measured(command(many, folder / "many", cache, STEPS + 1))
    told = next(line for line in second.lines if line.startswith("rows:"))
    table = [
        f"{'run':<28}{'GB':>6}{'peak MB':>9}{'worker MB':>11}{'seconds':>9}{'CPU s to its step 1':>21}",
        _line(f"few rows, {STEPS} steps", few, empty),
        _line(f"many rows, {STEPS} steps", many, first),
        _line("many rows, second start", many, second),
        f"limit {empty.peak_mb + ROOM_MB:,.0f} MB; the second start said: {told}",
    ]
    problems = []
    for name, peak in (("first start", first.peak_mb), ("second start", second.peak_mb)):
        if peak > empty.peak_mb + ROOM_MB:
            problems.append(f"the {name} must stay below the limit. Received: {peak:,.0f} MB")
    if "; 0 tokenized now" not in told:
        problems.append(f"the second start must tokenize nothing. Received: {told}")
    if not 0 < second.cpu_to_step < MOST_CPU_SECONDS:
        problems.append(f"step 1 must come within {MOST_CPU_SECONDS:.0f} s of CPU. Received: {second.cpu_to_step:.0f}")
    text = "\n".join(table)
    if problems:
        raise SystemExit(f"{text}\nFAILED: " + "\n".join(problems))
    return text


def _line(name: str, data: Path, run: Measured) -> str:
    size = data.stat().st_size / 1e9
    return (
        f"{name:<28}{size:>6.2f}{run.peak_mb:>9,.0f}{run.worker_mb:>11,.0f}{run.seconds:>9,.0f}{run.cpu_to_step:>21.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=3.0, help="size of the data (default: 3)")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="large-", dir=options.folder))
    try:
        print(prove(options.gigabytes, folder), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
