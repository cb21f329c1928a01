"""Classes named in Keras' files, found before their modules are imported.

A `.keras` file names its classes as "tfmodels>LEDEncoder". Keras looks such a name up in its registry, which a class
enters when its module is imported, and imports no module itself. So each name is announced with a stand-in that
imports the class on the first access; the class then takes its place.
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras


def announce_saved_classes(package: str, classes: Mapping[str, Sequence[str]]) -> None:
    """Enter a stand-in for every class whose module is not imported yet.

    Args:
        package: the package in the registered names.
        classes: by module, the names of the classes that `keras.saving.register_keras_serializable` decorates there.
    """
    registry = keras.saving.get_custom_objects()
    for module, names in classes.items():
        for name in names:
            registry.setdefault(f"{package}>{name}", _ClassOnFirstUse(module, name))


class _ClassOnFirstUse:
    """A stand-in for a class in Keras' registry, which delegates attributes and calls to it."""

    def __init__(self, module: str, name: str):
        self._module = module
        self._name = name

    def _import(self) -> Any:
        return getattr(importlib.import_module(self._module), self._name)

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):  # copies and inspection, which need no class
            raise AttributeError(attribute)
        return getattr(self._import(), attribute)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._import()(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<{self._module}.{self._name}, not imported yet>"
