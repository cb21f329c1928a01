"""The names that TensorFlow and Flax give to tensors, and the reference's (PyTorch's) for the same ones."""

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
    """The reference's name of the tensor at a path of layers, and whether the reference holds it transposed.

    >>> reference_name(["encoder", "block", "0", "wo", "kernel"])
    ('encoder.block.0.wo.weight', True)
    >>> reference_name(["final_logits_bias"])
    ('final_logits_bias', False)
    """
    *layers, leaf = path
    return ".".join([*layers, _REFERENCE_LEAVES.get(leaf, leaf)]), leaf == "kernel"
