"""Several devices under JAX: where each weight lies, and an encoder whose document is divided."""

from tfmodels.distribution.layout import layout_map
from tfmodels.distribution.length import ShardedEncoder

__all__ = ["ShardedEncoder", "layout_map"]
