"""First vectors of a vocabulary: the forms of a word start near each other."""

from collections.abc import Mapping
from typing import Any

import numpy as np

_SPACES = ("\u2581", "\u0120")
# The shares of a vector's variance: the word, that it begins a word of the text, that it has a capital, and its own.
_WORD, _SPACE, _CAPITAL, _OWN = 0.7, 0.1, 0.1, 0.1


def share_vectors(model: Any, tokenizer: Any, seed: int = 0) -> None:
    """Draw the embeddings of a new model anew: pieces that differ in case or in their leading space have one part.

    A small model has to see `name`, ` name` and `Name` often before it knows them as one word; here it starts with it.

    Args:
        model: a model whose embeddings are as they were drawn.
        tokenizer: its tokenizer.
        seed: seed of the vectors.
    """
    (embeddings,) = (weight for weight in model.weights if weight.path.endswith("/shared/embeddings"))
    values = np.array(embeddings.numpy())  # (V, D)
    drawn = shared_vectors(tokenizer.get_vocab(), values.shape[1], seed) * values.std()
    for index in tokenizer.get_vocab().values():
        if values[index].any():  # the vector of padding may be zero
            values[index] = drawn[index]
    embeddings.assign(values)


def shared_vectors(vocabulary: Mapping[str, int], size: int, seed: int = 0) -> np.ndarray:
    """Vectors of variance 1, one a piece.

    >>> vectors = shared_vectors({"name": 0, "\u2581name": 1, "\u2581Name": 2, "other": 3}, 1000)
    >>> [round(float(np.corrcoef(vectors[0], vector)[0, 1]), 1) for vector in vectors[1:]]
    [0.7, 0.5, 0.2]
    """
    generator = np.random.default_rng(seed)
    space, capital = generator.standard_normal((2, size))  # (D,)
    count = 1 + max(vocabulary.values())
    vectors = generator.standard_normal((count, size))  # (V, D)
    words: dict[str, np.ndarray] = {}
    for piece, index in sorted(vocabulary.items(), key=lambda item: item[1]):
        word = piece.lstrip("".join(_SPACES))
        if len(word) < 2 or not word.isalpha() or not word.isascii():
            continue
        if word.lower() not in words:
            words[word.lower()] = generator.standard_normal(size)
        vectors[index] *= np.sqrt(_OWN)
        vectors[index] += np.sqrt(_WORD) * words[word.lower()]
        vectors[index] += np.sqrt(_SPACE) * space * (1 if word != piece else -1)
        vectors[index] += np.sqrt(_CAPITAL) * capital * (1 if word != word.lower() else -1)
    return vectors.astype("float32")
