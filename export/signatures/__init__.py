"""The exported graphs, one module for each head."""

from typing import Any

from export.signatures.base import ExportSettings, Signatures
from export.signatures.classification import ClassificationSignatures
from export.signatures.generation import GenerationSignatures
from export.signatures.question_answering import AnswerSignatures
from export.signatures.queues import Batching
from tfmodels.modeling.heads import Seq2SeqForQuestionAnswering, Seq2SeqForSequenceClassification
from tfmodels.modeling.language_model import Seq2SeqLM

_SIGNATURES: tuple[tuple[type, type[Signatures]], ...] = (
    (Seq2SeqLM, GenerationSignatures),
    (Seq2SeqForSequenceClassification, ClassificationSignatures),
    (Seq2SeqForQuestionAnswering, AnswerSignatures),
)


def signatures_for(model: Any) -> type[Signatures]:
    """Return the class of the signatures for a model's head.

    Raises:
        ValueError: a model without a head.
    """
    for head, signatures in _SIGNATURES:
        if isinstance(model, head):
            return signatures
    raise ValueError(
        "model must have a head: a language model's, a classifier's or one that answers questions. "
        f"Received: {type(model).__name__}"
    )


__all__ = ["Batching", "ExportSettings", "Signatures", "signatures_for"]
