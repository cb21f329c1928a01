"""Reading `tf_model.h5`, as transformers' TensorFlow models write it, under PyTorch's names and in its layout.

The file holds a group for each of the model's layers, and in it a tensor under the path of its variable, whose first
part is the class: `led/tfled_for_conditional_generation/led/encoder/layers.0/fc1/kernel:0`. The groups themselves are
walked, not the lists of names beside them: so no tensor goes unseen, and no list can ask for more than the file holds.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from tfmodels.checkpoints.formats.reader import TensorReader, missing_tensor
from tfmodels.checkpoints.formats.tf_flax_names import reference_name

_TYPES = frozenset(
    ["bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
)
# Groups may contain each other: both bounds are far beyond any model, and end such a walk.
_MAX_DEPTH = 32
_MAX_OBJECTS = 20_000


class _Tensor(NamedTuple):
    dataset: h5py.Dataset
    transpose: bool


class H5File(TensorReader):
    """The tensors of one `tf_model.h5`.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a broken or truncated file, links to other files, anything but plain arrays of numbers, or data
            that the file claims and lacks.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "tf_model.h5"
    >>> with h5py.File(path, "w") as file:
    ...     _ = file.create_dataset("led/tfled/led/fc1/kernel:0", data=np.zeros((2, 3), "float32"))
    >>> with H5File(path) as checkpoint:
    ...     checkpoint.names(), checkpoint.shape("led.fc1.weight")
    (['led.fc1.weight'], (3, 2))
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self._path = Path(path)
        if not self._path.is_file():
            raise FileNotFoundError(f"path must be an HDF5 file. Received: path={str(path)!r}")
        try:
            # Files in the hub's cache may lie where locks cannot.
            self._file = h5py.File(self._path, "r", locking=False)
        except OSError as error:
            raise _broken(self._path, str(error)) from None
        try:
            self._tensors = _tensors(self._path, self._file)
        except (OSError, RuntimeError, KeyError, TypeError, UnicodeDecodeError) as error:
            self._file.close()
            raise _broken(self._path, str(error)) from None
        except BaseException:
            self._file.close()
            raise

    def names(self) -> list[str]:
        return sorted(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        tensor = self._tensor(name)
        return tensor.dataset.shape[::-1] if tensor.transpose else tensor.dataset.shape

    def dtype(self, name: str) -> np.dtype:
        return self._tensor(name).dataset.dtype.newbyteorder("=")

    def read(self, name: str) -> np.ndarray:
        tensor = self._tensor(name)
        array = np.empty(tensor.dataset.shape, self.dtype(name))
        try:
            if array.size:
                tensor.dataset.read_direct(array)
        except (OSError, RuntimeError, ValueError) as error:
            raise _broken(self._path, f"tensor {name!r} that cannot be read ({error})") from None
        return array.T if tensor.transpose else array

    def close(self) -> None:
        self._tensors = {}
        self._file.close()

    def _tensor(self, name: str) -> _Tensor:
        if name not in self._tensors:
            raise missing_tensor(name, self.names(), self._path)
        return self._tensors[name]


def _tensors(path: Path, file: h5py.File) -> dict[str, _Tensor]:
    """The checked tensors by PyTorch's names."""
    file_size = path.stat().st_size
    tensors: dict[str, _Tensor] = {}
    for place, dataset in _datasets(path, file):
        _check_dataset(path, dataset, file_size)
        _, *scopes = place
        # Only a variable of the model itself, such as final_logits_bias, has no class before its name.
        scopes = scopes[1:] if len(scopes) > 1 else scopes
        name, transpose = reference_name([*scopes[:-1], scopes[-1].partition(":")[0]])
        if name in tensors:
            raise _broken(path, f"two tensors named {name!r}")
        tensors[name] = _Tensor(dataset, transpose)
    return tensors


def _datasets(path: Path, file: h5py.File) -> Iterator[tuple[tuple[str, ...], h5py.Dataset]]:
    waiting: list[tuple[tuple[str, ...], h5py.Group]] = [((), file)]
    seen = 0
    while waiting:
        place, group = waiting.pop()
        for name in group:
            seen += 1
            inner = (*place, name)
            if seen > _MAX_OBJECTS or len(inner) > _MAX_DEPTH:
                raise _broken(path, f"more than {_MAX_OBJECTS} objects, or groups nested deeper than {_MAX_DEPTH}")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(
                    f"{path} must hold its tensors itself. Received: {'/'.join(inner)!r}, a link elsewhere"
                )
            held = group[name]
            if isinstance(held, h5py.Group):
                waiting.append((inner, held))
            elif isinstance(held, h5py.Dataset) and len(inner) > 1:
                yield inner, held
            else:
                raise _broken(path, f"{'/'.join(inner)!r}, which is no tensor of a layer")


def _check_dataset(path: Path, dataset: h5py.Dataset, file_size: int) -> None:
    """Refuse data of other kinds or elsewhere, and sizes that the file does not hold."""
    name = dataset.name
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"{path} must hold its tensors itself. Received: {name!r}, whose data lies in other files")
    if dataset.shape is None or dataset.dtype.name not in _TYPES:
        raise ValueError(f"{path} must hold arrays of numbers. Received: {name!r} of type {dataset.dtype}")
    if dataset.id.get_create_plist().get_nfilters():
        raise ValueError(f"{path} must hold its tensors uncompressed. Received: {name!r}, which goes through filters")
    # The stored size that the file claims may itself be wrong.
    stored = min(dataset.id.get_storage_size(), file_size)
    if dataset.nbytes > stored:
        raise _broken(path, f"{name!r} of {dataset.nbytes} bytes, of which {stored} exist")


def _broken(path: Path, defect: str) -> ValueError:
    return ValueError(f"{path} must be a whole HDF5 file of a TensorFlow model. Received: {defect}")
