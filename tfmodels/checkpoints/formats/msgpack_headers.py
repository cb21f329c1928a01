"""The headers of msgpack values, one at a time, so that a file's values can be found without reading them.

The msgpack library hands over whole values only: of a file of one map it would hold everything in memory.
Source: the msgpack specification, section "Formats".
"""

import io
from typing import NamedTuple


class Header(NamedTuple):
    """The type and size that a value's first bytes give.

    kind: "map", "array", "str", "bin", "ext", "int" or "other" (booleans, floats, nil).
    size: entries of a map or an array, bytes of a string, of binary data or of an ext's content; the value of an int.
    extension: the type of an ext.
    """

    kind: str
    size: int
    extension: int = 0


# First byte: kind, bytes of the number that follows, whether the type of an ext follows that.
_SIZED = {
    0xC4: ("bin", 1),
    0xC5: ("bin", 2),
    0xC6: ("bin", 4),
    0xC7: ("ext", 1),
    0xC8: ("ext", 2),
    0xC9: ("ext", 4),
    0xCC: ("int", 1),
    0xCD: ("int", 2),
    0xCE: ("int", 4),
    0xCF: ("int", 8),
    0xD9: ("str", 1),
    0xDA: ("str", 2),
    0xDB: ("str", 4),
    0xDC: ("array", 2),
    0xDD: ("array", 4),
    0xDE: ("map", 2),
    0xDF: ("map", 4),
}
# Values without content that follows: nil, false, true.
_SINGLE = (0xC0, 0xC2, 0xC3)
_FIXED_EXTENSIONS = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}


def read_header(file: io.BufferedReader) -> Header:
    """Read one value's header; the file then stands at the value's content.

    Raises:
        ValueError: the file ends, or the value is of a kind that holds no tensors, such as a float.

    >>> read_header(io.BufferedReader(io.BytesIO(bytes([0x82]))))
    Header(kind='map', size=2, extension=0)
    """
    first = _unsigned(file, 1)
    if first <= 0x7F:
        return Header("int", first)
    if first <= 0x8F:
        return Header("map", first & 0x0F)
    if first <= 0x9F:
        return Header("array", first & 0x0F)
    if first <= 0xBF:
        return Header("str", first & 0x1F)
    if first in _SINGLE:
        return Header("other", 0)
    if first in _FIXED_EXTENSIONS:
        return Header("ext", _FIXED_EXTENSIONS[first], _unsigned(file, 1))
    if first not in _SIZED:
        raise ValueError(
            f"values must be maps, strings, sizes or arrays. Received: a value that begins with {first:#x}"
        )
    kind, width = _SIZED[first]
    size = _unsigned(file, width)
    return Header(kind, size, _unsigned(file, 1) if kind == "ext" else 0)


def read_text(file: io.BufferedReader, limit: int) -> str:
    """Read one string.

    Raises:
        ValueError: another value, more bytes than `limit`, or no UTF-8.
    """
    header = read_header(file)
    if header.kind != "str" or header.size > limit:
        raise ValueError(f"a name must be a string of at most {limit} bytes. Received: {header.kind} of {header.size}")
    return _bytes(file, header.size).decode("utf-8")


def read_int(file: io.BufferedReader) -> int:
    """Read one integer of 0 or more.

    Raises:
        ValueError: another value.
    """
    header = read_header(file)
    if header.kind != "int":
        raise ValueError(f"a size must be an integer of 0 or more. Received: {header.kind}")
    return header.size


def _unsigned(file: io.BufferedReader, width: int) -> int:
    return int.from_bytes(_bytes(file, width), "big")


def _bytes(file: io.BufferedReader, count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise ValueError(f"the file must go on. Received: its end, {count - len(data)} bytes too early")
    return data
