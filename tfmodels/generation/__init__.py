"""Search for the best continuation: settings, rules, greedy search, sampling and beams over a decode-step function."""

from tfmodels.generation.config import GenerationConfig
from tfmodels.generation.kinds import kind_of_search
from tfmodels.generation.rule import Processor
from tfmodels.generation.search import DecodeStep, Search, SearchInputs, State, is_among

__all__ = [
    "DecodeStep",
    "GenerationConfig",
    "Processor",
    "Search",
    "SearchInputs",
    "State",
    "is_among",
    "kind_of_search",
]
