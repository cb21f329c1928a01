"""The sequence classification and question answering heads.

As in BART (Lewis et al. 2020, section 4), the decoder input is the source, shifted right, so that there is one decoder
state per source token. Decoder inputs of the caller take its place.

Further shape letters: J classes.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
from keras import ops

from tfmodels.backend.types import Tensor
from tfmodels.backend.value_checks import checked_ids, concrete_value
from tfmodels.checkpoints.mapping import DENSE, WeightRule
from tfmodels.layers.dropout import Dropout
from tfmodels.layers.projection import projection
from tfmodels.modeling.inputs import Seq2SeqInputs
from tfmodels.modeling.losses import LossTerm, classification_terms, has_loss, mean_loss, problem_type_of, span_terms
from tfmodels.modeling.seq2seq import Seq2SeqModel
from tfmodels.utils.labels import IGNORED_LABEL

_IMPOSSIBLE = -1e9  # the log-probability of a forbidden span

CLASSIFICATION_RULES = [
    WeightRule("classification_head.dense", "classification_head.dense", DENSE),
    WeightRule("classification_head.out_proj", "classification_head.out_proj", DENSE),
]
SPAN_RULES = [WeightRule("qa_outputs", "qa_outputs", DENSE)]


class ClassificationHead(keras.layers.Layer):
    """BART's classification head: dropout, projection, tanh, dropout, projection: (B, E) -> (B, J)."""

    summing_projections: ClassVar[tuple[str, ...]] = ("out_proj",)

    def __init__(self, width: int, classes: int, dropout: float, stddev: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense = projection("dense", width, stddev, True, self.dtype_policy)
        self.out_proj = projection("out_proj", classes, stddev, True, self.dtype_policy)
        self.dropout = Dropout(dropout, dtype=self.dtype_policy, name="dropout")

    def build(self, inputs_shape: Any) -> None:
        """Build both projections."""
        self.dense.build(inputs_shape)
        self.out_proj.build((*inputs_shape[:-1], self.dense.units))

    # Trace the call, as Keras does without `compute_output_shape`.
    compute_output_spec = keras.Operation.compute_output_spec

    def compute_output_shape(self, inputs_shape: Any) -> tuple[Any, ...]:
        """(B, J)."""
        return (*inputs_shape[:-1], self.out_proj.units)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Compute the logits (B, J)."""
        hidden = ops.tanh(self.dense(self.dropout(inputs, training=training)))
        return self.out_proj(self.dropout(hidden, training=training))


class Seq2SeqForSequenceClassification(Seq2SeqModel):
    """Base class of the sequence classifiers.

    Further call arguments:
        labels: by `problem_type` of the config: (B,) class ids, (B,) or (B, J) numbers, or (B, J) zeros and ones.
        decoder_input_ids: None: `input_ids` shifted right, whose length the decoder's positions then limit.

    Returns:
        "logits" (B, J), and "loss" with labels. The classified state is the decoder's at the last end token of
        `input_ids`, or, for decoder inputs of the caller, at their last token except padding.

    Raises:
        ValueError: a row without an end token (eager calls).
    """

    pipeline_tag: ClassVar[str] = "text-classification"
    head_inputs: ClassVar[tuple[str, ...]] = ("labels",)
    decoder_reads_source: ClassVar[bool] = True
    takes_class_weight: ClassVar[bool] = True

    def label_classes(self, labels: Any) -> int | None:
        """The number of classes of class ids; None for numbers and for labels of several classes each."""
        return self.config.num_labels if self._are_classes(labels) else None

    def create_head(self, policy: keras.DTypePolicy) -> None:
        """Create and build the head."""
        config = self.config
        sizes = config.d_model, config.num_labels, config.classifier_dropout, self.backbone.head_stddev(config)
        self.classification_head = ClassificationHead(*sizes, dtype=policy, name="classification_head")
        self.classification_head.build((None, config.d_model))

    def head(self, hidden_states: Tensor, inputs: Seq2SeqInputs, training: bool | None) -> dict[str, Tensor]:
        """The logits of the classes, and the loss."""
        here = self._classified_position(hidden_states, inputs)  # bool (B, T), one True per row
        # A masked sum in place of a gather: its gradient is a product too.
        state = ops.sum(hidden_states * ops.cast(here, hidden_states.dtype)[..., None], axis=1)
        logits = self.classification_head(state)
        if inputs.labels is None:
            return {"logits": logits}
        outputs = {"logits": logits}
        return {"loss": mean_loss(self.loss_terms(inputs.labels, outputs)), **outputs}

    def _classified_position(self, hidden_states: Tensor, inputs: Seq2SeqInputs) -> Tensor:
        has_target = inputs.decoder_input_ids is not None or inputs.decoder_inputs_embeds is not None
        if not has_target:
            is_end = ops.equal(inputs.input_ids, self.config.eos_token_id)
            ends = concrete_value(is_end)
            if ends is not None and not ends.any(axis=1).all():
                row = int((~ends.any(axis=1)).argmax())
                raise ValueError(
                    f"input_ids must hold eos_token_id={self.config.eos_token_id} in every row: the state there is "
                    f"classified. Received: none in row {row}"
                )
        elif inputs.decoder_attention_mask is not None:
            is_end = ops.not_equal(inputs.decoder_attention_mask, 0)
        else:
            is_end = ops.ones(ops.shape(hidden_states)[:2], "bool")
        position = ops.arange(ops.shape(hidden_states)[1], dtype="int32")
        last = ops.max(ops.where(is_end, position, 0), axis=1, keepdims=True)
        return ops.equal(position[None, :], last)

    def loss_terms(self, targets: Any, outputs: Mapping[str, Any], weights: Any = None) -> list[LossTerm]:
        """The loss of the problem type, over the rows."""
        if self._are_classes(targets):
            targets = checked_ids("labels", targets, self.config.num_labels, ignored=IGNORED_LABEL)
        return classification_terms(targets, outputs["logits"], self.config.problem_type, weights)

    def counted(self, targets: Any, inputs: Mapping[str, Any]) -> tuple[Any, Any]:
        """The labels, and the rows that count: for class ids the rows with a known class, otherwise all."""
        if not self._are_classes(targets):
            return targets, ops.ones(ops.shape(targets)[:1], "bool")
        labels = checked_ids("labels", targets, self.config.num_labels, ignored=IGNORED_LABEL)
        labels = ops.cast(ops.reshape(labels, (-1,)), "int32")
        is_counted = has_loss(labels, self.config.num_labels)
        return ops.where(is_counted, labels, 0), is_counted

    def _are_classes(self, labels: Any) -> bool:
        """Whether labels are class ids, one for each row."""
        kind = problem_type_of(ops.convert_to_tensor(labels), self.config.num_labels, self.config.problem_type)
        return kind == "single_label_classification"

    def main_output(self, outputs: Mapping[str, Any]) -> Any:
        """The logits."""
        return outputs["logits"]


class Seq2SeqForQuestionAnswering(Seq2SeqModel):
    """Base class of the extractive question answering models.

    Further call arguments:
        start_positions, end_positions: int32 (B,), first and last token of the answer; beyond the inputs: no loss.
        decoder_input_ids: None: `input_ids` shifted right, whose length the decoder's positions then limit.

    Returns:
        "start_logits" and "end_logits" (B, T), and "loss" with both positions.
    """

    pipeline_tag: ClassVar[str] = "question-answering"
    head_inputs: ClassVar[tuple[str, ...]] = ("start_positions", "end_positions")
    decoder_reads_source: ClassVar[bool] = True

    def create_head(self, policy: keras.DTypePolicy) -> None:
        """Create and build the head."""
        self.qa_outputs = projection("qa_outputs", 2, self.backbone.head_stddev(self.config), True, policy)
        self.qa_outputs.build((None, None, self.config.d_model))

    def head(self, hidden_states: Tensor, inputs: Seq2SeqInputs, training: bool | None) -> dict[str, Tensor]:
        """The logits of each token as the first or the last of the answer, and the loss."""
        logits = self.qa_outputs(hidden_states)  # (B, T, 2)
        outputs = {"start_logits": logits[..., 0], "end_logits": logits[..., 1]}
        positions = inputs.start_positions, inputs.end_positions
        if any(position is None for position in positions):
            return outputs
        return {"loss": mean_loss(self.loss_terms(positions, outputs)), **outputs}

    def loss_terms(self, targets: Any, outputs: Mapping[str, Any], weights: Any = None) -> list[LossTerm]:
        """The losses of the start and of the end."""
        return span_terms(*self._pair(targets), outputs["start_logits"], outputs["end_logits"], weights)

    def counted(self, targets: Any, inputs: Mapping[str, Any]) -> tuple[Any, Any]:
        """The pair of positions, and for each the rows whose position is among the decoder's tokens."""
        names = ("decoder_input_ids", "decoder_inputs_embeds", "input_ids")
        length = ops.shape(next(inputs[name] for name in names if name in inputs))[1]
        # As the loss clips.
        positions = [ops.maximum(ops.cast(ops.reshape(x, (-1,)), "int32"), 0) for x in self._pair(targets)]
        are_counted = tuple(x < length for x in positions)
        return tuple(ops.where(known, x, 0) for known, x in zip(are_counted, positions, strict=True)), are_counted

    def _pair(self, targets: Any) -> tuple[Any, Any]:
        """The start and end positions in a pair or a dict."""
        if isinstance(targets, Mapping) and set(targets) == set(self.head_inputs):
            targets = tuple(targets[name] for name in self.head_inputs)
        if not isinstance(targets, (tuple, list)) or len(targets) != 2:
            raise ValueError(
                "y must be a pair (start_positions, end_positions) or a dict of them. "
                f"Received: {type(targets).__name__}"
            )
        return targets[0], targets[1]

    def main_output(self, outputs: Mapping[str, Any]) -> Any:
        """Both logits."""
        return outputs["start_logits"], outputs["end_logits"]


def best_spans(
    start_logits: Tensor, end_logits: Tensor, text_mask: Tensor, max_answer_length: int = 30
) -> dict[str, Tensor]:
    """The most probable span of each text, from 1 to `max_answer_length` tokens long.

    A span's probability is the product of the probabilities of its first and its last token (BERT, Devlin et al. 2019,
    section 4.2), each a softmax over the tokens of the text.

    Args:
        start_logits, end_logits: float (B, S).
        text_mask: (B, S), non-zero on the text's tokens, zero on the question and on padding.
        max_answer_length: in tokens.

    Returns:
        "start" and "end": int32 (B,), first and last token, -1 without text; "score": float32 (B,), the probability.

    Raises:
        ValueError: `max_answer_length` below 1.

    >>> spans = best_spans(ops.array([[0.0, 9.0, 0.0]]), ops.array([[9.0, 0.0, 8.0]]), ops.array([[1, 1, 1]]))
    >>> [int(spans[name][0]) for name in ("start", "end")]
    [1, 2]
    """
    if max_answer_length < 1:
        raise ValueError(f"max_answer_length must be at least 1. Received: max_answer_length={max_answer_length}")
    is_text = ops.not_equal(text_mask, 0)
    starts, ends = (_log_probabilities(logits, is_text) for logits in (start_logits, end_logits))
    longest = min(max_answer_length, starts.shape[1])
    ends = ops.pad(ends, [[0, 0], [0, longest - 1]], constant_values=_IMPOSSIBLE)
    width = starts.shape[1]
    spans = ops.stack([starts + ends[:, more : more + width] for more in range(longest)], axis=2)  # (B, S, longest)
    flat = ops.reshape(spans, (-1, width * longest))
    best = ops.cast(ops.argmax(flat, axis=1), "int32")
    start, end = best // longest, best // longest + best % longest
    has_text = ops.any(is_text, axis=1)
    return {
        "start": ops.where(has_text, start, -1),
        "end": ops.where(has_text, end, -1),
        "score": ops.where(has_text, ops.exp(ops.max(flat, axis=1)), 0.0),
    }


def _log_probabilities(logits: Tensor, is_text: Tensor) -> Tensor:
    masked = ops.where(is_text, ops.cast(logits, "float32"), _IMPOSSIBLE)
    return ops.where(is_text, ops.log_softmax(masked, axis=1), _IMPOSSIBLE)
