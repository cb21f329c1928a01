"""Base class of the configs: transformers' `config.json`, read, checked, kept and written."""

import dataclasses
import os
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

from tfmodels.layers.attention.heads import check_heads
from tfmodels.modeling.config_keys import (
    check_refused,
    remarks,
    resolved,
    without_bare_numbers,
    without_labels_that_differ,
)
from tfmodels.utils.checks import check_positive
from tfmodels.utils.files import read_json_object, write_json
from tfmodels.utils.plain_values import plain, whole_number

FieldCheck = Callable[[str, Any], None]
"""(field name, value); raises `ValueError` for a value out of range."""
MOST_LABELS = 100_000
TOKEN_IDS = ("pad_token_id", "eos_token_id", "decoder_start_token_id")
PROBLEM_TYPES = (None, "regression", "single_label_classification", "multi_label_classification")

_CHECKED_TYPES: dict[Any, tuple[type, ...]] = {
    bool: (bool,),
    int: (int,),
    float: (int, float),
    str: (str,),
    int | None: (int, type(None)),
    str | None: (str, type(None)),
}


class RequestedOutputs(NamedTuple):
    """The outputs of a call besides its last hidden states or logits."""

    attentions: bool
    hidden_states: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Base class of the configs: a frozen dataclass with transformers' field names.

    Keys of a `config.json` that are unknown to the family are kept in `extra` and written back. NumPy scalars and
    arrays are converted to numbers and lists.

    Attributes:
        aliases: {second name of a field in a `config.json`: field}.
        ids_of_reference: special ids with a default in transformers' class of the family, so that null means none.
        field_checks: the check of each field by itself, in this order, after the type.
        eos_token_ids: all end tokens of generation if the file lists several; `eos_token_id` is the first.
        output_attentions, output_hidden_states: the defaults of a call's arguments of these names.
        gradient_checkpointing: start with blocks recomputed in the backward pass.
        num_labels: classes of a classification head; the length of `id2label` if the file has names.
        id2label, label2id: names of the classes; None: LABEL_0, LABEL_1, ...
        problem_type: "regression", "single_label_classification" or "multi_label_classification"; None: by the labels.
        pruned_heads: {encoder layer: pruned heads}.

    Raises:
        ValueError: a field of the wrong type or out of range; the message names the field, the rule and the value.
    """

    model_type: ClassVar[str] = ""
    aliases: ClassVar[Mapping[str, str]] = {}
    ids_of_reference: ClassVar[tuple[str, ...]] = ()
    field_checks: ClassVar[Mapping[str, FieldCheck]] = {}
    vocab_size: int = 1
    d_model: int = 1
    pad_token_id: int = 0
    eos_token_id: int = 1
    decoder_start_token_id: int = 0
    eos_token_ids: tuple[int, ...] = ()
    gradient_checkpointing: bool = False
    output_attentions: bool = False
    output_hidden_states: bool = False
    num_labels: int | None = None
    id2label: Mapping[int, str] | None = None
    label2id: Mapping[str, int] | None = None
    problem_type: str | None = None
    pruned_heads: Mapping[int, list[int]] = dataclasses.field(default_factory=dict)
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def min_parameters(self, with_decoder: bool) -> int:
        """The count of numbers in the matrices of a model's body, the least that a file with any head holds."""
        raise NotImplementedError

    @property
    def encoder_sizes(self) -> tuple[int, int]:
        """The number of encoder layers, and of heads in each."""
        raise NotImplementedError

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            # A frozen dataclass is normalised through its base's setter.
            object.__setattr__(self, field.name, plain(getattr(self, field.name), field.name))
            self._check_type(field.name, field.type)
        for name in TOKEN_IDS:
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more. Received: {name}={getattr(self, name)}")
        if self.problem_type not in PROBLEM_TYPES:
            raise ValueError(f"problem_type must be one of {PROBLEM_TYPES}. Received: {self.problem_type!r}")
        self._check_end_tokens()
        object.__setattr__(self, "pruned_heads", self._checked_pruned_heads(self.pruned_heads))
        self._name_labels()
        for name, check in self.field_checks.items():
            check(name, getattr(self, name))

    def _check_type(self, name: str, annotation: Any) -> None:
        types = _CHECKED_TYPES.get(annotation)
        value = getattr(self, name)
        if types is None:
            return
        is_huge = isinstance(value, (int, float)) and not abs(value) < 1e300  # also true for NaN
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types) or is_huge:
            expected = getattr(annotation, "__name__", str(annotation))
            raise ValueError(f"{name} must be of type {expected} and finite. Received: {name}={value!r:.80}")

    def _check_end_tokens(self) -> None:
        ids = self.eos_token_ids if isinstance(self.eos_token_ids, (list, tuple)) else (self.eos_token_ids,)
        ids = tuple(dict.fromkeys(ids)) or (self.eos_token_id,)
        if any(isinstance(token, bool) or not isinstance(token, int) or token < 0 for token in ids):
            raise ValueError(f"eos_token_id must be an id or a list of ids. Received: {list(ids)!r:.80}")
        if ids[0] != self.eos_token_id:
            raise ValueError(
                f"eos_token_ids must begin with eos_token_id={self.eos_token_id}. Received: eos_token_ids={ids!r:.80}"
            )
        object.__setattr__(self, "eos_token_ids", ids)

    def _name_labels(self) -> None:
        if self.num_labels is not None:
            check_positive("num_labels", self.num_labels)
            if self.num_labels > MOST_LABELS:
                raise ValueError(f"num_labels must be at most {MOST_LABELS}. Received: num_labels={self.num_labels}")
        names = self.id2label
        if names is None:
            names = {index: f"LABEL_{index}" for index in range(2 if self.num_labels is None else self.num_labels)}
        try:
            # Sorted by id: a file may sort its keys as text, with "10" before "2".
            names = dict(sorted((whole_number(index), str(name)) for index, name in names.items()))
        except (AttributeError, TypeError, ValueError):
            raise ValueError(f"id2label must map class ids to names. Received: id2label={names!r:.80}") from None
        if sorted(names) != list(range(len(names))) or self.num_labels not in (None, len(names)) or not names:
            raise ValueError(
                f"id2label must name the classes from 0 to num_labels - 1. Received: num_labels={self.num_labels}, "
                f"id2label={names!r:.80}"
            )
        object.__setattr__(self, "num_labels", len(names))
        object.__setattr__(self, "id2label", names)
        if not isinstance(self.label2id, (Mapping, type(None))):
            raise ValueError(f"label2id must map names to class ids. Received: label2id={self.label2id!r:.80}")
        if self.label2id is None:
            object.__setattr__(self, "label2id", {name: index for index, name in names.items()})

    def _checked_pruned_heads(self, pruned: Any) -> dict[int, list[int]]:
        layers, heads = self.encoder_sizes
        try:
            by_layer = {whole_number(layer): list(plain(pruned[layer])) for layer in pruned}
        except (TypeError, ValueError, LookupError):
            raise ValueError(f"pruned_heads must map layers to lists of heads. Received: {pruned!r:.80}") from None
        unknown = sorted(layer for layer in by_layer if not 0 <= layer < layers)
        if unknown:
            raise ValueError(f"pruned_heads must name layers from 0 to {layers - 1}. Received: layers {unknown}")
        return {layer: list(check_heads("pruned_heads", by_layer[layer], heads)) for layer in sorted(by_layer)}

    def with_pruned_heads(self, heads: Mapping[int, Sequence[int]]) -> Self:
        """The config with further heads pruned."""
        more = self._checked_pruned_heads(heads)
        pruned = {
            layer: sorted({*self.pruned_heads.get(layer, ()), *more.get(layer, ())})
            for layer in sorted({*self.pruned_heads, *more})
        }
        return self.replace(pruned_heads=pruned)

    def requested_outputs(
        self, output_attentions: bool | None, output_hidden_states: bool | None
    ) -> "RequestedOutputs":
        """The outputs that a call requests; None takes the config's setting."""
        return RequestedOutputs(
            bool(self.output_attentions if output_attentions is None else output_attentions),
            bool(self.output_hidden_states if output_hidden_states is None else output_hidden_states),
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Create a config from the keys of a `config.json`.

        Raises:
            ValueError: a config of another family, or an error of the class.

        Warns:
            UserWarning: keys of transformers that are not followed, see `tfmodels.modeling.config_keys`.
        """
        config, notes = cls._of_keys(values)
        _warn(notes, "the model's config")
        return config

    @classmethod
    def _of_keys(cls, keys: Mapping[str, Any]) -> tuple[Self, list[str]]:
        """The config, and remarks on the keys that it does not follow."""
        values: dict[str, Any] = {str(key): plain(value, str(key)) for key, value in keys.items()}
        model_type = values.pop("model_type", cls.model_type)
        if model_type != cls.model_type:
            raise ValueError(
                f"model_type must be {cls.model_type!r} for {cls.__name__}. Received: model_type={model_type!r}"
            )
        check_refused(values)
        notes = remarks(values)
        values.pop("is_encoder_decoder", None)  # true of every family, and written back
        for step in (cls.resolved_keys, without_labels_that_differ, cls._with_ids):
            values, more = step(values)
            notes += more
        names = {field.name for field in dataclasses.fields(cls)} - {"extra"}
        extra, more = without_bare_numbers({key: value for key, value in values.items() if key not in names})
        known = {key: value for key, value in values.items() if key in names}
        return cls(**known, extra=extra), notes + more

    @classmethod
    def resolved_keys(cls, values: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """The keys of a `config.json` under the names of the fields, and remarks on keys that are not followed."""
        return resolved(values, cls.aliases)

    @classmethod
    def _with_ids(cls, values: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """The keys with an id in place of null or a list, and remarks."""
        defaults = {field.name: field.default for field in dataclasses.fields(cls)}
        values, notes = dict(values), []
        values.pop("eos_token_ids", None)  # no key of transformers
        ends = values.get("eos_token_id")
        if isinstance(ends, list) and ends:
            values["eos_token_id"], values["eos_token_ids"] = ends[0], tuple(ends)
        for name in TOKEN_IDS:
            if name not in values or values[name] is not None:
                continue
            # Generation without a start token begins with this one.
            first = values.get("bos_token_id") if name == "decoder_start_token_id" else None
            values[name] = defaults[name] if first is None else first
            if name in cls.ids_of_reference:
                notes.append(f"{name}=None: {values[name]} is taken for it")
        return values, notes

    @classmethod
    def from_json(cls, path: str | os.PathLike[str]) -> Self:
        """Read a `config.json` file, see `from_dict`; errors and warnings name the file."""
        values = read_json_object(path)
        try:
            config, notes = cls._of_keys(values)
        except ValueError as error:
            raise ValueError(f"{error} (in {os.fspath(path)})") from None
        _warn(notes, os.fspath(path))
        return config

    def to_dict(self, architecture: str | None = None) -> dict[str, Any]:
        """The keys of a `config.json`, with `extra`; `architecture` is transformers' name of the model."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "extra"}
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
        # Keys of JSON are strings, and Keras' files are JSON too.
        values["id2label"] = {str(index): name for index, name in values["id2label"].items()}
        del values["num_labels"]  # the number of names, as in transformers' files
        ends = values.pop("eos_token_ids")
        values["eos_token_id"] = self.eos_token_id if len(ends) == 1 else list(ends)
        if not values["gradient_checkpointing"]:
            del values["gradient_checkpointing"]  # newer versions of transformers read it, but do not write it
        values["pruned_heads"] = {str(layer): heads for layer, heads in values["pruned_heads"].items()}
        named = {"model_type": self.model_type, "is_encoder_decoder": True}
        architectures = {} if architecture is None else {"architectures": [architecture]}
        return {**named, **self.extra, **values, **architectures}

    @property
    def written_out(self) -> dict[str, Any]:
        """The fields of a file whose None means another field's value, for programs that do not know that."""
        return {}

    def to_json(self, path: str | os.PathLike[str], architecture: str | None = None, dtype: str | None = None) -> None:
        """Write a `config.json` file, whole or not at all.

        Args:
            path: the file.
            architecture: transformers' name of the model, or None.
            dtype: the dtype of the weights beside the file, or None.
        """
        values = {**self.to_dict(architecture), **self.written_out}
        if dtype is not None:
            values = {key: value for key, value in values.items() if key != "dtype"} | {"torch_dtype": dtype}
        write_json(path, values)

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed; `ValueError` for an unknown field."""
        names = {field.name for field in dataclasses.fields(self)}
        unknown = sorted(set(changes) - names)
        if unknown:
            raise ValueError(f"overrides must be fields of {type(self).__name__}. Received: {', '.join(unknown)}")
        if "num_labels" in changes and changes["num_labels"] != self.num_labels:
            changes = {"id2label": None, "label2id": None, **changes}
        elif "id2label" in changes:
            changes = {"num_labels": None, "label2id": None, **changes}
        if "eos_token_id" in changes:
            changes = {"eos_token_ids": (), **changes}
        try:
            return dataclasses.replace(self, **changes)
        except ValueError as error:
            # The fields of the broken rule that the caller did not change.
            kept = sorted(name for name in names - set(changes) if re.search(rf"\b{name}\b", str(error)))
            values = ", ".join(f"{name}={getattr(self, name)!r:.80}" for name in kept)
            raise ValueError(f"{error} (the config to be changed has {values})" if kept else str(error)) from None


def _warn(notes: list[str], source: str) -> None:
    if notes:
        warnings.warn(f"These keys of {source} are not followed as they stand: {'; '.join(notes)}", stacklevel=3)


def config_of(config_class: type[ModelConfig], config: Any) -> Any:
    """`config` itself, or a config from a dict (of a saved `.keras` file) or from transformers' object.

    Raises:
        ValueError: a value of another type, or an error of `ModelConfig.from_dict`.
    """
    if isinstance(config, config_class):
        return config
    if isinstance(config, dict):
        # Without warnings: they came when the original file was read.
        return config_class._of_keys(config)[0]
    as_dict = None if isinstance(config, (ModelConfig, type)) else getattr(config, "to_dict", None)
    keys = as_dict() if callable(as_dict) else None
    if isinstance(keys, Mapping):
        return config_class.from_dict(keys)
    raise ValueError(f"config must be a {config_class.__name__}. Received: config={config!r}")
