"""LED: the Longformer encoder-decoder."""
