"""SavedModels with the tokenizer inside: text in, text out, no Python on the server; and graphs for ONNX Runtime."""

from typing import Any

__all__ = ["Batching", "export_onnx", "export_saved_model"]


def __getattr__(name: str) -> Any:
    # On first use only: `python -m export ask` must run without keras and tfmodels.
    if name == "export_saved_model":
        from export.saved_model import export_saved_model

        return export_saved_model
    if name == "export_onnx":
        from export.to_onnx.folder import export_onnx

        return export_onnx
    if name == "Batching":
        from export.signatures import Batching

        return Batching
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
