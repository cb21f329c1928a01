"""The heads besides the language model's: sequence classification and question answering.

As in BART (Lewis et al. 2020, section 4), their decoder reads the source once more, shifted by one: only then does it
have a state for every token of it. Decoder inputs of the caller's own take the place of that.

Shape letters: B batch, S source length, T target length, E model size, C classes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from tfmodels.backend.types import Tensor
from tfmodels.backend.value_checks import checked_ids, concrete_value
from tfmodels.checkpoints.mapping import DENSE, WeightRule
from tfmodels.layers.dropout import Dropout
from tfmodels.layers.projection import projection
from tfmodels.modeling.inputs import shifted_labels
from tfmodels.modeling.losses import LossTerm, classification_terms, has_loss, mean_loss, problem_type_of, span_terms
from tfmodels.modeling.seq2seq import Seq2Seq
from tfmodels.utils.labels import IGNORED_LABEL

CLASSIFIER_ROWS = [
    WeightRule("classification_head.dense", "classification_head.dense", DENSE),
    WeightRule("classification_head.out_proj", "classification_head.out_proj", DENSE),
]
SPAN_ROWS = [WeightRule("qa_outputs", "qa_outputs", DENSE)]


class ClassificationHead(keras.layers.Layer):
    """dropout, projection, tanh, dropout, projection: (B, E) -> (B, C)."""

    def __init__(self, width: int, classes: int, dropout: float, stddev: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense = projection("dense", width, stddev, True, self.dtype_policy)
        self.out_proj = projection("out_proj", classes, stddev, True, self.dtype_policy)
        self.dropout = Dropout(dropout, dtype=self.dtype_policy, name="dropout")

    def build(self, inputs_shape: Any) -> None:
        """Build both projections."""
        self.dense.build(inputs_shape)
        self.out_proj.build((*inputs_shape[:-1], self.dense.units))

    # By tracing the call, as where there is no `compute_output_shape`.
    compute_output_spec = keras.Operation.compute_output_spec

    def compute_output_shape(self, inputs_shape: Any) -> tuple[Any, ...]:
        """(B, C)."""
        return (*inputs_shape[:-1], self.out_proj.units)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Logits."""
        hidden = ops.tanh(self.dense(self.dropout(inputs, training=training)))
        return self.out_proj(self.dropout(hidden, training=training))


class ReadsSourceTwice(Seq2Seq):
    """Base of both: the decoder's default inputs are the source."""

    @classmethod
    def check_head(cls, names: Sequence[str], source: str) -> None:
        """Raise `ValueError` where a file is plainly of a model with another head."""
        if not any(name.startswith(cls.head_prefixes) for name in names):
            head = " or ".join(prefix.rstrip(".") for prefix in cls.head_prefixes)
            raise ValueError(f"{source} must hold the head {head}. Received: none; new_head=True starts one to train")

    def default_target(self, inputs: Mapping[str, Any]) -> Tensor | None:
        """The source, shifted right; None where there are embeddings alone."""
        ids = inputs["input_ids"]
        if ids is None:
            return None
        if ids.shape[1] is not None:
            self.check_target_length("input_ids, which the decoder reads too,", ids.shape[1])
        return shifted_labels(ids, self.config)


class Seq2SeqClassifier(ReadsSourceTwice):
    """Base of the sequence classifiers.

    Further call arguments:
        labels: by `problem_type` of the config: (B,) class ids, (B,) or (B, C) numbers, or (B, C) zeros and ones.
        decoder_input_ids: None: `input_ids` shifted right, so that their length is at most that of the decoder.

    Returns:
        "logits" (B, C), and "loss" where there are labels. The state that is classified is the decoder's at the last
        end token of `input_ids`, or, for decoder inputs of the caller's own, at their last token that is not padding.

    Raises:
        ValueError: a row without an end token (eager calls).
    """

    head_inputs: ClassVar[tuple[str, ...]] = ("labels",)
    head_prefixes: ClassVar[tuple[str, ...]] = ("classification_head.",)

    takes_class_weight: ClassVar[bool] = True

    def label_classes(self, labels: Any) -> int | None:
        """How many classes labels are of; None where they are numbers or have several classes each."""
        return self.config.num_labels if self._are_classes(labels) else None

    def make_classifier(self, stddev: float, policy: Any) -> None:
        """Create and build the head."""
        config = self.config
        sizes = config.d_model, config.num_labels, config.classifier_dropout, stddev
        self.classification_head = ClassificationHead(*sizes, dtype=policy, name="classification_head")
        self.classification_head.build((None, config.d_model))

    def head(self, hidden_states: Tensor, inputs: Mapping[str, Any], training: bool | None) -> dict[str, Tensor]:
        """Logits of the classes, and the loss."""
        here = self._classified_position(hidden_states, inputs)  # bool (B, T), one True per row
        # A masked sum, not a gather: its gradient is a product too.
        state = ops.sum(hidden_states * ops.cast(here, hidden_states.dtype)[..., None], axis=1)
        logits = self.classification_head(state)
        if inputs["labels"] is None:
            return {"logits": logits}
        outputs = {"logits": logits}
        return {"loss": mean_loss(self.loss_terms(inputs["labels"], outputs)), **outputs}

    def _classified_position(self, hidden_states: Tensor, inputs: Mapping[str, Any]) -> Tensor:
        own_target = inputs["decoder_input_ids"] is not None or inputs["decoder_inputs_embeds"] is not None
        if not own_target:
            is_end = ops.equal(inputs["input_ids"], self.config.eos_token_id)
            ends = concrete_value(is_end)
            if ends is not None and not ends.any(axis=1).all():
                row = int((~ends.any(axis=1)).argmax())
                raise ValueError(
                    f"input_ids must hold eos_token_id={self.config.eos_token_id} in every row: the state there is "
                    f"classified. Received: none in row {row}"
                )
        elif inputs["decoder_attention_mask"] is not None:
            is_end = ops.not_equal(inputs["decoder_attention_mask"], 0)
        else:
            is_end = ops.ones(ops.shape(hidden_states)[:2], "bool")
        position = ops.arange(ops.shape(hidden_states)[1], dtype="int32")
        last = ops.max(ops.where(is_end, position, 0), axis=1, keepdims=True)
        return ops.equal(position[None, :], last)

    def loss_terms(self, targets: Any, outputs: Mapping[str, Any], weights: Any = None) -> list[LossTerm]:
        """The loss that the problem type says, over the rows."""
        if self._are_classes(targets):
            targets = checked_ids("labels", targets, self.config.num_labels, ignored=IGNORED_LABEL)
        return classification_terms(targets, outputs["logits"], self.config.problem_type, weights)

    def counted(self, targets: Any, inputs: Mapping[str, Any]) -> tuple[Any, Any]:
        """Labels, and the rows that count: those whose label is a class, where labels are classes."""
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


class Seq2SeqQuestionAnswerer(ReadsSourceTwice):
    """Base of the models that find an answer's span.

    Further call arguments:
        start_positions, end_positions: int32 (B,), first and last token of the answer; beyond the inputs: no loss.
        decoder_input_ids: None: `input_ids` shifted right, so that their length is at most that of the decoder.

    Returns:
        "start_logits" and "end_logits" (B, T), and "loss" where both positions are given.
    """

    head_inputs: ClassVar[tuple[str, ...]] = ("start_positions", "end_positions")
    head_prefixes: ClassVar[tuple[str, ...]] = ("qa_outputs.",)

    def make_span_head(self, stddev: float, policy: Any) -> None:
        """Create and build the head."""
        self.qa_outputs = projection("qa_outputs", 2, stddev, True, policy)
        self.qa_outputs.build((None, None, self.config.d_model))

    def head(self, hidden_states: Tensor, inputs: Mapping[str, Any], training: bool | None) -> dict[str, Tensor]:
        """Logits of each token being the first or the last of the answer, and the loss."""
        logits = self.qa_outputs(hidden_states)  # (B, T, 2)
        outputs = {"start_logits": logits[..., 0], "end_logits": logits[..., 1]}
        positions = inputs["start_positions"], inputs["end_positions"]
        if any(position is None for position in positions):
            return outputs
        return {"loss": mean_loss(self.loss_terms(positions, outputs)), **outputs}

    def loss_terms(self, targets: Any, outputs: Mapping[str, Any], weights: Any = None) -> list[LossTerm]:
        """The losses of the start and of the end."""
        return span_terms(*self._pair(targets), outputs["start_logits"], outputs["end_logits"], weights)

    def counted(self, targets: Any, inputs: Mapping[str, Any]) -> tuple[Any, Any]:
        """Pairs of positions, and of those that are among the tokens that the decoder reads."""
        names = ("decoder_input_ids", "decoder_inputs_embeds", "input_ids")
        length = ops.shape(next(inputs[name] for name in names if name in inputs))[1]
        # As the loss clips.
        positions = [ops.maximum(ops.cast(ops.reshape(x, (-1,)), "int32"), 0) for x in self._pair(targets)]
        are_counted = tuple(x < length for x in positions)
        return tuple(ops.where(known, x, 0) for known, x in zip(are_counted, positions, strict=True)), are_counted

    def _pair(self, targets: Any) -> tuple[Any, Any]:
        """Start and end positions out of a pair or a dict of them, which may be given as `y`."""
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
