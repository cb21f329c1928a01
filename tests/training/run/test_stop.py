"""A signal is answered at the next safe point, or by the process' end when none comes."""

import os
import signal
import subprocess
import sys
import time

import pytest

from training.run.stop import Stop, Stopped

WATCHING = """
import ctypes, os, signal, sys, time
from training.run.stop import Stop, Stopped
stop = Stop({grace}, "python -m training resume out")
try:
    with stop.watching():
        print("ready", flush=True)
        {body}
except Stopped as stopped:
    print("stopped", flush=True)
    sys.exit(stopped.status)
"""
# The main thread is inside of C, and no handler of Python can run, as in a compilation; a signal ends one poll(2).
BLOCKED = "for _ in range(9): ctypes.CDLL(None).poll(None, 0, 20_000)"


def started(body, grace=0.3):
    process = subprocess.Popen(
        [sys.executable, "-c", WATCHING.format(grace=grace, body=body)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def ended(process, *signals):
    begin = time.monotonic()
    for number in signals:
        process.send_signal(number)
        time.sleep(0.1)
    printed, errors = process.communicate(timeout=10)
    return process.returncode, printed + errors, time.monotonic() - begin


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 143), (signal.SIGINT, 130)])
def test_each_signal_is_answered_at_the_next_safe_point(number, status):
    stop = Stop()
    with stop.watching():
        stop.poll()
        os.kill(os.getpid(), number)
        with pytest.raises(Stopped) as raised:
            stop.poll()
    assert raised.value.status == status


def test_no_except_exception_swallows_a_stop():
    assert not issubclass(Stopped, Exception)


def test_the_handlers_of_before_are_back_afterwards():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]
    with Stop().watching():
        assert signal.getsignal(signal.SIGTERM) not in before
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)] == before
    assert signal.set_wakeup_fd(-1) == -1


def test_a_safe_point_saves_as_long_as_it_takes_after_the_answer():
    body = """for _ in range(1000): time.sleep(0.01); stop.poll()"""
    process = started(body, grace=5.0)
    status, text, seconds = ended(process, signal.SIGTERM)
    assert (status, seconds < 3) == (143, True)
    assert "stopping at the next safe point; a second signal stops at once" in text
    assert "stopped" in text


def test_without_a_safe_point_the_process_ends_after_the_grace_and_names_the_command():
    status, text, seconds = ended(started(BLOCKED), signal.SIGTERM)
    assert (status, seconds < 4) == (143, True)
    assert "no safe point came in time" in text
    assert "python -m training resume out" in text


def test_a_second_signal_ends_the_process_at_once():
    status, text, seconds = ended(started(BLOCKED, grace=15.0), signal.SIGTERM, signal.SIGTERM)
    assert (status, seconds < 4) == (143, True)
    assert "stopped at once" in text


def test_the_status_is_the_first_signals():
    status, _, _ = ended(started(BLOCKED, grace=15.0), signal.SIGINT, signal.SIGTERM)
    assert status == 130


def test_a_save_that_has_begun_is_not_cut_off_by_the_grace():
    body = """
        try:
            for _ in range(1000): time.sleep(0.01); stop.poll()
        finally:
            time.sleep(0.6)
            print("saved", flush=True)
"""
    status, text, _ = ended(started(body.strip("\n").lstrip(), grace=0.3), signal.SIGTERM)
    assert status == 143
    assert "saved" in text
    assert "no safe point" not in text


def kill_and_wait(reached):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.01)
    reached.append("never polled")


def test_an_interruptible_scope_ends_between_any_two_instructions():
    stop, reached = Stop(), []
    with stop.watching(), pytest.raises(Stopped), stop.interruptible():
        kill_and_wait(reached)
    assert stop.has_interrupted
    with pytest.raises(Stopped), stop.interruptible():
        reached.append("entered after a signal")
    assert not reached


def swallow():
    try:
        kill_and_wait([])
    except BaseException:
        raise ValueError("None values not supported") from None


def test_an_interruption_that_becomes_another_error_is_still_one():
    stop = Stop()
    with stop.watching(), pytest.raises(Stopped), stop.interruptible():
        swallow()
    with pytest.raises(ValueError, match="mine"), Stop().interruptible():
        raise ValueError("mine")


def test_outside_of_the_scope_nothing_is_interrupted():
    stop = Stop()
    with stop.watching():
        with stop.interruptible():
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
    with pytest.raises(Stopped):
        stop.poll()


def test_an_interrupted_scope_that_is_answered_has_time_to_save():
    body = """
        try:
            with stop.interruptible(): time.sleep(9)
        except Stopped:
            stop.answer()
            time.sleep(0.6)
            print("saved", flush=True)
            raise
"""
    status, text, _ = ended(started(body.strip("\n").lstrip(), grace=0.3), signal.SIGTERM)
    assert status == 143
    assert "saved" in text
