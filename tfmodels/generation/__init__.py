"""Search for the best continuation: settings, processors, greedy and beam search over a decode-step function."""

from tfmodels.generation.config import GenerationConfig
from tfmodels.generation.generate import generate

__all__ = ["GenerationConfig", "generate"]
