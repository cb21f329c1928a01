"""What a model is trained for: the fields of a row, their tokens, and batches of them."""
