"""tfmodels' side of the full-size comparison, a program; prints JSON as its last line.

`full_ours.py digests MODEL SIZE FOLDER FORMAT`, `full_ours.py outputs MODEL SIZE FOLDER LENGTH`,
`full_ours.py save MODEL SIZE FOLDER`
"""

import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from full_models import SAFETENSORS, class_name, compare, digest, make_inputs
from memory_probe import resident

import tfmodels
from tfmodels.checkpoints.mapping import reference_tensors


def load(model, folder):
    return getattr(tfmodels, class_name(model)).from_pretrained(folder)


def digests(model, size, folder, name):
    """Digests of the weights that one format gives, by the reference's names."""
    loaded = load(model, folder / name)
    tensors = reference_tensors(loaded.weights_root(), loaded.weight_map(loaded.config).rules)
    return {"digests": {name: digest(tensor) for name, tensor in tensors}}


def outputs(model, size, folder, length):
    """How far logits and hidden states are from the reference's."""
    loaded, inputs = load(model, folder / SAFETENSORS), make_inputs(model, size, int(length))
    run = tf.function(lambda given: loaded(given), jit_compile=True, autograph=False)
    found = run({name: tf.constant(value, "int32") for name, value in inputs.items()})
    wanted = np.load(folder / f"{length}.npz")
    hidden = found["encoder_last_hidden_state"].numpy()
    return {
        "logits": compare(found["logits"].numpy(), wanted["logits"]),
        "hidden": compare(hidden, wanted["hidden"], inputs["attention_mask"]),
    }


def save(model, size, folder):
    """Save the model for transformers."""
    load(model, folder / SAFETENSORS).save_pretrained(folder / "saved")
    return {}


def main():
    task, model, size, folder = sys.argv[1:5]
    result = {"digests": digests, "outputs": outputs, "save": save}[task](model, size, Path(folder), *sys.argv[5:])
    print(json.dumps({**result, "peak": resident("VmHWM")}))


if __name__ == "__main__":
    main()
