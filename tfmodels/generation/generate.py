"""Choose the search that the settings ask for."""

from collections.abc import Sequence
from typing import Any

from tfmodels.generation.beam_search import BeamSearch
from tfmodels.generation.config import GenerationConfig
from tfmodels.generation.row_search import RowSearch
from tfmodels.generation.rule import Processor
from tfmodels.generation.search import DecodeStep, Search, SearchInputs

Tensor = Any


def make_search(
    step: DecodeStep,
    inputs: SearchInputs,
    config: GenerationConfig,
    vocabulary: int,
    further: Sequence[Processor] = (),
    output_scores: bool = False,
) -> Search:
    """A search; arguments as in `Search`. Its `run` returns

    "sequences": int32 (documents * num_return_sequences, T), the prompt first, padded with the pad id;
    "sequences_scores": float32, the log-probability of each over its new tokens to the power of `length_penalty`;
    with `output_scores` "scores": float32 (T - P, R, V), each step's for every row, after all rules, zeros where no
    step was made; and of beams "beam_indices": int32 (documents * num_return_sequences, T - P), see `BeamSearch`.
    """
    kind = RowSearch if config.num_beams == 1 else BeamSearch
    return kind(step, inputs, config, vocabulary, further, output_scores)
