"""Tokenizers of the two families, in Python and inside the TensorFlow graph, equal id for id."""

from tfmodels.text.led_tokenizer import LEDTokenizer
from tfmodels.text.long_t5_tokenizer import LongT5Tokenizer
from tfmodels.text.offsets import answer_positions

__all__ = ["LEDTokenizer", "LongT5Tokenizer", "answer_positions"]
