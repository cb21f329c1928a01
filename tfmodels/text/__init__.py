"""Tokenizers of any family, in Python and inside the TensorFlow graph, equal id for id.

Importing the tokenizers loads no tokenizer library and no TensorFlow; each comes with its first use. Only the modules
of the graph (`in_graph`, `layers`, `*_graph` and their helpers) import TensorFlow.
"""
