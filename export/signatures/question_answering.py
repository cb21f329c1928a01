"""Question and text -> ids -> the answer's span -> text.

Shape letters: B documents, L source length.
"""

from typing import Any

import tensorflow as tf

from export.programs import span_logits
from export.signatures.base import Signatures, Tensors
from export.signatures.requests import check_texts, padded_columns
from tfmodels.modeling.heads import best_spans
from tfmodels.text.in_graph import strip_white_space
from tfmodels.utils.checks import check_positive


class AnswerSignatures(Signatures):
    """`serving_default` and `answer`, which are the same, `logits` and `encode` of a question answerer.

    The question's tokens are global, if the model has global tokens, up to `max_global_tokens`.

    Args:
        *arguments: arguments of `Signatures`.
        max_answer_length: the longest answer in tokens.
        **further: arguments of `Signatures`.
    """

    setting_names = ("max_answer_length",)

    def __init__(self, *arguments: Any, max_answer_length: int = 30, **further: Any) -> None:
        super().__init__(*arguments, **further)
        check_positive("max_answer_length", max_answer_length)
        self._longest = max_answer_length
        # Longformer's question answering: every token of the question is global (Beltagy et al. 2020, section 6.2).
        self._marks = "question" if self.tokenizer_graph.spec.marks_global_token else None

    @property
    def head_settings(self) -> dict[str, Any]:
        """The longest answer in tokens."""
        return {"max_answer_length": self._longest}

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of all signatures."""
        return "serving_default", "answer", "logits", "encode"

    def endpoints(self) -> Any:
        """Function and inputs by signature name."""
        texts = {name: tf.TensorSpec([None], tf.string, name=name) for name in ("question", "text")}
        return {
            "serving_default": (self.answer, texts),
            "answer": (self.answer, texts),
            "logits": (self.logits, self.id_specs()),
            "encode": (self.encode, self.id_specs()),
        }

    def answer(self, question: tf.Tensor, text: tf.Tensor) -> Tensors:
        """Questions and texts -> answers.

        Args:
            question: string (B,).
            text: string (B,), the text that holds the answer.

        Returns:
            "text": string (B,), the answer, "" where the text is empty; "score": float32 (B,), its probability; "start"
            and "end": int32 (B,), its first and last token among the ids, -1 where there is none; "truncated": bool
            (B,), whether the pair was longer than the longest length.
        """
        texts = check_texts("question", question), check_texts("text", text)
        ids = self.tokenizer_graph.encode_pair(*texts, self.export_settings.lengths[-1])
        counts = self.tokenizer_graph.pair_counts(*ids)

        def batch_of(length: int) -> Tensors:
            return self.tokenizer_graph.pad_pair_batch(*ids, length, self._marks, return_segment_mask=True)

        outputs = self.run_rows("answer", self._answer, counts, batch_of)
        answers = strip_white_space(self.tokenizer_graph.decode(outputs["ids"]))
        return {"text": answers, **{name: outputs[name] for name in ("score", "start", "end", "truncated")}}

    def logits(self, **inputs: tf.Tensor) -> Tensors:
        """Ids -> "start_logits" and "end_logits" float32 (B, L); inputs as for `encode`."""
        inputs = self.checked(inputs)
        length = tf.shape(inputs["input_ids"])[1]
        return self.run("logits", self._logits, length, lambda padded: padded_columns(inputs, padded), cut_to=length)

    def _logits(self, batch: Tensors) -> Tensors:
        return span_logits(self.model, batch)

    def _answer(self, batch: Tensors) -> Tensors:
        """The span, and its ids int32 (B, D) for answers of D tokens, -1 behind its end."""
        text_mask = batch["segment_mask"]
        inputs = {name: value for name, value in batch.items() if name != "segment_mask"}
        longest = min(self._longest, text_mask.shape[1])
        span = best_spans(**self._logits(inputs), text_mask=text_mask, max_answer_length=longest)
        positions = span["start"][:, tf.newaxis] + tf.range(longest)
        is_answer = (positions <= span["end"][:, tf.newaxis]) & (span["start"][:, tf.newaxis] >= 0)
        ids = tf.gather(inputs["input_ids"], tf.where(is_answer, positions, 0), batch_dims=1)
        # Of one width at every length: rows of several lengths come together again.
        missing = [[0, 0], [0, self._longest - longest]]
        return {**span, "ids": tf.pad(tf.where(is_answer, ids, -1), missing, constant_values=-1)}
