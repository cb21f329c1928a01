"""The YAML on top of a model card, in the fields that model hubs read."""

import json
import re
from collections.abc import Mapping
from typing import Any

_LINE = "---"
# Inside JSON's strings YAML takes these as line breaks, or not at all; half of a pair has no UTF-8 form either.
_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


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
            f"{name}: {_NOT_IN_YAML.sub(_escaped, json.dumps(value, allow_nan=False, ensure_ascii=False))}"
            for name, value in fields.items()
            if value is not None
        ]
    except (TypeError, ValueError) as error:
        raise ValueError(f"fields of a card must be such as JSON has. Received: {dict(fields)!r} ({error})") from None
    return "\n".join([_LINE, *lines, _LINE])


def parted(card: str) -> tuple[dict[str, Any], str]:
    """The fields of a card that `front_matter` wrote, and the text below; no fields of a card of another form.

    >>> parted(front_matter({"license": "mit"}) + "\\n# A model")
    ({'license': 'mit'}, '# A model')
    """
    head, line, text = card.partition(f"\n{_LINE}\n")
    names = [row.partition(": ") for row in head.split("\n")[1:]]
    try:
        fields = {name: json.loads(value) for name, _, value in names}
    except ValueError:
        return {}, card
    return (fields, text) if line and head.startswith(_LINE) else ({}, card)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return "\\ufffd" if 0xD800 <= code <= 0xDFFF else f"\\u{code:04x}"
