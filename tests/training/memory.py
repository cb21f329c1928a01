"""Proof that evaluation needs less memory than training: peaks of a run without and with both kinds of evaluation, and
of `evaluate` by itself.

python -m tests.training.memory --length 16384
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

# A run that evaluates holds two further compiled programs.
_TOLERANCE = 1.05
_ROWS = 24
_WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"]


def write_data(folder: Path, words: int) -> None:
    """Files for training, validation and test, of documents that fill the length."""
    for part in ("train", "validation", "test"):
        with (folder / f"{part}.jsonl").open("w", encoding="utf-8") as stream:
            for number in range(_ROWS):
                document = " ".join(_WORDS[(number + place) % 8] for place in range(words)) + f" {part} {number}"
                stream.write(json.dumps({"document": document, "summary": document[:60]}) + "\n")


def peak_of_run(folder: Path, model: str, length: int, evaluates: bool) -> float:
    """Peak resident memory of a run in MB."""
    rows = {"evaluation.rouge_rows": "4" if evaluates else "0", "evaluation.test_rows": "4" if evaluates else "1"}
    settings = {
        "model": model,
        "data.train": folder / "train.jsonl",
        "data.cache": folder / "cache",
        "data.hold_out": "0",
        "lengths.source": f"[{length}]",
        "lengths.target": "64",
        "lengths.batch_tokens": length,
        "weights.vocab_size": "300",
        "steps.max_steps": "4",
        "steps.evaluate_every": "2",
        "output": output_of(folder, evaluates),
        **rows,
    }
    if evaluates:
        settings |= {"data.validation": folder / "validation.jsonl", "data.test": folder / "test.jsonl"}
    return peak_of([str(text) for name, value in settings.items() for text in (f"--{name}", value)])


def output_of(folder: Path, evaluates: bool) -> Path:
    """The folder of a run."""
    return folder / ("with" if evaluates else "without")


def peak_of(arguments: list[str]) -> float:
    """Peak resident memory of the training program in MB, as the operating system counts it."""
    program = (
        "import resource, sys; from training.program import main; status = main(sys.argv[1:]); "
        "print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(status)"
    )
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise SystemExit(f"FAILED: the program must end with 0. Received: {done.returncode}\n{done.stderr[-1000:]}")
    return int(done.stdout.rsplit("PEAK ", 1)[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=16384, help="tokens of a document (default: 16384)")
    parser.add_argument("--model", default="longt5-tglobal-tiny")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder, options.length)
        without = peak_of_run(folder, options.model, options.length, evaluates=False)
        with_both = peak_of_run(folder, options.model, options.length, evaluates=True)
        run = output_of(folder, evaluates=True)
        alone = peak_of(["evaluate", str(run), "--data", str(folder / "test.jsonl")])
    print(
        f"{options.model}, {options.length:,} tokens: training {without:,.0f} MB, with evaluation {with_both:,.0f} MB, "
        f"evaluation by itself {alone:,.0f} MB"
    )
    if with_both > _TOLERANCE * without or alone > without:
        raise SystemExit("FAILED: evaluation must stay below training's peak")


if __name__ == "__main__":
    main()
