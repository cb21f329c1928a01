"""Text -> ids -> summary ids -> text.

Shape letters: B documents, N sequences of a document, L source length, T length of a summary.
"""

from typing import Any

import tensorflow as tf

from export.signatures.base import Signatures, Tensors
from export.signatures.requests import check_range
from tfmodels import GenerationConfig


class GenerationSignatures(Signatures):
    """`serving_default`, `summarize`, `generate` and `encode` of a model with a language model's head.

    Args:
        *arguments: arguments of `Signatures`.
        generation_config: settings, see `GenerationConfig.of`; None: the model's.
        **further: arguments of `Signatures`.
    """

    setting_names = ("generation_config",)

    def __init__(self, *arguments: Any, generation_config: Any = None, **further: Any) -> None:
        super().__init__(*arguments, **further)
        settings = GenerationConfig.of(generation_config, self.model.generation_config)
        self.is_random = bool(settings.do_sample) and settings.seed is None
        # A beam search returns any of its beams; of samples only the settings' number.
        beams = settings.num_beams if settings.num_beams > 1 else settings.num_return_sequences
        self._generation = _Settings(settings, beams)

    @property
    def head_settings(self) -> dict[str, Any]:
        """The settings of the search."""
        return self._generation.requested.to_dict()

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of all signatures."""
        return "serving_default", "summarize", "generate", "encode"

    def endpoints(self) -> Any:
        """Function and inputs by signature name."""
        text = {"text": tf.TensorSpec([None], tf.string, name="text")}
        numbers = {
            name: tf.TensorSpec([None], tf.int32, name=name) for name in ("max_new_tokens", "num_return_sequences")
        }
        return {
            "serving_default": (self.serve, text),
            "summarize": (self.summarize, {**text, **numbers}),
            "generate": (self.generate, self.id_specs()),
            "encode": (self.encode, self.id_specs()),
        }

    def serve(self, text: tf.Tensor) -> Tensors:
        """Texts -> summaries.

        Args:
            text: string (B,).

        Returns:
            "text": string (B,); "score": float32 (B,), log-probability over length ** length_penalty; "truncated": bool
            (B,), whether a text was longer than the longest length.
        """
        limits = tf.fill(tf.shape(text), self._generation.most_new_tokens)
        outputs = self.run_text("generate", self._program, text, limits=limits)
        return {
            "text": self.tokenizer_graph.decode(outputs["sequences"][:, 0]),
            "score": outputs["scores"][:, 0],
            "truncated": outputs["truncated"],
        }

    def summarize(self, text: tf.Tensor, max_new_tokens: tf.Tensor, num_return_sequences: tf.Tensor) -> Tensors:
        """Texts -> summaries, with lengths and numbers of the request's own.

        Args:
            text: string (B,).
            max_new_tokens: int32 (B,), the longest summary of each text, from 1 to that of the settings.
            num_return_sequences: int32 (B,), summaries of each text, from 1 to the number of beams or samples.

        Returns:
            "text": string (B, N) and "score": float32 (B, N), the best first, N the largest of the numbers asked for;
            beyond a text's own number "" and 0; "truncated": bool (B,).
        """
        rows, generation = tf.size(text), self._generation
        limits = check_range("max_new_tokens", max_new_tokens, rows, generation.most_new_tokens)
        counts = check_range("num_return_sequences", num_return_sequences, rows, generation.sequences)
        # Behind all checks: a request that fails while its rows are in a batch ends the batch for its neighbours, too.
        with tf.control_dependencies([limits, counts]):
            text = tf.identity(text)
        outputs = self.run_text("generate", self._program, text, limits=limits)
        most = tf.reduce_max(tf.concat([counts, [1]], axis=0))
        sequences, scores = outputs["sequences"][:, :most], outputs["scores"][:, :most]
        texts = self.tokenizer_graph.decode(tf.reshape(sequences, (-1, generation.length)))
        is_requested = tf.range(most) < counts[:, tf.newaxis]
        return {
            "text": tf.where(is_requested, tf.reshape(texts, tf.shape(scores)), ""),
            "score": tf.where(is_requested, scores, 0.0),
            "truncated": outputs["truncated"],
        }

    def generate(self, **inputs: tf.Tensor) -> Tensors:
        """Ids -> ids: "sequences" int32 (B, T) and "scores" float32 (B,); inputs as for `encode`."""
        inputs = self.checked(inputs)
        limits = tf.fill([tf.shape(inputs["input_ids"])[0]], self._generation.most_new_tokens)
        outputs = self.run_ids("generate", self._program, inputs, limits=limits)
        return {"sequences": outputs["sequences"][:, 0], "scores": outputs["scores"][:, 0]}

    def _program(self, batch: Tensors, limits: tf.Tensor) -> Tensors:
        """ "sequences" (B, N, T) and "scores" (B, N)."""
        generation = self._generation
        outputs = self.model.generate(
            **batch,
            generation_config=generation.config,
            new_token_limits=limits,
            return_dict=True,
            output_scores=False,
        )
        shape = (-1, generation.sequences)
        return {
            "sequences": tf.reshape(outputs["sequences"], (*shape, generation.length)),
            "scores": tf.reshape(outputs["sequences_scores"], shape),
        }


class _Settings:
    """The settings of a search, with the sizes that follow from them."""

    def __init__(self, requested: GenerationConfig, sequences: int) -> None:
        self.requested = requested
        self.sequences = sequences
        self.config = requested.replace(num_return_sequences=sequences)
        self.length = requested.total_length(1)
        self.most_new_tokens = self.length - 1
