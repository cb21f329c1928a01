"""The vector instructions that a processor has, and a narrower set that every engine can be held to."""

import os
import platform
from pathlib import Path

_BY_FLAG = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX"}
_CPU_INFO = Path("/proc/cpuinfo")
# XLA and oneDNN call it by this name, PyTorch in small letters.
AVX2 = "AVX2"
_IMITATED = "BENCHMARK_INSTRUCTIONS"


def instructions() -> str:
    """The widest vectors of this processor, or the ones that it is held to.

    >>> instructions() != ""
    True
    """
    imitated = os.environ.get(_IMITATED)
    if imitated:
        return f"{imitated}, imitated on {_own()}"
    return _own()


def imitate_avx2() -> None:
    """Hold this process, and the processes that it starts, to AVX2. Call it before a library is imported.

    XLA compiles no other instructions then; oneDNN, which multiplies matrices for TensorFlow, and PyTorch choose no
    others. What a library was built with stays.
    """
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_max_isa={AVX2}".strip()
    os.environ |= {"XLA_FLAGS": flags, "ONEDNN_MAX_CPU_ISA": AVX2, "DNNL_MAX_CPU_ISA": AVX2}
    os.environ |= {"ATEN_CPU_CAPABILITY": AVX2.lower(), "MKL_ENABLE_INSTRUCTIONS": AVX2, _IMITATED: AVX2}


def _own() -> str:
    if not _CPU_INFO.exists():
        return platform.machine()
    flags = _CPU_INFO.read_text(encoding="utf-8").split()
    return next((name for flag, name in _BY_FLAG.items() if flag in flags), platform.machine())
