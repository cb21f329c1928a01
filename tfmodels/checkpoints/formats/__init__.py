"""One reader for each file format of weights."""
