"""Models as ONNX graphs from ids to hidden states or logits, right at every length, for ONNX Runtime."""
