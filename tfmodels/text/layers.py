"""The tokenizers as Keras layers, for functional models, `tf.data` and export."""

from typing import Any, ClassVar, Protocol

import keras
import tensorflow as tf

from tfmodels.backend.keras_internals import take_inputs_as_they_are
from tfmodels.text.arguments import check_length
from tfmodels.text.global_attention import check_global_attention
from tfmodels.text.in_graph import InGraphTokenizer

_PACKAGE = "tfmodels"


class TextTokenizer(Protocol):
    """The methods of a tokenizer that its layers call."""

    marks_global_token: ClassVar[bool]

    def in_graph(self) -> InGraphTokenizer: ...

    def get_config(self) -> dict[str, Any]: ...


class _TextLayer(keras.layers.Layer):
    """A layer around an in-graph tokenizer. Its config holds the vocabulary, so a `.keras` file is self-contained."""

    def __init__(self, tokenizer: TextTokenizer, **kwargs: Any):
        super().__init__(trainable=False, **kwargs)
        # Keras would turn strings into tensors of its own backend, which may have no strings.
        take_inputs_as_they_are(self)
        self.tokenizer = tokenizer
        self.in_graph = tokenizer.in_graph()

    def get_config(self) -> dict[str, Any]:
        # Files hold the name that a class is registered under; this package's own classes go without its prefix.
        name = keras.saving.get_registered_name(type(self.tokenizer)).removeprefix(f"{_PACKAGE}>")
        return {**super().get_config(), "tokenizer": {"class_name": name, **self.tokenizer.get_config()}}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "_TextLayer":
        saved = config["tokenizer"]
        name = saved["class_name"]
        registered = keras.saving.get_registered_object
        tokenizer_class = registered(name) or registered(f"{_PACKAGE}>{name}")
        if tokenizer_class is None:
            raise ValueError(
                f"the tokenizer's class must be imported before its layer is loaded, such as tfmodels.{name}. "
                f"Received: class_name={name!r}"
            )
        arguments = {key: value for key, value in config.items() if key != "trainable"}
        return cls(**{**arguments, "tokenizer": tokenizer_class.from_config(saved)})


@keras.saving.register_keras_serializable(package="tfmodels")
class TokenizerLayer(_TextLayer):
    """Texts, or pairs of texts, to padded ids, every row of one static length.

    Args:
        tokenizer: the tokenizer.
        max_length: the length L of every row; longer rows are truncated and keep their final eos.
        global_attention: global tokens, of a tokenizer that marks them: "first" (the default), "question" (of pairs) or
            "none".
        return_segment_mask: adds `segment_mask`, 1 on the tokens of the second text of each pair.

    Call arguments:
        texts: string (B,).
        text_pair: string (B,), the second texts of pairs; none by default.

    Returns:
        a dict of int32 (B, L): `input_ids`, `attention_mask`, of a tokenizer that marks global tokens
        `global_attention_mask`, and on request `segment_mask`.

    Raises:
        ValueError: a length below 2 (for pairs 4 or 6), global tokens where the tokenizer has none, or a call
            without `text_pair` when an argument is about pairs.
    """

    def __init__(
        self,
        tokenizer: TextTokenizer,
        max_length: int,
        global_attention: str | None = None,
        return_segment_mask: bool = False,
        **kwargs: Any,
    ):
        super().__init__(tokenizer, **kwargs)
        self.max_length = check_length(max_length, "max_length")
        check_global_attention(global_attention, tokenizer.marks_global_token, is_pair=True)
        self.global_attention = global_attention
        self.return_segment_mask = return_segment_mask

    def call(self, texts: Any, text_pair: Any = None) -> dict[str, tf.Tensor]:
        texts = tf.convert_to_tensor(texts, tf.string)
        if text_pair is None:
            self._check_single()
            ids = self.in_graph.encode_up_to(texts, self.max_length)
            return self.in_graph.pad_batch(ids, self.max_length, self.global_attention)
        text_pair = tf.convert_to_tensor(text_pair, tf.string)
        first, second = self.in_graph.encode_pair(texts, text_pair, self.max_length)
        return self.in_graph.pad_pair_batch(
            first, second, self.max_length, self.global_attention, self.return_segment_mask
        )

    def _check_single(self) -> None:
        check_global_attention(self.global_attention, self.tokenizer.marks_global_token, is_pair=False)
        if self.return_segment_mask:
            raise ValueError("return_segment_mask needs text_pair. Received: text_pair=None")

    def compute_output_spec(self, texts: Any, text_pair: Any = None) -> dict[str, keras.KerasTensor]:
        if text_pair is None:
            self._check_single()
        names = ["input_ids", "attention_mask", *(["global_attention_mask"] * self.tokenizer.marks_global_token)]
        names += ["segment_mask"] * self.return_segment_mask
        return {name: keras.KerasTensor((texts.shape[0], self.max_length), dtype="int32") for name in names}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "max_length": self.max_length,
            "global_attention": self.global_attention,
            "return_segment_mask": self.return_segment_mask,
        }


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
