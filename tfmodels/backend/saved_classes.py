"""Classes named in Keras' files, found before their modules are imported.

A `.keras` file names its classes as "tfmodels>LEDEncoder". Keras looks such a name up in its registry, which a class
enters when its module is imported, and imports no module itself. So each name is announced with a stand-in that
imports the class on the first access; the class then takes its place.

Keras takes seconds to import. Programs that check their arguments first, and readers of files, import this library
without it: the names are then announced when Keras is imported.
"""

import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_KERAS = "keras"


def announce_saved_classes(package: str, classes: Mapping[str, Sequence[str]]) -> None:
    """Enter a stand-in for every class whose module is not imported yet, now or when Keras is imported.

    Args:
        package: the package in the registered names.
        classes: by module, the names of the classes that `keras.saving.register_keras_serializable` decorates there.
    """
    if hasattr(sys.modules.get(_KERAS), "saving"):
        _enter(package, classes)
    else:
        sys.meta_path.insert(0, _AfterImport(_KERAS, lambda: _enter(package, classes)))


def _enter(package: str, classes: Mapping[str, Sequence[str]]) -> None:
    import keras

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


class _AfterImport(importlib.abc.MetaPathFinder):
    """Call a function once, after a module is imported."""

    def __init__(self, module: str, function: Callable[[], None]):
        self._module = module
        self._function = function

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Find the module as if this finder were not there, and wrap its loader."""
        if name != self._module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _ThenCall(spec.loader, self._function)
        return spec


class _ThenCall(importlib.abc.Loader):
    """A module's own loader, and a call after it."""

    def __init__(self, loader: Any, function: Callable[[], None]):
        self._loader = loader
        self._function = function

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the module's own loader."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module, then the call."""
        self._loader.exec_module(module)
        spec = module.__spec__
        if spec is not None:
            spec.loader = module.__loader__ = self._loader
        self._function()
