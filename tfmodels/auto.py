"""The families, and the model and tokenizer for a folder's `config.json`.

A further family is one folder beside `led`, and one entry here.
"""

import os
from pathlib import Path
from typing import Any

from tfmodels.led import FAMILY as LED
from tfmodels.longt5 import FAMILY as LONGT5
from tfmodels.modeling.family import Family
from tfmodels.utils.files import read_json_object
from tfmodels.utils.hub import local_folder

FAMILIES: dict[str, Family] = {family.model_type: family for family in (LED, LONGT5)}
"""The families by transformers' name of each, the `model_type` of a `config.json`."""


def load_pretrained(name_or_folder: str | os.PathLike[str], dtype: Any = None) -> tuple[Any, Any]:
    """The model and tokenizer of a folder or hub id, whatever its family and head.

    Raises:
        ValueError: no such checkpoint, or one of an unknown family.
    """
    folder = local_folder(name_or_folder)
    model_class, tokenizer_class = classes_of(folder)
    return model_class.from_pretrained(folder, dtype=dtype), tokenizer_class.from_pretrained(folder)


def classes_of(folder: Path) -> tuple[Any, Any]:
    """Model and tokenizer class of the family and head that `config.json` names; without a head, a language model's.

    Raises:
        ValueError: no `config.json`, or one of an unknown family.
    """
    path = folder / "config.json"
    try:
        config = read_json_object(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"name_or_folder must hold a config.json. Received: {os.fspath(folder)} ({error})") from None
    model_type = config.get("model_type")
    if model_type not in FAMILIES:
        raise ValueError(f"model_type must be one of {sorted(FAMILIES)}. Received: {model_type!r} in {path}")
    family = FAMILIES[model_type]
    return family.model_named(config.get("architectures")), family.tokenizer
