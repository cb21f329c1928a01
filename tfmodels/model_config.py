"""What the configs of all families share: the reference's `config.json`, read, checked, kept and written."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from tfmodels.files import read_json_object, write_json


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Base of `LEDConfig` and `LongT5Config`: a frozen dataclass with the reference's field names.

    Keys of a `config.json` that the family does not know are kept in `extra` and written back.

    Raises:
        ValueError: from subclasses, naming the field, the rule and what was received.
    """

    model_type: ClassVar[str] = ""
    architecture: ClassVar[str] = ""

    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Config from the keys of a `config.json`; `ValueError` when it belongs to another family."""
        values = {**values.get("extra", {}), **{key: value for key, value in values.items() if key != "extra"}}
        found = values.pop("model_type", cls.model_type)
        if found != cls.model_type:
            raise ValueError(
                f"model_type must be {cls.model_type!r} for {cls.__name__}. Received: model_type={found!r}"
            )
        names = {field.name for field in dataclasses.fields(cls)} - {"extra"}
        known = {key: value for key, value in values.items() if key in names}
        return cls(**known, extra={key: value for key, value in values.items() if key not in names})

    @classmethod
    def from_json(cls, path: str | os.PathLike[str]) -> Self:
        """Config from a `config.json` file; `ValueError` when it is not a JSON object."""
        return cls.from_dict(read_json_object(path))

    def to_dict(self) -> dict[str, Any]:
        """The keys of a `config.json`, unknown ones included."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "extra"}
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
        named = {"model_type": self.model_type, "architectures": [self.architecture], "is_encoder_decoder": True}
        return {**named, **self.extra, **values}

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write a `config.json` file, whole or not at all."""
        write_json(path, self.to_dict())

    def replace(self, **changes: Any) -> Self:
        """A config with some fields changed; unknown names are a `ValueError`."""
        names = {field.name for field in dataclasses.fields(self)}
        unknown = sorted(set(changes) - names)
        if unknown:
            raise ValueError(f"overrides must be fields of {type(self).__name__}. Received: {', '.join(unknown)}")
        return dataclasses.replace(self, **changes)


def config_of(config_class: type[ModelConfig], config: Any) -> Any:
    """`config` itself, or the config that a saved `.keras` file holds as a dict; `ValueError` for anything else."""
    if isinstance(config, config_class):
        return config
    if isinstance(config, dict):
        return config_class.from_dict(config)
    raise ValueError(f"config must be a {config_class.__name__}. Received: config={config!r}")
