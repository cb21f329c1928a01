"""Side-by-side runs against transformers (PyTorch, eager): `python -m benchmarks`."""
