"""Base classes and functions of the encoder-decoder models, independent of any family."""
