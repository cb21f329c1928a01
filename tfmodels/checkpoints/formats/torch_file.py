"""Reading `pytorch_model.bin` without PyTorch: a zip of a pickle, which names the tensors, and of their raw storages.

A pickle is a program. Ours runs in an unpickler that knows a dozen harmless names, all of which build descriptions of
tensors, after its instructions have been read through once; anything else is refused before it runs. The descriptions
are checked against the sizes in the file before any memory is taken.
"""

import io
import math
import os
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from tfmodels.checkpoints.formats.reader import TensorReader, fill_from, missing_tensor

_STORAGE_TYPES: dict[str, np.dtype] = {
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "BoolStorage": np.dtype("bool"),
    "ByteStorage": np.dtype("uint8"),
    "CharStorage": np.dtype("int8"),
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "IntStorage": np.dtype("<i4"),
    "LongStorage": np.dtype("<i8"),
    "ShortStorage": np.dtype("<i2"),
}

# The instructions of torch.save for a dict of tensors. Left out are instructions that reach objects by other ways than
# GLOBAL, that build objects of classes and that stretch memory.
_INSTRUCTION_NAMES = """
    PROTO STOP MARK GLOBAL STACK_GLOBAL MEMOIZE FRAME REDUCE BUILD BINPERSID EMPTY_DICT SETITEM SETITEMS EMPTY_LIST
    APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 BINPUT LONG_BINPUT BINGET LONG_BINGET NONE NEWTRUE NEWFALSE
    BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8
"""
_INSTRUCTIONS = frozenset(_INSTRUCTION_NAMES.split())
_MAX_DIMENSIONS = 64
_SMALL_FILE = 2**20
_LOCAL_HEADER_SIZE = 30


class _StorageType(NamedTuple):
    dtype: np.dtype


class _Storage(NamedTuple):
    dtype: np.dtype
    key: str
    elements: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class TorchFile(TensorReader):
    """The tensors of one file that `torch.save(model.state_dict(), path)` wrote, in the zip format of PyTorch 1.6 on.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file of the older format, broken or truncated, with anything but a flat mapping of names to
            tensors, or data that the file claims and lacks. Nothing that the file names is ever imported or called.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self._path = Path(path)
        if not self._path.is_file():
            raise FileNotFoundError(f"path must be a PyTorch checkpoint file. Received: path={str(path)!r}")
        self._file = open(self._path, "rb")  # noqa: SIM115 - closed by close()
        try:
            self._tensors, self._entries = _open_archive(self._path, self._file)
        except BaseException:
            self._file.close()
            raise

    def names(self) -> list[str]:
        return sorted(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._tensor(name).shape

    def dtype(self, name: str) -> np.dtype:
        return self._tensor(name).storage.dtype

    def read(self, name: str) -> np.ndarray:
        tensor = self._tensor(name)
        dtype = tensor.storage.dtype
        if 0 in tensor.shape:
            return np.empty(tensor.shape, dtype)
        # A view may use a small part of a storage that many tensors share: only that part is read.
        entry = self._entries[tensor.storage.key]
        start = _data_start(self._path, self._file, entry) + tensor.offset * dtype.itemsize
        flat = np.empty(_span(tensor), dtype)
        fill_from(self._file, start, flat)
        strides = tuple(stride * dtype.itemsize for stride in tensor.strides)
        return np.asarray(np.lib.stride_tricks.as_strided(flat, tensor.shape, strides), order="C")

    def close(self) -> None:
        self._file.close()

    def _tensor(self, name: str) -> _Tensor:
        if name not in self._tensors:
            raise missing_tensor(name, self.names(), self._path)
        return self._tensors[name]


def _open_archive(path: Path, file: io.BufferedReader) -> tuple[dict[str, _Tensor], dict[str, zipfile.ZipInfo]]:
    """The checked tensors by name, and the archive's entries by storage key."""
    try:
        is_zip = zipfile.is_zipfile(file)
    except (zipfile.BadZipFile, OSError) as error:  # a damaged end record
        raise _broken(path, str(error)) from None
    if not is_zip:
        file.seek(0)
        # The older format is a bare series of pickles, which begin with the PROTO instruction.
        if file.read(1) == b"\x80":
            raise ValueError(
                f"{path} must be in PyTorch's zip format. Received: the format from before PyTorch 1.6. "
                f"Load it in PyTorch and save it again"
            )
        raise _broken(path, "a file that is no zip archive, or only the first part of one")
    file_size = os.fstat(file.fileno()).st_size
    try:
        with zipfile.ZipFile(file) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            prefix = _archive_prefix(path, list(entries))
            for name, entry in entries.items():
                _check_entry(path, name, entry, file_size)
            program = archive.read(entries[f"{prefix}data.pkl"])
            order = archive.read(entries[f"{prefix}byteorder"]) if f"{prefix}byteorder" in entries else b"little"
            if order != b"little":
                raise ValueError(f"{path} must be stored little-endian. Received: byteorder={order[:20]!r}")
    except (
        zipfile.BadZipFile,
        EOFError,
        OSError,
        NotImplementedError,
        RuntimeError,
        UnicodeDecodeError,
    ) as error:
        raise _broken(path, str(error)) from None
    tensors = _unpickle(path, program)
    folder = f"{prefix}data/"
    storages = {name.removeprefix(folder): entry for name, entry in entries.items() if name.startswith(folder)}
    for name, tensor in tensors.items():
        _check_tensor(path, name, tensor, storages, file_size)
    return tensors, storages


def _archive_prefix(path: Path, names: list[str]) -> str:
    """The folder within the archive, `"archive/"`: PyTorch names it after the file."""
    prefixes = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(prefixes) != 1:
        raise _broken(path, f"an archive with {len(prefixes)} entries named */data.pkl, among {names[:5]}")
    return prefixes[0]


def _check_entry(path: Path, name: str, entry: zipfile.ZipInfo, file_size: int) -> None:
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
        raise ValueError(f"{path} must hold its entries uncompressed. Received: {name!r}, which is compressed")
    if entry.header_offset < 0 or entry.header_offset + _LOCAL_HEADER_SIZE + entry.file_size > file_size:
        raise _broken(path, f"entry {name!r} that claims {entry.file_size} bytes of a file of {file_size}")


def _unpickle(path: Path, program: bytes) -> dict[str, _Tensor]:
    _check_instructions(path, program)
    try:
        # A new unpickler with new functions each time: nothing that a file does to them can outlive its reading.
        mapping = _TensorUnpickler(path, program).load()
    except _RefusedError as error:
        raise ValueError(str(error)) from None
    except Exception as error:
        # A broken pickle can fail in any way that Python can.
        raise _broken(path, f"a pickle that cannot be read ({type(error).__name__}: {error})") from None
    if not isinstance(mapping, dict):
        raise ValueError(f"{path} must hold a mapping of names to tensors. Received: {type(mapping).__name__}")
    # A pickle can give an OrderedDict attributes that hide its methods, so dict's own are called.
    tensors = dict(dict.items(mapping))
    for name, value in tensors.items():
        if not isinstance(name, str) or not isinstance(value, _Tensor):
            raise ValueError(
                f"{path} must hold a flat mapping of names to tensors. "
                f"Received: {name!r:.80} with a value of type {type(value).__name__.lstrip('_')}"
            )
    return tensors


def _check_instructions(path: Path, program: bytes) -> None:
    try:
        for instruction, argument, _ in pickletools.genops(program):
            if instruction.name not in _INSTRUCTIONS:
                raise _refused(path, f"the pickle instruction {instruction.name}")
            # Python's unpickler reserves memory for as many slots as the highest number that is named.
            if instruction.name == "LONG_BINPUT" and int(argument or 0) > len(program):
                raise _refused(path, f"the pickle instruction LONG_BINPUT {argument}")
            if instruction.name == "GLOBAL":
                module, _, name = str(argument).partition(" ")
                _check_global(path, module, name)
    except _RefusedError as error:
        raise ValueError(str(error)) from None
    except Exception as error:
        raise _broken(path, f"a pickle that cannot be read ({error})") from None


def _check_global(path: Path, module: str, name: str) -> None:
    is_storage = module == "torch" and name in _STORAGE_TYPES
    if not is_storage and (module, name) not in _BUILDERS:
        raise _refused(path, f"the name {module}.{name}")


class _TensorUnpickler(pickle.Unpickler):
    def __init__(self, path: Path, program: bytes) -> None:
        super().__init__(io.BytesIO(program))
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        _check_global(self._path, module, name)
        if module == "torch":
            return _StorageType(_STORAGE_TYPES[name])
        return _BUILDERS[module, name]()

    def persistent_load(self, pid: Any) -> _Storage:
        if not (isinstance(pid, tuple) and len(pid) == 5 and pid[0] == "storage" and type(pid[1]) is _StorageType):
            raise _refused(self._path, f"the persistent id {pid!r:.80}")
        _, storage_type, key, _, elements = pid
        return _Storage(storage_type.dtype, key, elements)


def _make_ordered_dict_builder() -> Callable:
    return OrderedDict


def _make_tensor_builder() -> Callable:
    # The names and the order of these arguments are PyTorch's; the last three say nothing about the data.
    def rebuild_tensor(
        storage: _Storage,
        storage_offset: int,
        size: tuple[int, ...],
        stride: tuple[int, ...],
        requires_grad: bool = False,
        backward_hooks: object = None,
        metadata: object = None,
    ) -> _Tensor:
        return _Tensor(storage, storage_offset, size, stride)

    return rebuild_tensor


def _make_parameter_builder() -> Callable:
    def rebuild_parameter(data: _Tensor, requires_grad: bool = True, backward_hooks: object = None) -> _Tensor:
        return data

    return rebuild_parameter


_BUILDERS: dict[tuple[str, str], Callable[[], Callable]] = {
    ("collections", "OrderedDict"): _make_ordered_dict_builder,
    ("torch._utils", "_rebuild_tensor_v2"): _make_tensor_builder,
    ("torch._utils", "_rebuild_parameter"): _make_parameter_builder,
}


def _check_tensor(path: Path, name: str, tensor: _Tensor, entries: dict[str, zipfile.ZipInfo], file_size: int) -> None:
    """Refuse a tensor that reaches outside its storage, or a storage that its entry does not hold."""
    storage = tensor.storage
    is_well_formed = (
        type(storage) is _Storage
        and isinstance(storage.key, str)
        and _are_sizes((storage.elements, tensor.offset))
        and _are_sizes(tensor.shape)
        and _are_sizes(tensor.strides)
        and len(tensor.shape) == len(tensor.strides) <= _MAX_DIMENSIONS
    )
    if not is_well_formed:
        raise _broken(path, f"tensor {name!r} of shape {tensor.shape!r:.80} that is no description of a tensor")
    if storage.key not in entries:
        raise _broken(path, f"tensor {name!r} in storage {storage.key!r:.80}, which is not in the archive")
    held = entries[storage.key].file_size
    itemsize = storage.dtype.itemsize
    claimed = storage.elements * itemsize
    if claimed > held:
        raise _broken(path, f"tensor {name!r} in a storage of {claimed} bytes, of which {held} exist")
    if 0 not in tensor.shape and tensor.offset + _span(tensor) > storage.elements:
        reach = tensor.offset + _span(tensor)
        raise _broken(path, f"tensor {name!r} that reaches to element {reach} of a storage of {storage.elements}")
    # Strides of 0 repeat elements, and a size of 0 hides the others: a few bytes could ask for terabytes.
    if math.prod(max(size, 1) for size in tensor.shape) * itemsize > max(file_size, _SMALL_FILE):
        raise _broken(path, f"tensor {name!r} of shape {tensor.shape}, more than the file's {file_size} bytes")


def _are_sizes(values: object) -> bool:
    # Booleans are integers in Python, but no sizes.
    return isinstance(values, tuple) and all(type(value) is int and value >= 0 for value in values)


def _span(tensor: _Tensor) -> int:
    """How many elements of the storage lie from the tensor's first to its last."""
    return 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))


def _data_start(path: Path, file: io.BufferedReader, entry: zipfile.ZipInfo) -> int:
    # The lengths in the local header decide, not those in the directory: PyTorch pads the former to align the data.
    file.seek(entry.header_offset)
    header = file.read(_LOCAL_HEADER_SIZE)
    if len(header) != _LOCAL_HEADER_SIZE or not header.startswith(b"PK\x03\x04"):
        raise _broken(path, f"entry {entry.filename!r} without its header")
    name_length = int.from_bytes(header[26:28], "little")
    extra_length = int.from_bytes(header[28:30], "little")
    return entry.header_offset + _LOCAL_HEADER_SIZE + name_length + extra_length


class _RefusedError(ValueError):
    """Something that a checkpoint of tensors has no use for."""


def _refused(path: Path, defect: str) -> _RefusedError:
    return _RefusedError(f"{path} must hold tensors and nothing else. Refused, and not run: {defect}")


def _broken(path: Path, defect: str) -> ValueError:
    return ValueError(f"{path} must be a whole PyTorch checkpoint. Received: {defect}")
