"""The figures of a run on disk: JSON lines for programs, and TensorBoard's events."""

import io
import json
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from export.client.strict_json import dumped, finite
from tfmodels.utils.files import written_whole

JSON_NAME = "metrics.jsonl"
TENSORBOARD_NAME = "tensorboard"


class MetricsLog:
    """Append figures to `metrics.jsonl` and to TensorBoard's events; each line is on disk when `write` returns.

    A resumed run goes on in the same file: lines of later steps than the resumed one, and a last line that a killed
    process wrote in part, are cut first. TensorBoard is told to forget the same steps. A full disk costs lines and one
    warning, not the run.

    Args:
        folder: the folder of the run, created when missing.
        resumed_step: the last step whose figures stay; 0 for a new run.
        warn: takes the text of the warning.
        has_events: write TensorBoard's events, too.

    Raises:
        ValueError: a negative step.

    >>> import tempfile
    >>> log = MetricsLog(tempfile.mkdtemp())
    >>> log.write("train", 1, {"loss": 2.5})
    >>> log.close()
    >>> [line["loss"] for line in read_metrics(log.folder)]
    [2.5]
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        resumed_step: int = 0,
        warn: Callable[[str], None] | None = None,
        has_events: bool = True,
    ) -> None:
        if resumed_step < 0:
            raise ValueError(f"resumed_step must be at least 0. Received: resumed_step={resumed_step}")
        self.folder = Path(folder)
        self._warn = warn or (lambda text: warnings.warn(text, stacklevel=4))
        self._has_warned = False
        self._lines: _Appends | None = None
        self._events: _Appends | None = None
        self._held: set[str] = set()
        self._resumed_step = resumed_step
        self._do(self._open_lines, resumed_step)
        if has_events:
            self._do(self._open_events, resumed_step)

    def write(self, kind: str, step: int, figures: Mapping[str, Any]) -> None:
        """Append the figures of one event; nothing is raised when that fails.

        What an earlier process wrote of the resumed step stands: a run that was killed after an evaluation, and before
        the next checkpoint, makes the same evaluation again.

        Args:
            kind: what they are of, such as "train" or "validation": the first part of TensorBoard's tags.
            step: the steps that were done.
            figures: numbers by name, such as "loss" and "learning_rate"; NaN and infinities are null in JSON. Other
                values that JSON has are in the lines alone.
        """
        if step == self._resumed_step and kind in self._held:
            return
        plain = {name: _plain(value) for name, value in figures.items()}
        line = {"kind": kind, "step": int(step), "time": round(time.time(), 3), **plain}
        scalars = {f"{kind}/{name}": float(x) for name, x in plain.items() if isinstance(x, (int, float))}
        self._do(self._append_line, line)
        self._do(self._append_event, int(step), scalars)

    def close(self) -> None:
        """Close the files."""
        for file in (self._lines, self._events):
            if file is not None:
                self._do(file.close)

    def _do(self, action: Callable[..., None], *arguments: Any) -> None:
        try:
            action(*arguments)
        except (OSError, ImportError) as error:
            if not self._has_warned:
                self._has_warned = True
                self._warn(f"some figures cannot be written to {self.folder}, and the run goes on: {error}")

    def _open_lines(self, resumed_step: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / JSON_NAME
        if path.exists():
            kept = _cut(path, resumed_step)
            self._held = {str(values.get("kind")) for values in kept if values["step"] == resumed_step}
        self._lines = _Appends(path)

    def _open_events(self, resumed_step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        folder = self.folder / TENSORBOARD_NAME
        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads the files in the order of their names, which begin with the second.
        seconds = [int(path.name.split(".")[3]) for path in folder.glob("events.out.tfevents.[0-9]*")]
        second = max([int(time.time()), *(each + 1 for each in seconds)])
        name = f"events.out.tfevents.{second:010d}.{socket.gethostname()}.{os.getpid()}.0"
        self._events = _Appends(folder / name)
        self._append_record(Event(wall_time=time.time(), file_version="brain.Event:2"))
        # It forgets the events from the step of a START on.
        start = SessionLog(status=SessionLog.START)
        self._append_record(Event(wall_time=time.time(), step=resumed_step + 1, session_log=start))

    def _append_line(self, line: dict[str, Any]) -> None:
        if self._lines is not None:
            self._lines.append((dumped(finite(line)) + "\n").encode())

    def _append_event(self, step: int, scalars: dict[str, float]) -> None:
        if self._events is None or not scalars:
            return
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        self._append_record(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def _append_record(self, event: Any) -> None:
        # Not its writer of files, whose thread a full disk can bring to a standstill.
        from tensorboard.summary.writer.record_writer import RecordWriter

        record = io.BytesIO()
        RecordWriter(record).write(event.SerializeToString())
        if self._events is not None:
            self._events.append(record.getvalue())


def read_metrics(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The lines of a run's `metrics.jsonl`, of a running one too: a half-written last line is left out.

    Raises:
        OSError: an unreadable file.
    """
    return [values for _, values in _lines((Path(folder) / JSON_NAME).read_bytes())]


def _cut(path: Path, step: int) -> list[dict[str, Any]]:
    """Keep the whole lines up to a step, and return what they hold."""
    old = path.read_bytes()
    kept = [(line, values) for line, values in _lines(old) if values["step"] <= step]
    new = b"".join(line for line, _ in kept)
    if new != old:
        _replace(path, old, new)
    return [values for _, values in kept]


def _replace(path: Path, old: bytes, new: bytes) -> None:
    try:
        with written_whole(path) as partial:
            partial.write_bytes(new)
    except OSError:
        if not old.startswith(new):
            raise
        os.truncate(path, len(new))  # a full disk has room for less


def _lines(content: bytes) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """The whole lines and what they hold; others are left out."""
    for line in content.splitlines(keepends=True):
        try:
            values = json.loads(line)
        except ValueError:
            continue
        if line.endswith(b"\n") and isinstance(values, dict) and isinstance(values.get("step"), int):
            yield line, values


def _plain(value: Any) -> Any:
    """A Python number for a number of another kind, such as NumPy's."""
    if value is None or isinstance(value, (bool, int, float, str, list, tuple, dict)):
        return value
    return float(value)


class _Appends:
    """A file to which bytes are appended whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.file = open(path, "ab", buffering=0)  # noqa: SIM115

    def append(self, content: bytes) -> None:
        """Append.

        Raises:
            OSError: the bytes could not be written; the file is as before.
        """
        size = os.fstat(self.file.fileno()).st_size
        try:
            written = self.file.write(content)
            if written != len(content):
                raise OSError(f"{written} of {len(content)} bytes were written to {self.file.name}: is the disk full?")
        except OSError:
            self.file.truncate(size)
            raise

    def close(self) -> None:
        """Close the file."""
        self.file.close()
