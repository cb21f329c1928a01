"""The GPU as JAX and PyTorch see it, asked in processes of their own.

python -m benchmarks.devices jax
"""

import argparse
import os
import platform

from benchmarks.processes import WorkerError, run_module
from export.client.strict_json import dumped

LIBRARIES = ("jax", "torch")


def device_name(device: str) -> str:
    """The name of the GPU that both libraries see, or of the processor for "cpu".

    Raises:
        ValueError: a library sees no GPU; the message is one line.
    """
    if device == "cpu":
        return platform.processor() or platform.machine()
    seen = {}
    for library in LIBRARIES:
        try:
            seen[library] = run_module("benchmarks.devices", [library])
        except WorkerError as error:
            raise ValueError(f"{library} must see a GPU. Received: {str(error).splitlines()[-1]}") from None
        if not seen[library]["gpus"]:
            raise ValueError(f"{library} must see a GPU. Received: {seen[library]['platform']} alone")
    return seen["torch"]["gpus"][0]


def _of_jax() -> dict[str, object]:
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    devices = jax.devices()
    return {"platform": devices[0].platform, "gpus": [x.device_kind for x in devices if x.platform == "gpu"]}


def _of_torch() -> dict[str, object]:
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {"platform": "gpu" if gpus else "cpu", "gpus": gpus}


def main(arguments: list[str] | None = None) -> None:
    """Print what one library sees as one JSON line."""
    parser = argparse.ArgumentParser("python -m benchmarks.devices", allow_abbrev=False)
    parser.add_argument("library", choices=LIBRARIES)
    options = parser.parse_args(arguments)
    print(dumped(_of_jax() if options.library == "jax" else _of_torch()), flush=True)


if __name__ == "__main__":
    main()
