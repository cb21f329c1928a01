"""The one tensor type, and the shape letters that comments and docstrings use.

B documents of a batch, L tokens of a document, S tokens of a document as the decoder sees them, T target tokens,
E model size, H heads, D head size, V vocabulary, W window to one side, N blocks, C tokens of a block, G side keys
(global tokens or summaries), K beams, R rows (documents times beams), M places in a cache. A file that needs further
letters names them at its head ("Further shape letters: ...").
"""

from typing import Any, TypeAlias

Tensor: TypeAlias = Any
"""A tensor of the backend that runs, or a `KerasTensor` while a model is built. No type covers both backends."""
