"""Reading and writing checkpoint files, without PyTorch."""

from tfmodels.checkpoints.folder import open_checkpoint
from tfmodels.checkpoints.formats.safetensors_file import write_safetensors
from tfmodels.checkpoints.loading import check_landmarks, load_checkpoint
from tfmodels.checkpoints.saving import save_weights

__all__ = ["check_landmarks", "load_checkpoint", "open_checkpoint", "save_weights", "write_safetensors"]
