"""The graphs that are exported, one module for each head."""

from typing import Any

from export.signatures.base import Layout, Signatures
from export.signatures.classification import ClassificationSignatures
from export.signatures.generation import GenerationSignatures
from export.signatures.question_answering import AnswerSignatures
from tfmodels.modeling.heads import Seq2SeqForQuestionAnswering, Seq2SeqForSequenceClassification
from tfmodels.modeling.language_model import Seq2SeqLM

_KINDS: tuple[tuple[type, type[Signatures]], ...] = (
    (Seq2SeqLM, GenerationSignatures),
    (Seq2SeqForSequenceClassification, ClassificationSignatures),
    (Seq2SeqForQuestionAnswering, AnswerSignatures),
)


def kind_of_signatures(model: Any) -> type[Signatures]:
    """The class of the signatures of a model's head.

    Raises:
        ValueError: a model without a head.
    """
    for head, kind in _KINDS:
        if isinstance(model, head):
            return kind
    raise ValueError(
        "model must have a head: a language model's, a classifier's or one that answers questions. "
        f"Received: {type(model).__name__}"
    )


__all__ = ["Layout", "Signatures", "kind_of_signatures"]
