"""Reading `flax_model.msgpack`, as transformers' Flax models write it, under PyTorch's names and in its layout.

The file is one msgpack value: maps of layers within maps, and arrays as extensions of type 1, each of which holds a
msgpack value of its own: (shape, name of the type, bytes). flax.serialization splits an array beyond 1 GiB into a map
of flat chunks. Opening walks over the headers and skips the data.
"""

import io
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from tfmodels.checkpoints.formats.msgpack_headers import read_header, read_int, read_text
from tfmodels.checkpoints.formats.reader import TensorReader, fill_from, missing_tensor
from tfmodels.checkpoints.formats.tf_flax_names import reference_name

_TYPES: dict[str, np.dtype] = {
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    **{name: np.dtype(name) for name in ("bool", "float16", "float32", "float64")},
    **{f"{sign}int{bits}": np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
_NDARRAY = 1
_CHUNKED = "__msgpack_chunked_array__"
# All far beyond any model: they bound what a hostile file can make us do.
_MAX_DEPTH = 32
_MAX_VALUES = 100_000
_MAX_NAME = 1024
_MAX_DIMENSIONS = 32


class _Piece(NamedTuple):
    """Where elements lie in the file."""

    offset: int
    elements: int


class _Tensor(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype
    pieces: tuple[_Piece, ...]
    transpose: bool = False


class FlaxFile(TensorReader):
    """The tensors of one `flax_model.msgpack`.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a broken or truncated file, anything but maps of arrays, or data that the file claims and lacks.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "flax_model.msgpack"
    >>> array = b"\\x93\\x92\\x01\\x02" + b"\\xa5uint8" + b"\\xc4\\x02" + b"\\x07\\x08"
    >>> _ = path.write_bytes(b"\\x81\\xa7lm_head" + b"\\x81\\xa6kernel" + b"\\xc7" + bytes([len(array), 1]) + array)
    >>> with FlaxFile(path) as checkpoint:
    ...     checkpoint.read("lm_head.weight").tolist()
    [[7], [8]]
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self._path = Path(path)
        if not self._path.is_file():
            raise FileNotFoundError(f"path must be a msgpack file. Received: path={str(path)!r}")
        self._file = open(self._path, "rb")  # noqa: SIM115 - closed by close()
        try:
            self._tensors = _Walk(self._file).tensors()
        except ValueError as error:
            self._file.close()
            raise ValueError(f"{self._path} must be a whole msgpack file of a Flax model. Received: {error}") from None
        except BaseException:
            self._file.close()
            raise

    def names(self) -> list[str]:
        return sorted(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        tensor = self._tensor(name)
        return tensor.shape[::-1] if tensor.transpose else tensor.shape

    def dtype(self, name: str) -> np.dtype:
        return self._tensor(name).dtype

    def read(self, name: str) -> np.ndarray:
        tensor = self._tensor(name)
        flat = np.empty(math.prod(tensor.shape), tensor.dtype)
        start = 0
        for piece in tensor.pieces:
            fill_from(self._file, piece.offset, flat[start : start + piece.elements])
            start += piece.elements
        array = flat.reshape(tensor.shape)
        return array.T if tensor.transpose else array

    def close(self) -> None:
        self._file.close()

    def _tensor(self, name: str) -> _Tensor:
        if name not in self._tensors:
            raise missing_tensor(name, self.names(), self._path)
        return self._tensors[name]


class _Walk:
    """One pass over a file's headers."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self._values = 0
        self._found: dict[str, _Tensor] = {}

    def tensors(self) -> dict[str, _Tensor]:
        header = read_header(self._file)
        if header.kind != "map":
            raise ValueError(f"a file that begins with a value of kind {header.kind}")
        self._map((), header.size)
        if self._file.tell() != self._size:
            raise ValueError(f"{self._size - self._file.tell()} bytes behind the last tensor")
        return self._found

    def _map(self, path: tuple[str, ...], entries: int) -> None:
        if len(path) > _MAX_DEPTH:
            raise ValueError(f"layers nested deeper than {_MAX_DEPTH}")
        for index in range(entries):
            key = self._key()
            if key == _CHUNKED and index == 0 and path:
                self._add(path, self._chunked(path, entries))
                return
            header = read_header(self._file)
            inner = (*path, key)
            if header.kind == "map":
                self._map(inner, header.size)
            else:
                self._add(inner, self._array(inner, header.kind, header.size, header.extension))

    def _key(self) -> str:
        self._values += 1
        if self._values > _MAX_VALUES:
            raise ValueError(f"more than {_MAX_VALUES} values")
        return read_text(self._file, _MAX_NAME)

    def _add(self, path: tuple[str, ...], tensor: _Tensor) -> None:
        name, transpose = reference_name(path)
        if name in self._found:
            raise ValueError(f"two tensors named {name!r}")
        self._found[name] = tensor._replace(transpose=transpose)

    def _array(self, path: tuple[str, ...], kind: str, size: int, extension: int) -> _Tensor:
        """The array whose ext header was read just now; the file then stands behind it."""
        name = ".".join(path)
        if kind != "ext" or extension != _NDARRAY:
            type_text = f"ext of type {extension}" if kind == "ext" else kind
            raise ValueError(f"{name!r:.80} of kind {type_text}, which is no array")
        end = self._file.tell() + size
        if end > self._size:
            raise ValueError(f"{name!r:.80}, which claims {size} bytes of a file of {self._size}")
        parts = read_header(self._file)
        dimensions = read_header(self._file)
        if parts[:2] != ("array", 3) or dimensions.kind != "array" or dimensions.size > _MAX_DIMENSIONS:
            raise ValueError(f"{name!r:.80}, which is no (shape, type, bytes)")
        shape = tuple(read_int(self._file) for _ in range(dimensions.size))
        type_name = read_text(self._file, _MAX_NAME)
        if type_name not in _TYPES:
            raise ValueError(f"{name!r:.80} of type {type_name!r:.80}, not of {sorted(_TYPES)}")
        dtype = _TYPES[type_name]
        data = read_header(self._file)
        offset, count = self._file.tell(), math.prod(shape)
        if data.kind != "bin" or data.size != count * dtype.itemsize or offset + data.size != end:
            raise ValueError(
                f"{name!r:.80} of shape {shape} and type {type_name} with {data.size} bytes of {data.kind}"
            )
        self._file.seek(end)
        return _Tensor(shape, dtype, (_Piece(offset, count),))

    def _chunked(self, path: tuple[str, ...], entries: int) -> _Tensor:
        """The array that a map of chunks stands for; its first key was read just now."""
        name = ".".join(path)
        read_header(self._file)
        parts: dict[str, list[Any]] = {}
        for _ in range(entries - 1):
            key = self._key()
            parts[key] = self._numbered(path, key)
        if entries != 3 or set(parts) != {"shape", "chunks"}:
            raise ValueError(f"{name!r:.80}, a chunked array of {sorted(parts)!r:.80}, not of shape and chunks")
        shape, chunks = tuple(parts["shape"]), parts["chunks"]
        dtypes = {chunk.dtype for chunk in chunks}
        pieces = tuple(chunk.pieces[0] for chunk in chunks)
        if len(dtypes) != 1 or sum(piece.elements for piece in pieces) != math.prod(shape):
            raise ValueError(f"{name!r:.80}, whose chunks do not make its shape {shape}")
        return _Tensor(shape, dtypes.pop(), pieces)

    def _numbered(self, path: tuple[str, ...], part: str) -> list[Any]:
        """The sizes or chunks of a map {"0": ..., "1": ...}."""
        header = read_header(self._file)
        values: dict[str, Any] = {}
        for _ in range(header.size if header.kind == "map" else 0):
            key = self._key()
            if part == "shape":
                values[key] = read_int(self._file)
            else:
                inner = read_header(self._file)
                values[key] = self._array((*path, key), inner.kind, inner.size, inner.extension)
        if header.kind != "map" or set(values) != {str(index) for index in range(header.size)}:
            raise ValueError(f"{'.'.join(path)!r:.80}, a chunked array whose {part} is not a map of numbered values")
        return [values[str(index)] for index in range(header.size)]
