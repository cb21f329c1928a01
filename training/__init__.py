"""Fine-tuning on documents and summaries: `python -m training`, or `from training import Config, fit`.

Names are imported on first use, so that settings are checked before Keras is imported.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.config import Config
    from training.evaluating import evaluate
    from training.fitting import fit
    from training.preparing import prepare

_MODULES = {
    "Config": "training.config",
    "evaluate": "training.evaluating",
    "fit": "training.fitting",
    "prepare": "training.preparing",
}
__all__ = ["Config", "evaluate", "fit", "prepare"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
