"""The YAML on top of a model card, in the fields that model hubs read."""

import json
from collections.abc import Mapping
from typing import Any


def front_matter(fields: Mapping[str, Any]) -> str:
    """The fields between two lines of dashes, without those that are None; JSON's values are YAML's.

    Raises:
        ValueError: a value that JSON does not have.

    >>> print(front_matter({"license": "mit", "language": None, "tags": ["led"]}))
    ---
    license: "mit"
    tags: ["led"]
    ---
    """
    try:
        lines = [
            f"{name}: {json.dumps(value, allow_nan=False, ensure_ascii=False)}"
            for name, value in fields.items()
            if value is not None
        ]
    except (TypeError, ValueError) as error:
        raise ValueError(f"fields of a card must be such as JSON has. Received: {dict(fields)!r} ({error})") from None
    return "\n".join(["---", *lines, "---"])
