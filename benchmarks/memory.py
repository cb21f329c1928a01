"""Peak memory of the running process."""

import ctypes
import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


def peak_bytes() -> int:
    """The most memory that this process has held at once (resident set), in bytes."""
    if _STATUS.is_file():
        # Not `ru_maxrss` here: under Linux a process inherits it from the one that started it.
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def reset_peak() -> int | None:
    """Let `peak_bytes` begin anew, and return the bytes that are held now; None, and nothing done, without Linux.

    Memory that the C library keeps though nobody uses it is given back first: how much a compiler leaves there differs
    from program to program.
    """
    if not _CLEAR.is_file():
        return None
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
    return peak_bytes()
