"""The graph that is exported: text -> ids -> summary ids -> text, with one branch per input length.

Shape letters: B documents, L source length, T length of a summary, E model size.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from tfmodels import GenerationConfig
from tfmodels.language_model import Seq2SeqLM


class SummarizationSignatures(tf.Module):
    """The signatures of a summariser as `tf.function`s, and every weight and table that they use.

    Args:
        model: the model.
        tokenizer: its tokenizer.
        lengths: source lengths in tokens, ascending.
        settings: of the generation; one sequence per document.
        jit_compile: compile the model's part under XLA (stock servers refuse such graphs).
    """

    def __init__(
        self,
        model: Seq2SeqLM,
        tokenizer: Any,
        lengths: Sequence[int],
        settings: GenerationConfig,
        jit_compile: bool = False,
    ) -> None:
        super().__init__()
        self.model_variables = [weight.value for weight in model.variables]
        self.tokenizer_graph = tokenizer.in_graph()
        self._model = _Untracked(model)
        self._lengths = tuple(lengths)
        self._settings = settings
        self._jit_compile = jit_compile

    def functions(self) -> dict[str, Callable[..., Any]]:
        """Concrete functions by signature name."""
        model = self._model.value
        ids = {name: tf.TensorSpec([None, None], tf.int32, name=name) for name in model.encoder_inputs}
        text = {"text": tf.TensorSpec([None], tf.string, name="text")}
        signatures = {
            "serving_default": (self.summarize, text),
            "generate": (self.generate, ids),
            "encode": (self.encode, ids),
        }
        return {
            name: tf.function(function, autograph=False).get_concrete_function(**specs)
            for name, (function, specs) in signatures.items()
        }

    def summarize(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Texts -> summaries.

        Args:
            text: string (B,).

        Returns:
            "text": string (B,); "score": float32 (B,), log-probability over length ** length_penalty; "truncated": bool
            (B,), whether a text was longer than the longest length.
        """
        ids = self.tokenizer_graph.encode(text)
        counts = tf.cast(ids.row_lengths(), tf.int32)

        def branch(length: int) -> Callable[[], tuple[tf.Tensor, tf.Tensor]]:
            return lambda: self._generate(self.tokenizer_graph.pad_batch(ids, length))

        sequences, scores = self._switch_length(tf.reduce_max(tf.concat([counts, [0]], axis=0)), branch)
        return {
            "text": self.tokenizer_graph.decode(sequences),
            "score": scores,
            "truncated": counts > self._lengths[-1],
        }

    def generate(self, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Ids -> ids: "sequences" int32 (B, T) and "scores" float32 (B,).

        Args:
            **inputs: `input_ids`, `attention_mask` and, for LED, `global_attention_mask`, int32 (B, L) with L at most
                the longest length. The mask is required: servers pad batches of ids with arbitrary values.
        """

        def branch(length: int) -> Callable[[], tuple[tf.Tensor, tf.Tensor]]:
            return lambda: self._generate(_pad_to(inputs, length))

        sequences, scores = self._switch_length(self._checked_length(inputs), branch)
        return {"sequences": sequences, "scores": scores}

    def encode(self, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Ids -> "last_hidden_state" float32 (B, L, E); inputs as for `generate`."""
        given = self._checked_length(inputs)

        def branch(length: int) -> Callable[[], tf.Tensor]:
            def run() -> tf.Tensor:
                hidden = self._model.value.encode(**_pad_to(inputs, length))["last_hidden_state"]
                return tf.cast(hidden[:, :given], tf.float32)

            return run

        return {"last_hidden_state": self._switch_length(given, branch)}

    def _generate(self, batch: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        outputs = self._model.value.generate(
            **batch,
            generation_config=self._settings,
            return_dict=True,
            output_scores=False,
            jit_compile=self._jit_compile,
        )
        return outputs["sequences"], outputs["sequences_scores"]

    def _switch_length(self, tokens: tf.Tensor, branch: Callable[[int], Callable[[], Any]]) -> Any:
        """Run the branch of the smallest length that holds `tokens`, or of the longest."""
        index = tf.reduce_sum(tf.cast(tokens > tf.constant(self._lengths[:-1], tf.int32), tf.int32))
        return tf.switch_case(index, [branch(length) for length in self._lengths])

    def _checked_length(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        length = tf.shape(inputs["input_ids"])[1]
        message = f"input_ids must have at most {self._lengths[-1]} tokens per row"
        with tf.control_dependencies([tf.debugging.assert_less_equal(length, self._lengths[-1], message=message)]):
            return tf.identity(length)


class _Untracked:
    """Keeps the Keras model out of the SavedModel's object graph, which holds its variables and nothing else of it."""

    def __init__(self, value: Seq2SeqLM) -> None:
        self.value = value


def _pad_to(inputs: Mapping[str, tf.Tensor], length: int) -> dict[str, tf.Tensor]:
    """Inputs (B, given) -> (B, length), for given <= length; the mask says what is padding."""
    padded = {}
    for name, value in inputs.items():
        # Branches that are not taken are built too: they must not see a negative width.
        missing = tf.maximum(length - tf.shape(value)[1], 0)
        padded[name] = tf.ensure_shape(tf.pad(value, [[0, 0], [0, missing]])[:, :length], (None, length))
    return padded
