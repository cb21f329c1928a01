"""Loading a model of some 100 million weights takes little more memory than the weights themselves."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from foreign_files import write_flax, write_tensorflow
from tiny import make_model

from tfmodels.checkpoints import save_weights
from tfmodels.checkpoints.mapping import reference_tensors

pytestmark = pytest.mark.slow

PROBE = Path(__file__).parent.parent / "support" / "memory_probe.py"
LARGE = {
    "led": {
        "vocab_size": 30_000,
        "d_model": 768,
        "encoder_attention_heads": 12,
        "decoder_attention_heads": 12,
        "encoder_ffn_dim": 3072,
        "decoder_ffn_dim": 3072,
        "encoder_layers": 4,
        "decoder_layers": 4,
        "attention_window": [64] * 4,
        "max_encoder_position_embeddings": 4096,
    },
    "longt5-tglobal": {
        "vocab_size": 32128,
        "d_model": 768,
        "d_kv": 64,
        "d_ff": 2048,
        "num_heads": 12,
        "num_layers": 4,
        "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False,
    },
}


def as_torch(path, tensors):
    torch.save({name: torch.from_numpy(tensor) for name, tensor in tensors.items()}, path)


FORMATS = {
    "safetensors": ("led", None, None),
    "sharded": ("longt5-tglobal", None, None),
    "bin": ("longt5-tglobal", "pytorch_model.bin", as_torch),
    "h5": ("led", "tf_model.h5", write_tensorflow),
    "msgpack": ("longt5-tglobal", "flax_model.msgpack", write_flax),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_loading_peaks_at_little_more_than_the_weights(tmp_path, kind):
    """The weights, and what a process of its own needs beside the model that it has made, at the highest.

    The model's making is not counted: Keras fills the weights with their initial values, and needs up to three times
    the largest one for it. Loading then replaces them tensor by tensor: the rest is the tensor that is under way, of
    which the largest has a fifth to a quarter of all weights.
    """
    family, name, write = FORMATS[kind]
    tiny, large = tmp_path / "tiny", tmp_path / "large"
    make_model(family).save_pretrained(tiny)
    model = make_model(family, **LARGE[family])
    model.save_pretrained(large)
    rows = model.weight_map(model.config).rules
    if kind == "sharded":
        save_weights(model, rows, large, "100MB")
    if write is not None:
        write(large / name, dict(reference_tensors(model, rows)))
        (large / "model.safetensors").unlink()
    command = [sys.executable, str(PROBE), type(model).__name__, str(tiny), str(large)]
    del model
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": "."})
    shutil.rmtree(large)
    assert done.returncode == 0, done.stderr
    peak, weights = map(int, done.stdout.split()[-2:])
    print(f"{kind}: {weights / 4e6:.0f}M weights, peak {peak / weights:.2f} of them")
    assert weights > 4 * 80e6
    assert peak <= 1.3 * weights
