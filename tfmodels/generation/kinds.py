"""Which search the settings ask for."""

from tfmodels.generation.beam_search import BeamSearch
from tfmodels.generation.config import GenerationConfig
from tfmodels.generation.sampling import RowSearch
from tfmodels.generation.search import Search


def kind_of_search(config: GenerationConfig) -> type[Search]:
    """Greedy search and sampling, or beams of either kind.

    >>> kind_of_search(GenerationConfig(num_beams=4)).__name__
    'BeamSearch'
    """
    return RowSearch if config.num_beams == 1 else BeamSearch
