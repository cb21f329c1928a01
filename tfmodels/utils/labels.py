"""The label value that losses ignore."""

IGNORED_LABEL = -100
"""A label without a loss: padding, as in PyTorch and transformers."""
