"""The weights of a checkpoint's folder, in one file or in several with an index."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tfmodels.checkpoints.formats.flax_file import FlaxFile
from tfmodels.checkpoints.formats.h5_file import H5File
from tfmodels.checkpoints.formats.reader import TensorReader, missing_tensor
from tfmodels.checkpoints.formats.safetensors_file import SafetensorsFile
from tfmodels.checkpoints.formats.tf_flax_names import reference_name
from tfmodels.checkpoints.formats.torch_file import TorchFile

FLAX_FILES = ("flax_model.msgpack", "flax_model.msgpack.index.json")
# In the order of preference.
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "tf_model.h5",
    *FLAX_FILES,
)
_READERS: dict[str, Callable[[Path], TensorReader]] = {
    ".safetensors": SafetensorsFile,
    ".bin": TorchFile,
    ".h5": H5File,
    ".msgpack": FlaxFile,
}


def open_checkpoint(folder: str | os.PathLike) -> TensorReader:
    """Open the weights in a folder, which are in the first of `WEIGHT_FILES` that exists.

    Args:
        folder: a folder of `save_pretrained` or from the hub.

    Raises:
        FileNotFoundError: no such folder, or none of these files in it.
        ValueError: a broken file, or an index with files outside the folder, missing files, or tensors that are not in
            its files.

    >>> import tempfile
    >>> from tfmodels.checkpoints import write_safetensors
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_safetensors(folder / "model.safetensors", {"weight": np.ones((2,), "float32")})
    >>> with open_checkpoint(folder) as checkpoint:
    ...     checkpoint.read("weight")
    array([1., 1.], dtype=float32)
    """
    return open_weights(weights_path(folder))


def weights_path(folder: str | os.PathLike) -> Path:
    """The path of the first of `WEIGHT_FILES` that is in the folder.

    Raises:
        FileNotFoundError: no such folder, or none of these files in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"folder must be an existing folder. Received: folder={str(folder)!r}")
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return folder / name
    names = sorted(entry.name for entry in folder.iterdir())
    listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "") if names else "nothing"
    raise FileNotFoundError(f"folder must hold one of {', '.join(WEIGHT_FILES)}. Received: {folder} with {listed}")


def open_weights(path: Path) -> TensorReader:
    """Open one of the files that `WEIGHT_FILES` names, or a shard.

    Raises:
        ValueError: a broken file, or a broken shard of an index.
    """
    return ShardedCheckpoint(path) if path.suffix == ".json" else _READERS[path.suffix](path)


class ShardedCheckpoint(TensorReader):
    """Tensors spread over several files, by the `weight_map` of an index file beside them.

    Args:
        index_path: the index, named `*.safetensors.index.json`, `*.bin.index.json` or `*.msgpack.index.json`.

    Raises:
        ValueError: an index of another form, a shard that is missing or lies in another folder, a tensor that is not in
            its shard, or a tensor in two shards.
    """

    def __init__(self, index_path: str | os.PathLike) -> None:
        self._path = Path(index_path)
        weight_map = _read_weight_map(self._path)
        shard_paths = {shard: _shard_path(self._path, shard) for shard in sorted(set(weight_map.values()))}
        missing = [shard for shard, path in shard_paths.items() if not path.is_file()]
        if missing:
            raise ValueError(f"{self._path} must name files beside it. Received: {missing}, which are missing")
        self._shards: list[TensorReader] = []
        self._shard_of: dict[str, TensorReader] = {}
        try:
            for shard, path in shard_paths.items():
                self._add(shard, open_weights(path), weight_map)
        except BaseException:
            self.close()
            raise

    def names(self) -> list[str]:
        return sorted(self._shard_of)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._reader(name).shape(name)

    def dtype(self, name: str) -> np.dtype:
        return self._reader(name).dtype(name)

    def read(self, name: str) -> np.ndarray:
        return self._reader(name).read(name)

    def close(self) -> None:
        for reader in self._shards:
            reader.close()

    def _add(self, shard: str, reader: TensorReader, weight_map: dict[str, str]) -> None:
        self._shards.append(reader)
        held = set(reader.names())
        absent = sorted(name for name, place in weight_map.items() if place == shard and name not in held)
        if absent:
            raise ValueError(f"{self._path} must say where each tensor is. Received: {absent[:5]} are not in {shard}")
        for name in held:
            if name in self._shard_of:
                raise ValueError(f"{self._path} must hold each tensor once. Received: {name!r} in two files")
            # Tensors that the index forgets are kept too, as loading accounts for every tensor.
            self._shard_of[name] = reader

    def _reader(self, name: str) -> TensorReader:
        if name not in self._shard_of:
            raise missing_tensor(name, self.names(), self._path)
        return self._shard_of[name]


def _read_weight_map(path: Path) -> dict[str, str]:
    try:
        index = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} must be JSON. Received: {error}") from None
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise ValueError(f"{path} must hold a weight_map of tensor names to file names. Received: {weight_map!r:.80}")
    for name, shard in weight_map.items():
        if not isinstance(shard, str):
            raise ValueError(f"{path}: weight_map[{name!r:.80}] must be a file name. Received: {shard!r:.80}")
    if _shard_suffix(path) == ".msgpack":
        # Flax's index names the tensors as Flax does, "encoder/block/0/.../kernel".
        return {reference_name(name.split("/"))[0]: shard for name, shard in weight_map.items()}
    return weight_map


def _shard_suffix(index_path: Path) -> str:
    return Path(index_path.name.removesuffix(".index.json")).suffix


def _shard_path(index_path: Path, shard: str) -> Path:
    suffix = _shard_suffix(index_path)
    is_inside = not any(character in shard for character in "/\\:\0") and not shard.startswith(".")
    if not is_inside or not shard.endswith(suffix):
        raise ValueError(
            f"{index_path}: weight_map must name {suffix} files in the same folder, without separators. "
            f"Received: {shard!r:.80}"
        )
    return index_path.parent / shard
