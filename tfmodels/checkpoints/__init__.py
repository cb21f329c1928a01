"""Reading and writing checkpoint files, without PyTorch."""

from tfmodels.checkpoints.folder import open_checkpoint
from tfmodels.checkpoints.safetensors_file import write_safetensors

__all__ = ["open_checkpoint", "write_safetensors"]
