"""Signals that end a run in good order: noticed everywhere, answered at the next safe point."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGUSR1: 143}


class Stopped(BaseException):
    """A signal asks the run to end. Like `KeyboardInterrupt` no `except Exception` catches it.

    Attributes:
        status: the exit status.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"stopped with status {status}")
        self.status = status


class Stop:
    """Whether a signal has come.

    Python runs a handler between two of its own instructions, which a compilation may delay by minutes. So a thread
    notices the signal as well: it ends the process when no safe point comes in time. Whatever was saved is whole, and
    the same command repeats the steps since.

    Attributes:
        has_interrupted: whether a signal has ended an interruptible scope, by whatever exception came of it.

    Args:
        grace_seconds: time for a safe point after the first signal. The second signal ends the process at once.
        goes_on: the command that goes on, told when the process ends without a safe point.
    """

    def __init__(self, grace_seconds: float = 15.0, goes_on: str = "") -> None:
        self.grace_seconds = grace_seconds
        self.goes_on = goes_on
        self._status: int | None = None
        self._answered = threading.Event()
        self._is_interruptible = False
        self.has_interrupted = False

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """A scope that a signal ends between any two instructions of Python, as in the tracing of a program.

        For work that is repeated from the last checkpoint, or that changes nothing which a checkpoint holds. Whoever
        catches `Stopped` and then needs time says so by `answer`.
        """
        self._is_interruptible = True
        try:
            self.poll()
            yield
        except Exception:
            if self.has_interrupted:  # Keras makes other errors of an interruption
                self.poll()
            raise
        finally:
            self._is_interruptible = False

    def answer(self) -> None:
        """The signal is noticed: no thread ends the process any more."""
        self._answered.set()

    def poll(self) -> None:
        """Raise `Stopped` if a signal has come: a safe point."""
        if self._status is not None:
            self._answered.set()
            raise Stopped(self._status)

    @contextmanager
    def watching(self) -> Iterator["Stop"]:
        """A scope in which signals are noticed; only the main thread of a process can open it."""
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        handlers = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        earlier = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        thread = threading.Thread(target=self._watch, args=(reader,), daemon=True, name="stop")
        thread.start()
        try:
            yield self
        finally:
            signal.set_wakeup_fd(earlier)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            self._answered.set()
            writer.close()
            thread.join()
            reader.close()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._note(number)
        if self._is_interruptible:
            self._is_interruptible = False  # once: a clean-up is not to be interrupted
            self.has_interrupted = True
            raise Stopped(self._status or 1)

    def _note(self, number: int) -> None:
        if self._status is None:
            self._status = _SIGNALS[signal.Signals(number)]

    def _watch(self, reader: socket.socket) -> None:
        """Read the numbers of signals, which arrive here even while the main thread is inside a compiled program."""
        seen = 0
        while True:
            if seen and not self._answered.is_set():
                reader.settimeout(self.grace_seconds)
            try:
                received = reader.recv(16)
            except TimeoutError:
                if not self._answered.is_set():
                    self._leave("no safe point came in time: the steps since the last checkpoint will be repeated")
                reader.settimeout(None)
                continue
            if not received:
                return
            for number in received:
                if number in list(_SIGNALS):
                    seen += 1
                    self._note(number)
                    if seen == 1:
                        _say("stopping at the next safe point; a second signal stops at once")
            if seen > 1:
                self._leave("stopped at once")

    def _leave(self, reason: str) -> None:
        _say(f"{reason}; this goes on:\n  {self.goes_on}" if self.goes_on else reason)
        # No clean-up: the main thread is inside a program that cannot be interrupted.
        os._exit(self._status or 1)


def is_main_thread() -> bool:
    """Whether signals can be watched from here."""
    return threading.current_thread() is threading.main_thread()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
