"""Greedy search and sampling: every row is continued by itself.

K are here the rows of a document, and T the full length.
"""

from typing import NamedTuple

from keras import ops

from tfmodels.backend.random import gumbel
from tfmodels.backend.types import Tensor
from tfmodels.generation.logits_processors import FORBIDDEN
from tfmodels.generation.search import Search, State, write_token


class _Rows(NamedTuple):
    scores: Tensor  # float32 (B, K): summed log-probabilities
    ended_at: Tensor  # int32 (B, K): position of the last token, 0 for a row that has not ended


class SamplingSearch(Search):
    """Greedy search, which takes the best token at each position; with `do_sample` sampling, which draws it."""

    def init_search_state(self, tokens: Tensor) -> _Rows:
        """Scores of 0; the rows of empty documents have ended."""
        first = tokens[:, :, 0]
        ended_at = ops.zeros_like(first)
        if self.inputs.is_empty is not None:
            ended_at = ops.where(self.inputs.is_empty[:, None], 1, ended_at)
        return _Rows(ops.zeros_like(first, dtype="float32"), ended_at)

    def base_scores(self, logits: Tensor) -> Tensor:
        """The logits unchanged, as for transformers' processors."""
        return logits

    def choose(self, state: State, scores: Tensor) -> State:
        """Take or draw a token of each row; rows that have ended are padded."""
        noisy = scores
        if self.config.do_sample:
            noisy = scores + gumbel(self.inputs.seed, state.position, ops.shape(scores)[0], scores.shape[1])
        chosen = ops.cast(ops.argmax(noisy, axis=-1), "int32")  # (R,)
        gained = ops.take_along_axis(ops.log_softmax(scores, axis=-1), chosen[:, None], axis=1)
        # If all tokens are forbidden, the softmax is NaN.
        gained = ops.where(ops.max(scores, axis=-1, keepdims=True) > FORBIDDEN, gained, FORBIDDEN)
        shape = (-1, self.rows)
        chosen, gained = ops.reshape(chosen, shape), ops.reshape(gained, shape)
        has_ended = state.search.ended_at > 0
        chosen = ops.where(has_ended, self.config.pad_token_id, chosen)
        ends = ops.logical_or(self.is_end(chosen), state.position + 1 >= self.lengths)
        ends_now = ops.logical_and(ends, ops.logical_not(has_ended))
        ended_at = ops.where(ends_now, state.position, state.search.ended_at)
        rows = _Rows(state.search.scores + ops.where(has_ended, 0.0, gained), ended_at)
        tokens = write_token(state.tokens, state.position, chosen)
        return state._replace(tokens=tokens, search=rows, is_running=ops.any(ops.equal(ended_at, 0)))

    def results(self, state: State) -> dict[str, Tensor]:
        """All rows, and their length-penalised log-probabilities."""
        scores = state.search.scores / self.length_factor(state.search.ended_at + 1 - self.prompt_length)
        return {"sequences": state.tokens, "sequences_scores": scores}
