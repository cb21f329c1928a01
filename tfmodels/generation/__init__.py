"""Search for the best continuation over a decode-step function: settings, processors, sampling and beams."""

from tfmodels.generation.config import GenerationConfig

__all__ = ["GenerationConfig"]
