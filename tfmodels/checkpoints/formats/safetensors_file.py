"""Reading and writing `.safetensors` files."""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from tfmodels.checkpoints.formats.reader import TensorReader, missing_tensor
from tfmodels.utils.files import written_whole

# transformers refuses files that do not say which framework their layout follows.
DEFAULT_METADATA = {"format": "pt"}

_OS_ERROR = re.compile(r"os error (\d+)")

_TYPES: dict[str, np.dtype] = {
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "BOOL": np.dtype("bool"),
    "F16": np.dtype("float16"),
    "F32": np.dtype("float32"),
    "F64": np.dtype("float64"),
    "I8": np.dtype("int8"),
    "I16": np.dtype("int16"),
    "I32": np.dtype("int32"),
    "I64": np.dtype("int64"),
    "U8": np.dtype("uint8"),
    "U16": np.dtype("uint16"),
    "U32": np.dtype("uint32"),
    "U64": np.dtype("uint64"),
}


class SafetensorsFile(TensorReader):
    """The tensors of one `.safetensors` file.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a broken header, or one that claims other data than the file holds.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self._path = Path(path)
        if not self._path.is_file():
            raise FileNotFoundError(f"path must be a .safetensors file. Received: path={str(path)!r}")
        try:
            # The library checks the header's size, every offset and that they cover the file, and allocates nothing.
            # Not mapped: a file that is cut short while it is mapped would end the process.
            self._file = safe_open(str(self._path), framework="numpy", backend="pread").__enter__()
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{self._path} must be a whole .safetensors file. Received: {error}") from None
        self._names = sorted(self._file.keys())
        self._known = frozenset(self._names)

    def names(self) -> list[str]:
        return list(self._names)

    def shape(self, name: str) -> tuple[int, ...]:
        self._check(name)
        return tuple(self._file.get_slice(name).get_shape())

    def dtype(self, name: str) -> np.dtype:
        self._check(name)
        stored = self._file.get_slice(name).get_dtype()
        if stored not in _TYPES:
            raise ValueError(f"{self._path}: tensor {name!r} must be of one of {sorted(_TYPES)}. Received: {stored}")
        return _TYPES[stored]

    def read(self, name: str) -> np.ndarray:
        self.dtype(name)
        try:
            return self._file.get_tensor(name)
        except (SafetensorError, OSError, AttributeError) as error:
            raise ValueError(f"{self._path} must be a whole .safetensors file and open. Received: {error}") from None

    def close(self) -> None:
        self._file.__exit__(None, None, None)

    def _check(self, name: str) -> None:
        if name not in self._known:
            raise missing_tensor(name, self._names, self._path)


def write_safetensors(
    path: str | os.PathLike, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors to a `.safetensors` file that transformers loads; it takes its name only when it is whole.

    Args:
        path: the file to write, replaced if it exists. Its folder must exist.
        tensors: the arrays by name, of any memory layout; bfloat16 as the type of `ml_dtypes`.
        metadata: strings for the header; by default `{"format": "pt"}`, without which transformers refuses the file.

    Raises:
        ValueError: no tensors, a tensor that is no array or of a type that the format lacks, or metadata
            with anything but strings.
        OSError: a file that cannot be written.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> write_safetensors(path, {"weight": np.zeros((2, 3), "float16")})
    >>> with SafetensorsFile(path) as checkpoint:
    ...     checkpoint.names(), checkpoint.shape("weight")
    (['weight'], (2, 3))
    """
    if not tensors:
        raise ValueError("tensors must hold at least one array. Received: tensors={}")
    for name, tensor in tensors.items():
        if not isinstance(tensor, np.ndarray):
            raise ValueError(f"tensors[{name!r}] must be a numpy array. Received: {type(tensor).__name__}")
    metadata = dict(DEFAULT_METADATA if metadata is None else metadata)
    if not all(isinstance(text, str) for pair in metadata.items() for text in pair):
        raise ValueError(f"metadata must hold strings only. Received: metadata={metadata}")
    # The library writes the memory as it lies, so a transposed view would land in the file untransposed.
    # `asarray` keeps the shape of scalars, which `ascontiguousarray` would make vectors.
    contiguous = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    with written_whole(path) as partial:
        # The library writes a file that its owner alone can read, such as no server can.
        partial.touch()
        mode = stat.S_IMODE(partial.stat().st_mode)
        try:
            save_file(contiguous, str(partial), metadata=metadata)
        except (SafetensorError, KeyError, TypeError) as error:
            number = _OS_ERROR.search(str(error))
            if number is not None:
                # The library hides a full disk and missing rights in an error of its own.
                code = int(number.group(1))
                raise OSError(code, os.strerror(code), os.fspath(path)) from None
            types = sorted({str(tensor.dtype) for tensor in contiguous.values()})
            raise ValueError(f"tensors must be of types that safetensors stores. Received: {types} ({error})") from None
        os.chmod(partial, mode)
        with open(partial, "rb+") as stream:
            os.fsync(stream.fileno())
