"""The tokenizers as Keras layers, for functional models, `tf.data` and export."""

import base64
from typing import Any

import keras
import tensorflow as tf

from tfmodels.text.base import Tokenizer


class _TextLayer(keras.layers.Layer):
    """A layer around an in-graph tokenizer. Its config holds the vocabulary, so a `.keras` file is self-contained."""

    def __init__(self, tokenizer: Tokenizer, **kwargs: Any):
        super().__init__(trainable=False, **kwargs)
        # Keras would turn strings into tensors of its own backend, which may have no strings.
        self._convert_input_args = False
        self._allow_non_tensor_positional_args = True
        self.tokenizer = tokenizer
        self.in_graph = tokenizer.in_graph()

    def get_config(self) -> dict[str, Any]:
        files = {name: base64.b64encode(content).decode() for name, content in self.tokenizer.to_files().items()}
        return {**super().get_config(), "tokenizer": {"class_name": type(self.tokenizer).__name__, "files": files}}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "_TextLayer":
        from tfmodels import text

        saved = config["tokenizer"]
        files = {name: base64.b64decode(content) for name, content in saved["files"].items()}
        arguments = {key: value for key, value in config.items() if key != "trainable"}
        return cls(**{**arguments, "tokenizer": getattr(text, saved["class_name"]).from_files(files)})


@keras.saving.register_keras_serializable(package="tfmodels")
class TokenizerLayer(_TextLayer):
    """Texts to padded ids, every row of one static length.

    Args:
        tokenizer: The tokenizer.
        max_length: The length L of every row; longer rows are truncated and keep their final eos.

    Call arguments:
        texts: string (B,).

    Returns:
        A dict of int32 (B, L): `input_ids`, `attention_mask` and, for LED, `global_attention_mask`.
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int, **kwargs: Any):
        super().__init__(tokenizer, **kwargs)
        self.max_length = max_length

    def call(self, texts: Any) -> dict[str, tf.Tensor]:
        return self.in_graph.pad_batch(self.in_graph.encode(tf.convert_to_tensor(texts, tf.string)), self.max_length)

    def compute_output_spec(self, texts: Any) -> dict[str, keras.KerasTensor]:
        names = ["input_ids", "attention_mask", *(["global_attention_mask"] * self.tokenizer.marks_global_token)]
        return {name: keras.KerasTensor((texts.shape[0], self.max_length), dtype="int32") for name in names}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "max_length": self.max_length}


@keras.saving.register_keras_serializable(package="tfmodels")
class DetokenizerLayer(_TextLayer):
    """Ids to texts, special tokens and ids outside the vocabulary skipped.

    Call arguments:
        ids: int32 (B, T).

    Returns:
        string (B,).
    """

    def call(self, ids: Any) -> tf.Tensor:
        return self.in_graph.decode(tf.cast(ids, tf.int32))

    def compute_output_spec(self, ids: Any) -> keras.KerasTensor:
        return keras.KerasTensor((ids.shape[0],), dtype="string")
