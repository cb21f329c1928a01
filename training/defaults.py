"""The settings that a run chooses for itself, by its model: the papers' for a checkpoint, a small model's from scratch.

Nothing here imports Keras or TensorFlow.
"""

import dataclasses
import difflib
import functools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tfmodels.utils.files import read_json_object
from tfmodels.utils.hub import local_folder, packaged_models
from training.config import Config, flat, replaced

_FILE = Path(__file__).parent / "recipes" / "defaults.yaml"
_SCRATCH, _PRETRAINED, _CHECKPOINT, _OTHER = "scratch", "pretrained", "checkpoint", "other"


@dataclasses.dataclass(frozen=True)
class ModelSource:
    """Where a run's model comes from.

    Attributes:
        name: the setting `model`.
        model_type: the family.
        folder: the checkpoint's folder; None for a model from scratch.
        config: the checkpoint's `config.json`.
        is_ours: whether it is a small trained model that comes with this package.
    """

    name: str
    model_type: str
    folder: Path | None = None
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    is_ours: bool = False


@functools.cache
def table() -> dict[str, Any]:
    """The contents of `recipes/defaults.yaml`.

    >>> table()["checkpoint"]["led"]["learning_rate"]["adamw"]
    3e-05
    """
    return yaml.safe_load(_FILE.read_text(encoding="utf-8"))


def find_model(name: str) -> ModelSource:
    """The model of a name, without reading weights.

    Raises:
        ValueError: no small model, folder or hub id of this name.

    >>> find_model("led-tiny").folder is None
    True
    """
    presets, ours = table()["presets"], packaged_models()
    if name in presets:
        return ModelSource(name, presets[name])
    if "/" not in name and not Path(name).is_dir() and name not in ours:
        names = sorted([*presets, *ours])
        nearest = difflib.get_close_matches(name, names, 1)
        hint = f" (did you mean {nearest[0]}?)" if nearest else ""
        raise ValueError(
            f"model must be a folder, a hub id such as OWNER/NAME, or one of {', '.join(names)}. "
            f"Received: model={name!r}{hint}"
        )
    folder = local_folder(name)
    try:
        config = read_json_object(folder / "config.json")
    except OSError as error:
        raise ValueError(f"model must be a folder with a config.json. Received: model={name!r} ({error})") from None
    model_type = config.get("model_type")
    if model_type not in _families():
        raise ValueError(
            f"model must be of a family that is known: {', '.join(sorted(_families()))}. "
            f"Received: model={name!r}, whose config.json has model_type={model_type!r}"
        )
    return ModelSource(name, str(model_type), folder, config, name in ours)


def _families() -> set[str]:
    """The families of `tfmodels.auto`, further ones too where a program has added them; it would import Keras."""
    auto = sys.modules.get("tfmodels.auto")
    return set(table()["presets"].values() if auto is None else auto.FAMILIES)


def defaults_for(source: ModelSource, optimizer: str | None = None) -> dict[str, Any]:
    """The default settings of a model by their dotted names.

    Args:
        source: the model.
        optimizer: the optimizer of the run, if it is not the default one: each has a learning rate of its own.

    >>> defaults_for(ModelSource("google/long-t5-tglobal-base", "longt5", Path(".")))["optim.name"]
    'adafactor'
    """
    kind = _PRETRAINED if source.is_ours else _CHECKPOINT
    families = table()[_SCRATCH if source.folder is None else kind]
    values = families.get(source.model_type, families[_OTHER])
    names = {
        f"{group}.{key}": tuple(value) if isinstance(value, list) else value
        for group, entries in values.items()
        if group != "learning_rate"
        for key, value in entries.items()
    }
    names["optim.learning_rate"] = values["learning_rate"][optimizer or names["optim.name"]]
    longest = source.config.get("max_encoder_position_embeddings")
    if longest is not None:
        fitting = [length for length in names["lengths.source"] if length <= longest] or [longest]
        names["lengths.source"] = tuple(fitting)
    limit = source.config.get("max_decoder_position_embeddings")
    if limit is not None:
        names["lengths.target"] = min(names["lengths.target"], limit)
    names["evaluation.batch_tokens"] = names["lengths.batch_tokens"]
    return names


def resolve(config: Config, source: ModelSource) -> tuple[Config, dict[str, Any]]:
    """Fill in what is None by the model's defaults; return the config and the values chosen here."""
    defaults = defaults_for(source, config.optim.name)
    given = flat(config)
    if given["lengths.batch_tokens"] is not None:
        defaults["evaluation.batch_tokens"] = given["lengths.batch_tokens"]
    if config.steps.max_steps is not None or config.steps.max_minutes is not None:
        # The data is repeated as often as it takes.
        defaults.pop("steps.epochs")
    if given["lengths.source"] is not None and given["lengths.batch_tokens"] is None:
        for name in ("lengths.batch_tokens", "evaluation.batch_tokens"):
            defaults[name] = max(defaults[name], *given["lengths.source"])
    chosen = {name: value for name, value in defaults.items() if given[name] is None}
    return replaced(config, chosen), chosen
