"""The functions that a node of a graph calls."""

from collections.abc import Iterable, Iterator
from typing import Any


def called_functions(attributes: Iterable[Any]) -> Iterator[str]:
    """The names of all functions among attributes, and among the attributes of those.

    >>> from tensorflow.core.framework import attr_value_pb2
    >>> attribute = attr_value_pb2.AttrValue()
    >>> attribute.func.name = "body"
    >>> list(called_functions([attribute]))
    ['body']
    """
    for attribute in attributes:
        for function in (*([attribute.func] if attribute.HasField("func") else ()), *attribute.list.func):
            yield function.name
            yield from called_functions(function.attr.values())
