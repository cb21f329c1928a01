"""Questions and answers in TensorFlow Serving's JSON; needs NumPy alone."""

import base64
import urllib.parse
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from export.client.served_model import ServedModel
from export.client.signature import Field, Signature
from export.client.strict_json import dumped


class Page(NamedTuple):
    """The path of a question, and its body if it has one."""

    path: str
    body: bytes | None = None


class RestMessages:
    """The pages of a model."""

    def __init__(self, model: ServedModel) -> None:
        suffix = "" if model.version is None else f"/versions/{model.version}"
        suffix = suffix if model.label is None else f"/labels/{urllib.parse.quote(model.label, safe='')}"
        self._path = f"/v1/models/{urllib.parse.quote(model.name, safe='')}{suffix}"

    def metadata(self) -> Page:
        """A question for the signatures."""
        return Page(f"{self._path}/metadata")

    def signatures(self, answer: Any) -> dict[str, Signature]:
        """The signatures in its answer."""
        definitions = answer["metadata"]["signature_def"]["signature_def"]
        return {
            name: Signature(_fields(one["inputs"]), _fields(one["outputs"]))
            for name, one in definitions.items()
            if one.get("inputs")
        }

    def predict(self, name: str, arrays: Mapping[str, np.ndarray]) -> Page:
        """A question to a signature."""
        columns = {key: _as_json(array) for key, array in arrays.items()}
        return Page(f"{self._path}:predict", dumped({"signature_name": name, "inputs": columns}).encode("ascii"))

    def outputs(self, signature: Signature, answer: Any) -> dict[str, np.ndarray]:
        """The outputs in its answer."""
        outputs = answer["outputs"]
        if len(signature.outputs) == 1:
            # A lone output comes without its name.
            outputs = dict.fromkeys(signature.outputs, outputs)
        return {key: np.array(outputs[key], dtype=field.dtype) for key, field in signature.outputs.items()}


def _fields(tensors: Mapping[str, Any]) -> dict[str, Field]:
    return {
        name: Field.of(
            info["dtype"],
            None if info["tensor_shape"].get("unknown_rank") else len(info["tensor_shape"].get("dim", [])),
        )
        for name, info in tensors.items()
    }


def _as_json(array: np.ndarray) -> Any:
    if array.dtype != object:
        return array.tolist()
    values = np.empty(array.shape, dtype=object)
    for place, value in np.ndenumerate(array):
        try:
            values[place] = value.decode("utf-8")
        except UnicodeDecodeError:
            values[place] = {"b64": base64.b64encode(value).decode("ascii")}
    return values.tolist()
