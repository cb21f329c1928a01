"""Compiled programs on the disk: what one process has compiled, the next one with the same shapes reads.

JAX and TensorFlow each read and write a folder of their own making. TensorFlow knows nothing of versions and machines,
bounds no folder, and a damaged file ends its step; JAX compares no checksum. So a process works in a folder of its own,
with links to those files of the common one whose content is what their names say, and hands over what it has compiled.
"""

import atexit
import contextlib
import hashlib
import importlib.metadata
import os
import platform
import shutil
import socket
import tempfile
import warnings
from pathlib import Path

import keras

VARIABLE = "TFMODELS_PROGRAMS"
OFF = "off"
MOST_BYTES = 2**29
_IN_USE = ".in-use-"
_PARTIAL = ".partial-"
_DIGITS = 32
# What changes the programs, but not their names in TensorFlow's folder.
_SETTINGS = ("XLA_FLAGS", "TF_XLA_FLAGS", "TF_ENABLE_ONEDNN_OPTS")
_PACKAGES = {"tensorflow": ("tensorflow",), "jax": ("jax", "jaxlib")}
_TENSORFLOW_FLAG = "--tf_xla_persistent_cache_directory"
# The folder's name says nothing of GPUs.
_TENSORFLOW_DEVICES = "--tf_xla_persistent_cache_device_types=CPU"


class KeptPrograms:
    """A folder of compiled programs, as one process sees it.

    Args:
        folder: the common folder, made if missing. A file's name is the digest of its content, a dash, and the name
            that the backend gave it.
        most_bytes: what the folder holds at most when a process has handed over its programs; the oldest go first.

    Attributes:
        working: the folder for the backend, this process's own.

    Raises:
        OSError: a folder that cannot be written.

    >>> with tempfile.TemporaryDirectory() as name:
    ...     programs = KeptPrograms(Path(name), 100)
    ...     _ = (programs.working / "step").write_bytes(b"compiled")
    ...     programs.hand_over()
    ...     [path.name for path in KeptPrograms(Path(name), 100).working.iterdir()]
    ['step']
    """

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        self.folder = folder
        self.most_bytes = most_bytes
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._remove_remains()
        prefix = f"{_IN_USE}{socket.gethostname()}-{os.getpid()}-"
        self.working = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
        self._known: set[str] = set()
        for path in _entries(folder):
            digest, name = path.name[:_DIGITS], path.name[_DIGITS + 1 :]
            if name in self._known or digest != _digest(path):
                path.unlink(missing_ok=True)
                continue
            _link(path, self.working / name)
            self._known.add(name)

    def hand_over(self) -> None:
        """Put what this process has compiled into the common folder, and bound that folder; may be called again."""
        if not self.working.is_dir():
            return
        for path in self.working.iterdir():
            if path.name not in self._known and path.is_file():
                _link(path, self.folder / f"{_digest(path)}-{path.name}")
                self._known.add(path.name)
        files = sorted(((path.stat(), path) for path in _entries(self.folder)), key=lambda pair: pair[0].st_mtime)
        total = sum(status.st_size for status, _ in files)
        for status, path in files:
            if total <= self.most_bytes:
                break
            path.unlink(missing_ok=True)
            total -= status.st_size

    def close(self) -> None:
        """Hand over, and remove the process's own folder. An error here is none of the program's."""
        with contextlib.suppress(OSError):
            self.hand_over()
        shutil.rmtree(self.working, ignore_errors=True)

    def _remove_remains(self) -> None:
        """Remove the folders of processes of this machine that were killed."""
        prefix = f"{_IN_USE}{socket.gethostname()}-"
        for path in self.folder.glob(f"{prefix}*"):
            owner = path.name.removeprefix(prefix).split("-")[0]
            if owner.isdigit() and not _is_running(int(owner)):
                shutil.rmtree(path, ignore_errors=True)


_kept: KeptPrograms | None = None


def keep_programs(folder: str | os.PathLike[str] | None = None, most_bytes: int = MOST_BYTES) -> Path | None:
    """Keep compiled programs on the disk from now on; call it before the backend's first operation.

    On TensorFlow these are programs under XLA (`jit_compile=True`).

    What is read was compiled by the same versions, on a machine with the same processor and as many cores, under the
    same XLA flags; JAX and TensorFlow compare the program itself. A file whose content has changed is removed. To
    clear all: remove the folder.

    Args:
        folder: the folder; None: the one that `TFMODELS_PROGRAMS` names, else `tfmodels/programs` in the user's cache
            folder. Whoever can write to it decides what a program of yours runs.
        most_bytes: the size of the folder at most, for each such machine and version; the oldest programs go first.

    Returns:
        The folder that is used; None if `TFMODELS_PROGRAMS` is "off", or if the backend has such a folder already.

    Warns:
        UserWarning: a folder that cannot be written, or a TensorFlow that has run an operation and read its settings
            already. Programs are compiled as without the call.
    """
    global _kept
    if folder is None:
        folder = os.environ.get(VARIABLE) or _default_folder()
    if os.fspath(folder) == OFF or _has_own_folder():
        return None
    if _kept is not None:
        return _kept.folder
    try:
        _kept = KeptPrograms(Path(folder).expanduser() / _circumstances(), most_bytes)
    except OSError as error:
        warnings.warn(f"compiled programs are not kept: {error}", stacklevel=2)
        return None
    atexit.register(_kept.close)
    if keras.backend.backend() == "jax":
        _tell_jax(_kept.working)
    elif not _tell_tensorflow(_kept.working):
        warnings.warn("compiled programs are not kept: TensorFlow has begun already", stacklevel=2)
        return None
    return _kept.folder


def hand_over_programs() -> None:
    """Hand over now what this process has compiled, for a process that ends without its usual last steps."""
    if _kept is not None:
        with contextlib.suppress(OSError):
            _kept.hand_over()


def _tell_jax(working: Path) -> None:
    import jax

    jax.config.update("jax_compilation_cache_dir", str(working))
    # Building and loading run many small programs; `KeptPrograms` bounds the folder.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_compilation_cache_max_size", -1)
    # Further caches' folder would be a part of each program's key, and this one has another name in each process.
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")


def _tell_tensorflow(working: Path) -> bool:
    """Name the folder to TensorFlow, and see by a small program whether it listens."""
    import tensorflow as tf

    before = os.environ.get("TF_XLA_FLAGS")
    found = set(working.iterdir())
    # TensorFlow reads the flags at its first operation. Processes that this one starts must not write to its folder.
    os.environ["TF_XLA_FLAGS"] = f"{before or ''} {_TENSORFLOW_FLAG}={working} {_TENSORFLOW_DEVICES}".strip()
    try:
        with tf.device("CPU:0"):
            tf.function(lambda x: -x, jit_compile=True, autograph=False)(tf.constant(0.0))
    finally:
        if before is None:
            del os.environ["TF_XLA_FLAGS"]
        else:
            os.environ["TF_XLA_FLAGS"] = before
    written = set(working.iterdir()) - found
    for path in written:  # else the next process would find it, and know nothing
        path.unlink()
    return bool(written)


def _has_own_folder() -> bool:
    if _kept is not None:
        return False
    if keras.backend.backend() == "jax":
        import jax

        return bool(jax.config.jax_compilation_cache_dir)
    return _TENSORFLOW_FLAG in os.environ.get("TF_XLA_FLAGS", "")


def _default_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tfmodels" / "programs"


def _circumstances() -> str:
    """The name of a folder for programs of these versions, settings and processors."""
    backend = keras.backend.backend()
    parts = [f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES[backend]]
    parts += [f"{name}={os.environ.get(name, '')}" for name in _SETTINGS]
    parts += [platform.system(), platform.machine(), *platform.libc_ver(), str(os.cpu_count()), _processor()]
    return f"{backend}-{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:16]}"


def _processor() -> str:
    """The processor's model and abilities, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()} {socket.gethostname()}"
    names = ("model name", "cpu family", "model", "stepping", "flags", "Features", "CPU part", "CPU variant")
    return "|".join(line for line in lines if line.split(":")[0].strip() in names) or socket.gethostname()


def _entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file())


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:_DIGITS]


def _link(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`, or a copy, at once and not by parts."""
    try:
        os.link(source, target)
    except FileExistsError:
        return
    except OSError:  # a file system without links
        partial = target.with_name(f"{_PARTIAL}{os.getpid()}-{target.name}")
        shutil.copyfile(source, partial)
        os.replace(partial, target)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
