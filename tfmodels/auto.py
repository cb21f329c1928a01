"""From a folder to the model and tokenizer that its `config.json` names."""

import os
from pathlib import Path
from typing import Any

from tfmodels.files import read_json_object
from tfmodels.hub import local_folder
from tfmodels.led.models import LEDForConditionalGeneration
from tfmodels.longt5.models import LongT5ForConditionalGeneration
from tfmodels.text import LEDTokenizer, LongT5Tokenizer

FAMILIES: dict[str, tuple[Any, Any]] = {
    "led": (LEDForConditionalGeneration, LEDTokenizer),
    "longt5": (LongT5ForConditionalGeneration, LongT5Tokenizer),
}


def load_pretrained(name_or_folder: str | os.PathLike[str], dtype: Any = None) -> tuple[Any, Any]:
    """The model and tokenizer of a folder or hub id, whatever its family.

    Raises:
        ValueError: no such checkpoint, or one of a family that is not here.
    """
    folder = local_folder(name_or_folder)
    model_class, tokenizer_class = family_of(folder)
    return model_class.from_pretrained(folder, dtype=dtype), tokenizer_class.from_pretrained(folder)


def family_of(folder: Path) -> tuple[Any, Any]:
    """Model and tokenizer class of the family that `config.json` names."""
    path = folder / "config.json"
    try:
        model_type = read_json_object(path).get("model_type")
    except (OSError, ValueError) as error:
        raise ValueError(f"name_or_folder must hold a config.json. Received: {os.fspath(folder)} ({error})") from None
    if model_type not in FAMILIES:
        raise ValueError(f"model_type must be one of {sorted(FAMILIES)}. Received: {model_type!r} in {path}")
    return FAMILIES[model_type]
