"""Choose and run the search that the settings ask for."""

from collections.abc import Callable
from typing import Any

from tfmodels.generation.beam_search import beam_search
from tfmodels.generation.config import GenerationConfig
from tfmodels.generation.greedy_search import greedy_search

Tensor = Any
DecodeStep = Callable[[Tensor, Tensor, Any], tuple[Tensor, Any]]
"""(tokens int32 (R,), position int32 scalar, caches) -> (logits (R, V), caches).

Rows of a document are next to each other; every tensor of the caches has the R rows as its first axis. What is the same
for all beams of a document, such as its encoded keys and values, belongs to the function and not to the caches.
"""


def generate(step: DecodeStep, caches: Any, documents: int | Tensor, config: GenerationConfig) -> dict[str, Tensor]:
    """Generate token ids for a batch of documents.

    Args:
        step: runs the decoder for one token of each row.
        caches: empty caches with documents * num_beams rows.
        documents: how many documents.
        config: the settings.

    Returns:
        "sequences": int32 (documents * num_return_sequences, T), the start token first, padded with the pad id;
        "sequences_scores": float32, the log-probability of each over its length to the power of `length_penalty`.
    """
    if config.num_beams == 1:
        return greedy_search(step, caches, documents, config)
    return beam_search(step, caches, documents, config)
