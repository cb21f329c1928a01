"""Several devices under JAX: where each weight lies, and an encoder whose document is divided."""

from tfmodels.distribution.layout import layout_map

__all__ = ["layout_map"]
