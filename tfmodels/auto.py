"""From a folder to the model and tokenizer that its `config.json` names."""

import os
from pathlib import Path
from typing import Any

from tfmodels.led.models import (
    LEDForConditionalGeneration,
    LEDForQuestionAnswering,
    LEDForSequenceClassification,
)
from tfmodels.led.tokenizer import LEDTokenizer
from tfmodels.longt5.models import (
    LongT5ForConditionalGeneration,
    LongT5ForQuestionAnswering,
    LongT5ForSequenceClassification,
)
from tfmodels.longt5.tokenizer import LongT5Tokenizer
from tfmodels.utils.files import read_json_object
from tfmodels.utils.hub import local_folder

FAMILIES: dict[str, tuple[Any, Any]] = {
    "led": (LEDForConditionalGeneration, LEDTokenizer),
    "longt5": (LongT5ForConditionalGeneration, LongT5Tokenizer),
}
_OTHER_HEADS: dict[str, tuple[Any, ...]] = {
    "led": (LEDForSequenceClassification, LEDForQuestionAnswering),
    "longt5": (LongT5ForSequenceClassification, LongT5ForQuestionAnswering),
}


def load_pretrained(name_or_folder: str | os.PathLike[str], dtype: Any = None) -> tuple[Any, Any]:
    """The model and tokenizer of a folder or hub id, whatever its family and head.

    Raises:
        ValueError: no such checkpoint, or one of a family that is not here.
    """
    folder = local_folder(name_or_folder)
    model_class, tokenizer_class = family_of(folder)
    return model_class.from_pretrained(folder, dtype=dtype), tokenizer_class.from_pretrained(folder)


def family_of(folder: Path) -> tuple[Any, Any]:
    """Model and tokenizer class of the family and head that `config.json` names; without one, a language model's."""
    path = folder / "config.json"
    try:
        config = read_json_object(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"name_or_folder must hold a config.json. Received: {os.fspath(folder)} ({error})") from None
    model_type, architectures = config.get("model_type"), config.get("architectures") or ()
    if model_type not in FAMILIES:
        raise ValueError(f"model_type must be one of {sorted(FAMILIES)}. Received: {model_type!r} in {path}")
    language_model, tokenizer_class = FAMILIES[model_type]
    named = [head for head in _OTHER_HEADS[model_type] if head.__name__ in architectures]
    return (named or [language_model])[0], tokenizer_class
