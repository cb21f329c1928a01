"""Measurements beside transformers on PyTorch: `python -m benchmarks`."""
