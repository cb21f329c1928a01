"""Inputs and outputs of a signature, and arrays that fit them; needs NumPy alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

# By TensorFlow's names, as servers write them.
_DTYPES = {
    "DT_STRING": np.dtype(object),
    "DT_BOOL": np.dtype(bool),
    "DT_INT32": np.dtype("int32"),
    "DT_INT64": np.dtype("int64"),
    "DT_HALF": np.dtype("float16"),
    "DT_FLOAT": np.dtype("float32"),
    "DT_DOUBLE": np.dtype("float64"),
}


@dataclass(frozen=True)
class Field:
    """An input or output: its dtype (object: strings) and its number of axes (None: any)."""

    dtype: np.dtype
    rank: int | None

    @classmethod
    def of(cls, dtype: str, rank: int | None) -> "Field":
        """From TensorFlow's name of the dtype.

        Raises:
            ValueError: a dtype that no exported signature has.

        >>> Field.of("DT_INT32", 2).dtype.name
        'int32'
        """
        if dtype not in _DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(_DTYPES)}. Received: dtype={dtype}")
        return cls(_DTYPES[dtype], rank)

    @property
    def is_text(self) -> bool:
        """Whether it holds strings."""
        return self.dtype == object


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs by name."""

    inputs: Mapping[str, Field]
    outputs: Mapping[str, Field]

    def arrays(self, values: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Return the inputs as arrays: strings as UTF-8 bytes in arrays of objects, numbers in the signature's dtype.

        Args:
            values: lists or arrays by name; integers of another width must fit.

        Raises:
            ValueError: an unknown or missing input, a wrong dtype, a wrong number of axes, or a list of ragged rows.

        >>> ask = Signature({"text": Field.of("DT_STRING", 1)}, {})
        >>> ask.arrays({"text": ["naïve"]})
        {'text': array([b'na\\xc3\\xafve'], dtype=object)}
        >>> ask.arrays({"texts": ["naïve"]})
        Traceback (most recent call last):
        ValueError: the inputs must be text. Received: texts
        """
        if set(values) != set(self.inputs):
            raise ValueError(
                f"the inputs must be {', '.join(sorted(self.inputs))}. Received: {', '.join(sorted(values)) or 'none'}"
            )
        return {name: _fitting(name, values[name], field) for name, field in self.inputs.items()}

    def checked_answers(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs, strings as `str`, if they are those of the signature.

        Raises:
            ValueError: an output that is missing, or has another dtype or number of axes.

        >>> score = Signature({}, {"score": Field.of("DT_FLOAT", 1)})
        >>> score.checked_answers({"score": np.float32(0.5)})
        Traceback (most recent call last):
        ValueError: score must be float32 with axes 1. Received: float32 of shape ()
        """
        for name, field in self.outputs.items():
            if name not in arrays:
                raise ValueError(f"{name} must be among the outputs. Received: {', '.join(sorted(arrays)) or 'none'}")
            array = np.asarray(arrays[name])
            is_right = array.dtype == field.dtype and field.rank in (None, array.ndim)
            if not is_right or (field.is_text and not all(isinstance(value, str) for value in array.flat)):
                rule = f"{name} must be {'text' if field.is_text else field.dtype} with axes {field.rank}"
                raise ValueError(f"{rule}. Received: {array.dtype} of shape {array.shape}")
        return dict(arrays)


def find_signature(signatures: Mapping[str, Signature], name: str) -> Signature:
    """The signature of that name.

    Raises:
        ValueError: no such signature.
    """
    if name not in signatures:
        raise ValueError(f"signature must be one of {', '.join(sorted(signatures))}. Received: signature={name}")
    return signatures[name]


def text_array(name: str, values: Any) -> np.ndarray:
    """Strings of any nesting as an array of UTF-8 bytes.

    Raises:
        ValueError: a value that is not a string, or text without a UTF-8 form.
    """
    # Not through NumPy's string types, which pad every element to the longest and drop zeros at the end.
    array = np.array(values, dtype=object)
    for place, value in np.ndenumerate(array):
        if isinstance(value, str):
            try:
                array[place] = value.encode("utf-8")
            except UnicodeEncodeError as error:
                raise ValueError(f"{name} must be text in Unicode. Received: {error}") from None
        elif not isinstance(value, bytes):
            raise ValueError(f"{name} must hold strings. Received: {type(value).__name__}")
    return array


def decoded(array: np.ndarray) -> np.ndarray:
    """An array of `str` from an array of UTF-8 bytes.

    >>> decoded(np.array([b"a"], dtype=object))
    array(['a'], dtype=object)
    """
    texts = np.empty(array.shape, dtype=object)
    for place, value in np.ndenumerate(array):
        texts[place] = value.decode("utf-8", errors="replace")
    return texts


def decoded_outputs(outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs, bytes as `str`."""
    return {name: decoded(array) if array.dtype == object else array for name, array in outputs.items()}


def _fitting(name: str, value: Any, field: Field) -> np.ndarray:
    try:
        array = text_array(name, value) if field.is_text else _number_array(name, value, field.dtype)
    except ValueError as error:
        if name in str(error):
            raise
        raise ValueError(f"{name} must be an array or lists of equal length. Received: {error}") from None
    if field.rank is not None and array.ndim != field.rank:
        axes = f"{field.rank} {'axis' if field.rank == 1 else 'axes'}"
        raise ValueError(f"{name} must have {axes}. Received: {name} of shape {array.shape}")
    return array


def _number_array(name: str, value: Any, dtype: np.dtype) -> np.ndarray:
    array = np.asarray(value)
    integers = array.dtype.kind in "iu" and dtype.kind in "iu"
    floats = array.dtype.kind in "iuf" and dtype.kind == "f"
    # NumPy makes floats of an empty list, whatever the caller meant.
    if not (array.dtype == dtype or integers or floats or array.size == 0):
        raise ValueError(f"{name} must be {dtype.name}. Received: {name} of dtype {array.dtype}")
    if integers and array.size and (array.min() < np.iinfo(dtype).min or array.max() > np.iinfo(dtype).max):
        raise ValueError(f"{name} must fit {dtype.name}. Received: {name} up to {array.max()}, from {array.min()}")
    return array.astype(dtype)
