"""The model card (`README.md`) beside a saved model: what it is, and how to load it."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfmodels.utils.files import final_name, written_whole
from tfmodels.utils.front_matter import front_matter
from tfmodels.utils.hub import hub_id_of

FILE_NAME = "README.md"
# Under which transformers keeps what a model was loaded from.
_SOURCE_KEY = "_name_or_path"
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")


def with_source(config: Any, name_or_folder: str | os.PathLike[str]) -> Any:
    """The config of a model that is loaded from `name_or_folder`, with the hub id if it has one."""
    hub_id = hub_id_of(name_or_folder)
    return config if hub_id is None else config.replace(extra={**config.extra, _SOURCE_KEY: hub_id})


def write_card(
    model: Any,
    folder: Path,
    name: str | None = None,
    card: Mapping[str, Any] | None = None,
    source: str | None = None,
) -> None:
    """Write the card of a model into a folder; an earlier one stays.

    Args:
        model: a model or encoder.
        folder: the folder.
        name: the model's name; None: the folder's.
        card, source: see `model_card`.
    """
    path = folder / FILE_NAME
    if not path.exists():
        text = model_card(model, name or final_name(folder), card or {}, source)
        with written_whole(path) as partial:
            partial.write_text(text, encoding="utf-8")


def model_card(model: Any, name: str, card: Mapping[str, Any], source: str | None = None) -> str:
    """The card in Markdown.

    Args:
        model: a model or encoder.
        name: the model's name, or its id on a hub.
        card: fields of the front matter besides those that the model tells, such as `license`, `language`, `datasets`,
            `base_model`; `metrics` as {name: value} also makes a table.
        source: the folder or hub id to load it from; None: its name.

    Raises:
        ValueError: a card that is no such mapping.
    """
    fields = _fields(model, name, card)
    kind = type(model).__name__
    loading = json.dumps(name if source is None else source)
    return f"""{front_matter(fields)}
# {name}

`{kind}` of [Keras](https://keras.io) with {model.num_parameters():,} weights, {_length(model.config)}.{_base(fields)}

```python
import tfmodels

model = tfmodels.{kind}.from_pretrained({loading})
```

transformers reads the same files: `{model.reference_name or kind}`.
{_table(card.get("metrics"))}"""


def _fields(model: Any, name: str, card: Mapping[str, Any]) -> dict[str, Any]:
    """The front matter: what the model tells, and over it what the caller says."""
    if not isinstance(card, Mapping) or not all(isinstance(key, str) for key in card):
        raise ValueError(f"card must be a mapping of the front matter's fields. Received: card={card!r}")
    front_matter(card)  # an error names all of it
    metrics, config = card.get("metrics"), model.config
    source = config.extra.get(_SOURCE_KEY)
    fields = {
        "license": None,
        "language": None,
        "base_model": source if isinstance(source, str) and _HUB_ID.fullmatch(source) else None,
        "library_name": "tfmodels",
        "pipeline_tag": model.pipeline_tag,
        "tags": [config.model_type, "keras", "transformers", "long-document"],
        **card,
    }
    if isinstance(metrics, Mapping):
        fields["metrics"] = list(metrics)
        fields |= _results(name, fields, metrics)
    return fields


def _results(name: str, fields: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics in the form in which hubs compare models; it needs a data set."""
    datasets = fields.get("datasets")
    if not datasets:
        return {}
    dataset = datasets if isinstance(datasets, str) else datasets[0]
    result = {
        "task": {"type": fields["pipeline_tag"]},
        "dataset": {"name": dataset, "type": dataset},
        "metrics": [{"type": metric, "value": value} for metric, value in metrics.items()],
    }
    return {"model-index": [{"name": name, "results": [result]}]}


def _base(fields: Mapping[str, Any]) -> str:
    base = fields["base_model"]
    return "" if base is None else f" It comes from `{base if isinstance(base, str) else ', '.join(base)}`."


def _length(config: Any) -> str:
    limit = getattr(config, "max_encoder_position_embeddings", None)
    return "for documents of any length" if limit is None else f"for documents of up to {limit:,} tokens"


def _table(metrics: Any) -> str:
    if not isinstance(metrics, Mapping):
        return ""
    rows = "".join(f"| {name} | {value} |\n" for name, value in metrics.items())
    return f"\n## Figures\n| metric | value |\n| --- | --- |\n{rows}"
