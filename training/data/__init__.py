"""Files of documents and summaries, as batches of tokens."""
