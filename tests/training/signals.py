"""Proof that a signal loses nothing: stop one run at many moments, start it again, and compare it with a whole one.

python -m tests.training.signals

A moment is known by what the program has written: shards in the cache (tokenizing), the line before the first step
(compiling), the log's newest step (step; evaluation, when its validation is not there yet), the line before the test
documents (generation).
"""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.training.kill import STEPS, check, command, final_digests, is_tokenizing, losses, write_data
from training.reporting.log import read_metrics

MOST_SECONDS = 20.0
_ROWS = 60_000
_PATIENCE = 300.0
_EVALUATED_STEP = 16
_BETWEEN_SIGNALS = 0.2


@dataclass(frozen=True)
class Moment:
    """When a run gets which signals, and how it must end.

    Attributes:
        name: the moment, see `is_now`.
        signals: what is sent, one after another.
        status: the exit status.
    """

    name: str
    signals: tuple[signal.Signals, ...] = (signal.SIGTERM,)
    status: int = 143

    def __str__(self) -> str:
        names = {signal.SIGTERM: "TERM", signal.SIGINT: "INT", signal.SIGUSR1: "USR1"}
        return f"{self.name}, {' and '.join(names[each] for each in self.signals)}"


MOMENTS = (
    Moment("tokenizing"),
    Moment("first compile"),
    Moment("first compile", (signal.SIGTERM, signal.SIGTERM)),
    Moment("step"),
    Moment("step", (signal.SIGINT,), 130),
    Moment("evaluation"),
    Moment("step", (signal.SIGUSR1,)),
    Moment("generation"),
)


def is_now(name: str, folder: Path, printed: Callable[[], str], since: int) -> bool:
    """Whether a run is at a moment.

    Args:
        name: the moment.
        folder: holds its output and cache.
        printed: what this start has printed.
        since: the steps in the log when it started.
    """
    if name == "tokenizing":
        return is_tokenizing(folder)
    if name == "first compile":
        return "compiling the first step" in printed() and "\nstep " not in printed()
    if name == "generation":
        return "writing summaries" in printed() and not (folder / "out" / "predictions.jsonl").exists()
    lines = read_metrics(folder / "out") if (folder / "out" / "metrics.jsonl").exists() else []
    newest = lines[-1]["step"] if lines else 0
    if name == "evaluation":
        return newest == _EVALUATED_STEP and lines[-1]["kind"] == "train"
    return newest >= since + 3 and newest % _EVALUATED_STEP != 0 and "\nstep " in printed()


def stopped(arguments: list[str], folder: Path, moment: Moment) -> str:
    """Start a run, stop it at a moment, check how it ends, and return a line of the table."""
    log = folder / "printed.txt"
    log.write_text("")
    out = folder / "out"
    since = max([line["step"] for line in read_metrics(out)], default=0) if (out / "metrics.jsonl").exists() else 0
    with log.open("w") as stream:
        process = subprocess.Popen(arguments, stdout=stream, stderr=subprocess.STDOUT, env=dict(os.environ))
    deadline = time.monotonic() + _PATIENCE
    while not is_now(moment.name, folder, log.read_text, since):
        check(process.poll() is None, f"the run must reach {moment}. Received:\n{log.read_text()[-2000:]}")
        check(time.monotonic() < deadline, f"the run must reach {moment} within {_PATIENCE:.0f} s")
        time.sleep(0.002)
    time.sleep(0.3 if moment.name in ("first compile", "generation") else 0.0)
    begin = time.monotonic()
    for number in moment.signals:
        process.send_signal(number)
        time.sleep(_BETWEEN_SIGNALS if len(moment.signals) > 1 else 0.0)
    status, seconds = process.wait(), time.monotonic() - begin
    # A second signal may come when the first has already ended everything but the process: a shell calls both 143.
    is_killed, status = status < 0, 128 - status if status < 0 else status
    text = log.read_text()
    check(status == moment.status, f"{moment}: the status must be {moment.status}. Received: {status}\n{text[-2000:]}")
    check(seconds < MOST_SECONDS, f"{moment}: the end must come within {MOST_SECONDS:.0f} s. Received: {seconds:.1f}")
    is_told = "this goes on:\n  python -m training " in text
    check(is_told or is_killed, f"{moment}: the command that goes on must be told. Received: {text[-800:]}")
    check(not is_killed or len(moment.signals) > 1, f"{moment}: the program must end by itself")
    is_at_once = "stopped at once" in text or is_killed
    how = "at once" if is_at_once else "after the grace" if "no safe point" in text else "safe point"
    return f"{moment!s:<34}{status:>7}{seconds:>9.1f}  {how}"


def goes_on(folder: Path) -> list[str]:
    """The command that the last start named."""
    _, mark, rest = (folder / "printed.txt").read_text().rpartition("this goes on:\n  ")
    return shlex.split(rest.splitlines()[0])[3:] if mark else []


def prove(model: str, jit: bool, folder: Path) -> str:
    """Stop a run at all moments, and compare its end with that of a whole one; return the table."""
    data = write_data(folder / "data.jsonl", _ROWS)
    whole, parts = folder / "whole", folder / "parts"
    for each in (whole, parts):
        each.mkdir()
    further = ["--data.hold_out", "0.002", "--evaluation.test_rows", "60", "--generation", "{num_beams: 2}"]
    with (whole / "printed.txt").open("w") as stream:
        arguments = command(model, jit, data, whole, *further)
        status = subprocess.call(arguments, stdout=stream, stderr=subprocess.STDOUT, env=dict(os.environ))
    check(status == 0, f"the whole run must end with 0. Received: {(whole / 'printed.txt').read_text()[-2000:]}")
    arguments = command(model, jit, data, parts, *further)
    table = [f"{f'{model}, XLA ' + ('on' if jit else 'off'):<34}{'status':>7}{'seconds':>9}  how"]
    for moment in MOMENTS:
        line = stopped(arguments, parts, moment)
        table.append(line)
        arguments = [*arguments[:3], *(goes_on(parts) or arguments[3:])]
    last = subprocess.run(arguments, capture_output=True, text=True, check=False, env=dict(os.environ))
    check(last.returncode == 0, f"the last start must end with 0. Received: {last.stderr[-2000:]}")
    check(losses(parts / "out") == losses(whole / "out"), "the losses of all steps must be equal, each step once")
    steps = [(line["kind"], line["step"]) for line in read_metrics(parts / "out")]
    check(len(set(steps)) == len(steps), f"no event must stand in the log twice. Received: {steps}")
    digests = final_digests(parts / "out")
    check(digests == final_digests(whole / "out"), "the files must be equal")
    predictions = [(each / "out" / "predictions.jsonl").read_text() for each in (parts, whole)]
    check(predictions[0] == predictions[1], "the predictions must be equal")
    weights = next(iter(digests.values()))[:16]
    return "\n".join([*table, f"{STEPS} steps, each once; weights {weights} = {weights}, predictions equal"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["longt5-tglobal-tiny", "led-tiny"])
    parser.add_argument("--jit", nargs="+", choices=("on", "off"), default=["on"])
    options = parser.parse_args()
    for model in options.models:
        for jit in options.jit:
            folder = Path(tempfile.mkdtemp(prefix="signals-"))
            try:
                print(prove(model, jit == "on", folder), flush=True)
            finally:
                shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
