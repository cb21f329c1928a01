"""Proof of exact resume: kill a run at random moments, start it again, and compare it with one that was never stopped.

python -m tests.training.kill --times 10
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

STEPS, CHECKPOINT_EVERY = 48, 5
_ROWS = 12_000
_WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu"]
_PATIENCE = 300.0


def write_data(path: Path, rows: int = _ROWS) -> Path:
    """Documents of 5 to 60 words with the first words as summaries."""
    draw = random.Random(1)
    with path.open("w", encoding="utf-8") as stream:
        for number in range(rows):
            words = [draw.choice(_WORDS) for _ in range(draw.randint(5, 60))]
            document, summary = f"{' '.join(words)} {number}", f"about {' '.join(words[:4])}"
            stream.write(json.dumps({"document": document, "summary": summary}) + "\n")
    return path


def command(model: str, jit: bool, data: Path, folder: Path, *further: str) -> list[str]:
    """A run of some dozens of steps over two lengths, with dropout."""
    settings = {
        "model": model,
        "data.train": str(data),
        "data.cache": str(folder / "cache"),
        "data.hold_out": "0.01",
        "lengths.source": "[32,128]",
        "lengths.target": "16",
        "lengths.batch_tokens": "512",
        "weights.vocab_size": "300",
        "weights.dropout": "0.1",
        "weights.jit": str(jit).lower(),
        "optim.warmup": "10",
        "steps.max_steps": str(STEPS),
        "steps.evaluate_every": "16",
        "steps.checkpoint_every": str(CHECKPOINT_EVERY),
        "evaluation.rouge_rows": "4",
        "evaluation.loss_rows": "20",
        "evaluation.test_rows": "4",
        "output": str(folder / "out"),
    }
    flags = [text for name, value in settings.items() for text in (f"--{name}", value)]
    return [sys.executable, "-m", "training", *flags, *further]


def final_digests(output: Path) -> dict[str, str]:
    """Checksums of the last weights, of all other variables, and of the best model."""
    last = output / "checkpoints" / f"step-{STEPS:08d}"
    files = (last / "model" / "model.safetensors", last / "trainer.safetensors", output / "model" / "model.safetensors")
    return {str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def losses(output: Path) -> list[tuple[int, float]]:
    """Step and loss of every step in the log, in its order."""
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"]) for line in lines if line["kind"] == "train"]


def is_saving(folder: Path) -> bool:
    """Whether a checkpoint is being written."""
    return any((folder / "out" / "checkpoints").glob(".partial-*"))


def is_tokenizing(folder: Path) -> bool:
    """Whether rows are being tokenized."""
    return any(folder.glob("cache/*.building/shards/*"))


def kill_when(process: "subprocess.Popen[str]", moment: Callable[[], bool]) -> bool:
    """Kill a process at a moment; return False if it ended before."""
    deadline = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        if moment():
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.0005)
    process.wait()
    return False


def checkpoints_of(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted((folder / "out" / "checkpoints").glob("step-*"))


def is_finished(folder: Path) -> bool:
    """Whether a run has written that it is over."""
    path = folder / "out" / "run.json"
    return path.is_file() and json.loads(path.read_text())["status"] == "finished"


def moment_of(kind: str, folder: Path, seconds: float) -> Callable[[], bool]:
    """Whether the moment to kill has come; `seconds` from now for a random one."""
    if kind == "tokenizing":
        return lambda: is_tokenizing(folder)
    if kind == "saving":
        return lambda: is_saving(folder)
    end = time.monotonic() + seconds
    if kind == "late":
        # With a checkpoint to fall back to, and before the last step.
        return lambda: len(checkpoints_of(folder)) >= 2 and not checkpoints_of(folder)[-1].name.endswith(f"{STEPS:08d}")
    return lambda: time.monotonic() >= end


def killed_run(model: str, jit: bool, data: Path, folder: Path, times: int, seconds: float) -> list[str]:
    """Run to the end through `times` kills; return the kinds of moments that were hit.

    After the last kill a byte of the newest checkpoint is flipped: the run falls back to the one before.
    """
    draw = random.Random(f"{model}{jit}")
    kinds = ["tokenizing", *["saving"] * 3, *["random"] * (times - 5), "late"]
    hit: list[str] = []
    while kinds:
        process = start(command(model, jit, data, folder))
        is_hit = kill_when(process, moment_of(kinds[0], folder, draw.uniform(0.0, seconds)))
        if is_hit and not is_finished(folder):
            hit.append(kinds.pop(0))
            continue
        check(is_hit or process.returncode == 0, f"a start must end with 0. Received: {process.returncode}")
        # A run that is over before its moment begins anew, with the moments that are left.
        shutil.rmtree(folder / "out")
    flip_byte(checkpoints_of(folder)[-1] / "trainer.safetensors")
    done = subprocess.run(command(model, jit, data, folder), capture_output=True, text=True, check=False)
    check(done.returncode == 0, f"the last start must end with 0. Received: {done.returncode}\n{done.stderr[-500:]}")
    check("is left out: trainer.safetensors is damaged" in done.stderr, "a damaged checkpoint must be told")
    return hit


def flip_byte(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def start(arguments: list[str]) -> "subprocess.Popen[str]":
    """A run in a process of its own, quiet but for its errors."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=sys.stderr, text=True, env=environment)


def check(condition: bool, message: str) -> None:
    """Raise `SystemExit` unless the condition holds."""
    if not condition:
        raise SystemExit(f"FAILED: {message}")


def prove(model: str, jit: bool, times: int, folder: Path) -> str:
    """Compare a killed run with a whole one; return a line of the table."""
    data = write_data(folder / "data.jsonl")
    whole, killed = folder / "whole", folder / "killed"
    begin = time.monotonic()
    process = start(command(model, jit, data, whole))
    check(process.wait() == 0, "the whole run must end with 0")
    seconds = time.monotonic() - begin
    hit = killed_run(model, jit, data, killed, times, seconds)
    expected, received = losses(whole / "out"), losses(killed / "out")
    steps = [step for step, _ in received]
    check(received == expected, "the losses of all steps must be equal")
    check(steps == list(range(1, STEPS + 1)), f"every step must stand in the log once. Received: {steps}")
    digests = final_digests(whole / "out")
    check(final_digests(killed / "out") == digests, "the files must be equal")
    name = f"{model}, XLA {'on' if jit else 'off'}"
    kinds = ", ".join(f"{hit.count(kind)} {kind}" for kind in dict.fromkeys(hit))
    return (
        f"{name}: {len(hit)} kills ({kinds}), then a flipped byte; {STEPS} steps, skipped 0, repeated 0; "
        f"weights {digests[next(iter(digests))][:16]} = {digests[next(iter(digests))][:16]}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=10, help="kills of each run, at least 5 (default: 10)")
    parser.add_argument("--models", nargs="+", default=["led-tiny", "longt5-tglobal-tiny"])
    parser.add_argument("--jit", nargs="+", choices=("on", "off"), default=["on", "off"])
    options = parser.parse_args()
    for model in options.models:
        for jit in options.jit:
            folder = Path(tempfile.mkdtemp(prefix="kill-"))
            try:
                print(prove(model, jit == "on", options.times, folder), flush=True)
            finally:
                shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
