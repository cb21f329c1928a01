"""Tokenizers of the two families, in Python and inside the TensorFlow graph, equal id for id."""

from tfmodels.text.byte_level_bpe_tokenizer import LEDTokenizer
from tfmodels.text.offsets import answer_positions
from tfmodels.text.sentencepiece_tokenizer import LongT5Tokenizer

__all__ = ["LEDTokenizer", "LongT5Tokenizer", "answer_positions"]
