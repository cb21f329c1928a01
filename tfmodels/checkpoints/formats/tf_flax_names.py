"""The names that TensorFlow and Flax give to tensors, and PyTorch's names of the same tensors."""

from collections.abc import Sequence

_REFERENCE_LEAVES = {
    "kernel": "weight",
    "embedding": "weight",
    "embeddings": "weight",
    "gamma": "weight",
    "scale": "weight",
    "beta": "bias",
}


def reference_name(path: Sequence[str]) -> tuple[str, bool]:
    """PyTorch's name of the tensor at a path of layers, and whether PyTorch holds it transposed.

    >>> reference_name(["encoder", "block", "0", "wo", "kernel"])
    ('encoder.block.0.wo.weight', True)
    >>> reference_name(["final_logits_bias"])
    ('final_logits_bias', False)
    """
    *layers, leaf = path
    return ".".join([*layers, _REFERENCE_LEAVES.get(leaf, leaf)]), leaf == "kernel"
