"""transformers' side of the full-size comparison, a program for the writers' environment; prints JSON as its last line.

`full_reference.py write|convert|reference|reload MODEL SIZE FOLDER [LENGTH]`
"""

import json
import os
import shutil
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers
from full_models import HEADLESS, PEAK, SAFETENSORS, class_name, compare, digest, family, make_inputs, settings
from memory_probe import resident

QUERIES_AND_KEYS = (".q.", ".k.", "query", "key", "q_proj", "k_proj")


def write(model, size, folder):
    """Write a random model with peaked attention in every format but TensorFlow's and Flax's; return its digests."""
    torch.manual_seed(0)
    config = getattr(transformers, class_name(model).removesuffix("ForConditionalGeneration") + "Config")
    reference = getattr(transformers, class_name(model))(config(**settings(model, size))).eval()
    with torch.no_grad():
        for name, parameter in reference.named_parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
            elif any(part in name for part in QUERIES_AND_KEYS):
                parameter.mul_(PEAK[family(model)])
            elif "attention_bias" in name:
                parameter.normal_(0, 0.5)
        if model == "led":
            reference.final_logits_bias.normal_(0, 0.1)
    shard = "300MB" if size == "base" else "100KB"
    for name, arguments in {
        SAFETENSORS: {},
        "sharded safetensors": {"max_shard_size": shard},
        ".bin": {"safe_serialization": False, "max_shard_size": "10GB"},
        "sharded .bin": {"safe_serialization": False, "max_shard_size": shard},
    }.items():
        reference.save_pretrained(folder / name, **arguments)
    return {"digests": digests(reference)}


def convert(model, size, folder):
    """Write TensorFlow's or Flax's files of the same weights, and a headless PyTorch file beside the latter."""
    if model == "led":
        tensorflow = transformers.TFLEDForConditionalGeneration.from_pretrained(folder / SAFETENSORS, from_pt=True)
        tensorflow.save_pretrained(folder / ".h5")
        return {}
    flax = transformers.FlaxLongT5ForConditionalGeneration.from_pretrained(folder / SAFETENSORS, from_pt=True)
    flax.save_pretrained(folder / ".msgpack")
    flax.save_pretrained(folder / "sharded .msgpack", max_shard_size="300MB" if size == "base" else "100KB")
    shutil.copytree(folder / ".msgpack", folder / HEADLESS)
    tensors = torch.load(folder / ".bin" / "pytorch_model.bin", weights_only=True)
    del tensors["lm_head.weight"]
    torch.save(tensors, folder / HEADLESS / "pytorch_model.bin")
    return {}


def load(model, folder):
    """The model, and what was missing or too much in the files."""
    loaded, report = getattr(transformers, class_name(model)).from_pretrained(folder, output_loading_info=True)
    # Names of the shared table, which transformers leaves out of its own files too.
    missing = [name for name in report["missing_keys"] if "embed_tokens" not in name]
    if missing or report["unexpected_keys"]:
        raise SystemExit(f"{folder}: missing {missing}, unexpected {report['unexpected_keys']}")
    return loaded.eval()


def run(reference, inputs):
    """Logits and encoder hidden states, as arrays."""
    with torch.no_grad():
        outputs = reference(**{name: torch.from_numpy(value) for name, value in inputs.items()}, use_cache=False)
    return {"logits": outputs.logits.numpy(), "hidden": outputs.encoder_last_hidden_state.numpy()}


def reference_outputs(model, size, folder, length):
    """Save what transformers computes for one length; return how peaked its attention is."""
    reference = load(model, folder / SAFETENSORS)
    np.savez(folder / f"{length}.npz", **run(reference, make_inputs(model, size, length)))
    return {"keys": effective_keys(reference, make_inputs(model, size, min(length, 1024)))}


def effective_keys(reference, inputs):
    """Over how many keys a query of the encoder spreads its attention, and over how many it could.

    Returns:
        The exponential of the entropy, and the number of keys with any weight: medians over layers, heads and tokens.
    """
    inputs = {name: torch.from_numpy(value) for name, value in inputs.items() if not name.startswith("decoder")}
    with torch.no_grad():
        attentions = reference.get_encoder()(**inputs, output_attentions=True).attentions
    effective, seen = [], []
    for weights in attentions:
        rows = weights.reshape(-1, weights.shape[-1])
        # Rows of padding and of global tokens are no distributions.
        rows = rows[(rows.sum(-1) - 1).abs() < 1e-3]
        effective.append(torch.special.entr(rows).sum(-1).exp())
        seen.append((rows > 0).sum(-1).float())
    return [float(torch.cat(values).median()) for values in (effective, seen)]


def digests(reference):
    """Digests of a model's tensors by name."""
    return {name: digest(tensor.numpy()) for name, tensor in reference.state_dict().items()}


def reload(model, size, folder, length):
    """Load what tfmodels saved; return its digests and how far its logits are from the first model's."""
    loaded = load(model, folder / "saved")
    found, wanted = run(loaded, make_inputs(model, size, length)), np.load(folder / f"{length}.npz")
    return {"digests": digests(loaded), "logits": compare(found["logits"], wanted["logits"])}


def main():
    transformers.logging.set_verbosity_error()
    task, model, size, folder = sys.argv[1:5]
    tasks = {"write": write, "convert": convert, "reference": reference_outputs, "reload": reload}
    result = tasks[task](model, size, Path(folder), *map(int, sys.argv[5:]))
    print(json.dumps({**result, "peak": resident("VmHWM")}))


if __name__ == "__main__":
    main()
