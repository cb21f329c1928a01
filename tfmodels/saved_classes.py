"""Classes in Keras' files, found there before their modules are imported.

A `.keras` file names its classes as "tfmodels>LEDEncoder". Keras looks such a name up in its registry, which a class
enters when its module is imported, and imports no module itself. So each name is announced with a stand-in that
imports the class when Keras first asks it for something; the class then takes its place.
"""

import importlib
from typing import Any

import keras

PACKAGE = "tfmodels"
# By module: the classes that `keras.saving.register_keras_serializable` decorates there.
SAVED_CLASSES = {
    "tfmodels.layers.attention.cached_attention": ("CachedAttention",),
    "tfmodels.layers.attention.longformer_self_attention": ("LongformerSelfAttention",),
    "tfmodels.layers.attention.longt5_local_self_attention": ("LongT5LocalSelfAttention",),
    "tfmodels.layers.attention.longt5_transient_global_self_attention": ("LongT5TransientGlobalSelfAttention",),
    "tfmodels.layers.attention.relative_position": ("RelativePositionBias",),
    "tfmodels.layers.feed_forward": ("FeedForward",),
    "tfmodels.layers.normalization": ("ScaledRMSNormalization",),
    "tfmodels.led.decoder": ("LEDDecoder",),
    "tfmodels.led.encoder": ("LEDEncoder", "PaddedNormal"),
    "tfmodels.led.models": (
        "LEDForConditionalGeneration",
        "LEDForQuestionAnswering",
        "LEDForSequenceClassification",
        "LEDModel",
    ),
    "tfmodels.longt5.decoder": ("LongT5Decoder",),
    "tfmodels.longt5.encoder": ("LongT5Encoder",),
    "tfmodels.longt5.models": (
        "LongT5ForConditionalGeneration",
        "LongT5ForQuestionAnswering",
        "LongT5ForSequenceClassification",
        "LongT5Model",
    ),
    "tfmodels.text.layers": ("DetokenizerLayer", "TokenizerLayer"),
}


def announce_saved_classes() -> None:
    """Enter a stand-in for every class whose module is not imported yet."""
    registry = keras.saving.get_custom_objects()
    for module, names in SAVED_CLASSES.items():
        for name in names:
            registry.setdefault(f"{PACKAGE}>{name}", _ClassOnFirstUse(module, name))


class _ClassOnFirstUse:
    """Stands in Keras' registry for a class, and passes on what it is asked."""

    def __init__(self, module: str, name: str):
        self._module = module
        self._name = name

    def _import(self) -> Any:
        return getattr(importlib.import_module(self._module), self._name)

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):  # asked for by copies and inspection, which need no class
            raise AttributeError(attribute)
        return getattr(self._import(), attribute)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._import()(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<{self._module}.{self._name}, not imported yet>"
