"""JSON without NaN and infinities, which not every reader takes."""

import json
import math
from collections.abc import Mapping
from typing import Any


def finite(values: Any) -> Any:
    """`values` with null in place of NaN and infinities, at any depth.

    >>> finite({"loss": [0.5, float("nan")]})
    {'loss': [0.5, None]}
    """
    if isinstance(values, Mapping):
        return {name: finite(value) for name, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def dumped(values: Any, **options: Any) -> str:
    """As `json.dumps`; `ValueError` for NaN and infinities."""
    try:
        return json.dumps(values, allow_nan=False, **options)
    except ValueError as error:
        raise ValueError(f"values must be such as JSON has, no NaN and no infinity. Received: {error}") from None
