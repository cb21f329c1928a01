"""CPU seconds of importing: `python -m benchmarks.imports`, under the backend that KERAS_BACKEND names.

Each line is what comes on top of the lines above it.
"""

import importlib
import time
from collections.abc import Callable, Mapping


def import_seconds(steps: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """CPU seconds of each step, in order."""
    seconds = {}
    for name, step in steps.items():
        started = time.process_time()
        step()
        seconds[name] = time.process_time() - started
    return seconds


def main() -> None:
    """Print a line for each step."""

    def load(name: str) -> Callable[[], object]:
        return lambda: getattr(importlib.import_module("tfmodels"), name)

    steps: dict[str, Callable[[], object]] = {
        "import keras": lambda: importlib.import_module("keras"),
        "import tfmodels": lambda: importlib.import_module("tfmodels"),
        "tfmodels.LEDForConditionalGeneration": load("LEDForConditionalGeneration"),
        "tfmodels.LEDTokenizer": load("LEDTokenizer"),
        "tfmodels.LongT5Tokenizer": load("LongT5Tokenizer"),
    }
    for name, seconds in import_seconds(steps).items():
        print(f"{seconds:6.3f} s  {name}")


if __name__ == "__main__":
    main()
