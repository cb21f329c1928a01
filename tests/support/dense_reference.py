"""Plain dense attention in NumPy, which the sparse layers are measured against."""

import numpy as np


def project(layer, x):
    """A Dense layer in float64."""
    y = x @ np.asarray(layer.kernel, "float64")
    return y + np.asarray(layer.bias, "float64") if layer.use_bias else y


def heads(x, count):
    """(B, L, H * D) -> (B, H, L, D)."""
    return x.reshape(*x.shape[:2], count, -1).transpose(0, 2, 1, 3)


def attend(query, key, value, visible, bias=0.0):
    """Softmax attention; `visible` bool, broadcastable to (B, H, Q, K). Rows that see nothing give zeros."""
    scores = np.where(visible, query @ key.swapaxes(2, 3) + bias, -np.inf)
    weights = np.exp(scores - np.maximum(scores.max(-1, keepdims=True), -1e300))
    weights = weights / np.maximum(weights.sum(-1, keepdims=True), 1e-300)
    output = weights @ value
    return output.transpose(0, 2, 1, 3).reshape(output.shape[0], output.shape[2], -1)
