"""Text -> ids -> class.

Shape letters: B documents, C classes, L source length.
"""

from typing import Any

import tensorflow as tf

from export.programs import class_logits
from export.signatures.base import Signatures, Tensors


class ClassificationSignatures(Signatures):
    """`serving_default` and `classify`, which are the same, `logits` and `encode` of a sequence classifier.

    Probabilities are a softmax over the classes; with several labels at once (`problem_type`
    "multi_label_classification") or with one class each is a logistic function of its own logit. A regression's
    numbers are returned as they are.
    """

    def __init__(self, *arguments: Any, **further: Any) -> None:
        super().__init__(*arguments, **further)
        with tf.init_scope():
            self.labels = tf.constant(self.head_settings["labels"])

    @property
    def head_settings(self) -> dict[str, Any]:
        """The kind of problem, and the names of the classes."""
        config = self.model.config
        labels = [config.id2label[index] for index in range(config.num_labels)]
        return {"problem_type": config.problem_type, "labels": labels}

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of all signatures."""
        return "serving_default", "classify", "logits", "encode"

    def endpoints(self) -> Any:
        """Function and inputs by signature name."""
        text = {"text": tf.TensorSpec([None], tf.string, name="text")}
        return {
            "serving_default": (self.classify, text),
            "classify": (self.classify, text),
            "logits": (self.logits, self.id_specs()),
            "encode": (self.encode, self.id_specs()),
        }

    def classify(self, text: tf.Tensor) -> Tensors:
        """Texts -> classes.

        Args:
            text: string (B,).

        Returns:
            "label": string (B,), the name of the most probable class; "probabilities": float32 (B, C); or of a
            regression "values": float32 (B, C); "truncated": bool (B,), whether a text was longer than the longest
            length.
        """
        outputs = self.run_text("logits", self._program, text)
        return {**self._classes(outputs["logits"]), "truncated": outputs["truncated"]}

    def logits(self, **inputs: tf.Tensor) -> Tensors:
        """Ids -> "logits" float32 (B, C); inputs as for `encode`, each row with an end token."""
        return self.run_ids("logits", self._program, self.checked(inputs))

    def _program(self, batch: Tensors) -> Tensors:
        return class_logits(self.model, batch)

    def _classes(self, logits: tf.Tensor) -> Tensors:
        problem = self.head_settings["problem_type"]
        if problem == "regression":
            return {"values": logits}
        is_single = problem != "multi_label_classification" and logits.shape[1] != 1
        return {
            "label": tf.gather(self.labels, tf.argmax(logits, axis=1)),
            "probabilities": tf.nn.softmax(logits) if is_single else tf.sigmoid(logits),
        }
