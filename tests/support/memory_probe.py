"""Prints how many bytes a model's weights and their loading take at the highest, and the weights alone; a program.

`python memory_probe.py CLASS TINY_FOLDER FOLDER`. The tiny checkpoint of the same class is loaded first, so that what
TensorFlow itself keeps after its first use does not count.
"""

import gc
import sys
from pathlib import Path


def resident(field):
    """Bytes that the process holds: now (VmRSS), or at its highest (VmHWM).

    Not `ru_maxrss`, which a process inherits from the one that started it.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field))


def main():
    import tfmodels
    from tfmodels.checkpoints import load_checkpoint

    name, tiny, folder = sys.argv[1:]
    model_class = getattr(tfmodels, name)
    model_class.from_pretrained(tiny)
    model = model_class(model_class.config_class.from_json(Path(folder, "config.json")))
    gc.collect()
    ground = resident("VmRSS")
    # From here on the highest is counted anew.
    Path("/proc/self/clear_refs").write_text("5")
    load_checkpoint(model.weights_root(), model_class.weight_map(model.config).rules, folder, folder)
    weights = sum(4 * int(weight.value.shape.num_elements()) for weight in model.weights)
    print(weights + resident("VmHWM") - ground, weights)


if __name__ == "__main__":
    main()
