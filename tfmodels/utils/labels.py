"""What tokenizers, models and batches agree on about labels."""

IGNORED_LABEL = -100
"""A label without a loss: padding, as in PyTorch and transformers."""
