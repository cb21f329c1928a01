"""Small models to train from scratch, by name."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from tfmodels.auto import FAMILIES
from tfmodels.modeling.family import Family


@dataclasses.dataclass(frozen=True)
class Preset:
    """A family and the config fields of a model in it; the vocabulary is trained with it."""

    family: Family
    fields: Mapping[str, Any]

    def train_tokenizer(self, texts: Sequence[str], vocab_size: int) -> Any:
        """A tokenizer trained on `texts`."""
        return self.family.tokenizer.train_from_iterator(texts, vocab_size)  # type: ignore[attr-defined]

    def create_model(self, tokenizer: Any, dtype: Any = None, **overrides: Any) -> Any:
        """A model with random weights for a tokenizer; `overrides` are fields of its config."""
        config = self.family.config(vocab_size=tokenizer.vocab_size, **{**self.fields, **overrides})
        return self.family.models["language_model"](config, dtype=dtype)


PRESETS: dict[str, Preset] = {
    f"{name}-{size}": Preset(family, {**sizes, **fields})
    for family in FAMILIES.values()
    for name, fields in family.variants.items()
    for size, sizes in family.sizes.items()
}
