"""Beam search with live and finished beams in a state of fixed size (the scheme of t5x; scores as in the reference).

Shape letters: B documents, K beams, R = B * K rows, C candidates of a document, T full length, V vocabulary.
"""

from typing import Any, NamedTuple

from keras import ops

from tfmodels.backend.random import gumbel
from tfmodels.backend.types import Tensor
from tfmodels.generation.search import Search, State, write_token

# The reference's "not yet a score"; processors forbid with minus infinity, which stays below it.
_NO_SCORE = -1.0e9


class _Beams(NamedTuple):
    scores: Tensor  # float32 (B, K): summed log-probabilities of the live beams
    ancestors: Tensor  # int32 (B, K, T - 1): the beam that wrote each token of a live one
    done_tokens: Tensor  # int32 (B, K, T)
    done_scores: Tensor  # float32 (B, K): length-penalised
    done_ancestors: Tensor  # int32 (B, K, T - 1)
    is_done: Tensor  # bool (B, K): which places of done_* are taken
    can_improve: Tensor  # bool (B, 1)


class _Candidates(NamedTuple):
    tokens: Tensor  # int32 (B, C, T)
    ancestors: Tensor  # int32 (B, C, T - 1)
    scores: Tensor  # float32 (B, C), best first, or in the order in which they were drawn
    ends: Tensor  # bool (B, C): ended by an end token or by the document's full length


class BeamSearch(Search):
    """The best continuations of K beams, or with `do_sample` drawn ones."""

    def start_own(self, tokens: Tensor) -> _Beams:
        """Beams that start alike: only the first may be continued, or they would stay alike."""
        none = ops.full((self.documents, self.rows), _NO_SCORE, dtype="float32")
        first = ops.cast(ops.arange(self.rows) == 0, "float32")
        is_over = none > 0
        if self.inputs.is_empty is not None:
            is_over = ops.logical_or(is_over, self.inputs.is_empty[:, None])
        # The prompt is read once, into the first beam's places.
        ancestors = ops.zeros_like(tokens[:, :, 1:])
        return _Beams(
            scores=none * (1.0 - first)[None, :],
            ancestors=ancestors,
            done_tokens=tokens,
            done_scores=none,
            done_ancestors=ancestors,
            is_done=is_over,
            can_improve=ops.logical_not(is_over[:, :1]),
        )

    def read_prompt(self, tokens: Tensor, caches: Any) -> Any:
        """Once for each document: all beams descend from the first one there."""
        return self.step(tokens[:, 0], ops.zeros((), "int32"), caches, None)[1]

    def ancestors(self, state: State) -> Tensor:
        """Those of the live beams, which write the last token themselves."""
        own = ops.broadcast_to(ops.arange(self.rows, dtype="int32"), (self.documents, self.rows))
        return write_token(state.own.ancestors, state.position - 1, own)

    def base_scores(self, logits: Tensor) -> Tensor:
        """Log-probabilities."""
        return ops.log_softmax(logits, axis=-1)

    def choose(self, state: State, scores: Tensor) -> State:
        """Keep the K best live candidates, and the K best finished ones."""
        candidates = self._candidates(state, scores)
        live = ops.top_k(candidates.scores + ops.cast(candidates.ends, "float32") * _NO_SCORE, self.rows)
        own = self._done(state, candidates)._replace(
            scores=live[0], ancestors=_take_beams(candidates.ancestors, live[1])
        )
        own = own._replace(can_improve=self._can_improve(state, own))
        is_running = ops.logical_and(ops.any(own.can_improve), ops.logical_not(ops.all(candidates.ends)))
        if self.config.early_stopping is True:
            is_running = ops.logical_and(is_running, ops.logical_not(ops.all(own.is_done)))
        return state._replace(tokens=_take_beams(candidates.tokens, live[1]), own=own, is_running=is_running)

    def _candidates(self, state: State, scores: Tensor) -> _Candidates:
        """So many continuations that K live ones remain if all that can end do."""
        count = max(2, 1 + len(self.config.end_tokens)) * self.rows
        vocabulary = scores.shape[1]
        totals = ops.reshape(scores, (-1, self.rows, vocabulary)) + state.own.scores[:, :, None]
        totals = ops.reshape(totals, (-1, self.rows * vocabulary))
        if self.config.do_sample:
            noise = gumbel(self.inputs.seed, state.position, ops.shape(totals)[0], totals.shape[1])
            flat = ops.top_k(totals + noise, count)[1]
            found = ops.take_along_axis(totals, flat, axis=1)
        else:
            found, flat = ops.top_k(totals, count)
        flat = ops.cast(flat, "int32")
        beam, token = flat // vocabulary, flat % vocabulary
        tokens = write_token(_take_beams(state.tokens, beam), state.position, token)
        ends = ops.logical_or(self.is_end(token), state.position + 1 >= self.lengths)
        return _Candidates(tokens, _take_beams(self.ancestors(state), beam), found, ends)

    def _done(self, state: State, candidates: _Candidates) -> _Beams:
        """The K best of the finished beams and of the candidates that ended now among the first K of all."""
        own = state.own
        is_new = ops.logical_and(candidates.ends, ops.arange(candidates.ends.shape[1]) < self.rows)
        blocked = ops.logical_not(own.can_improve)  # (B, 1)
        if self.config.early_stopping is True:
            blocked = ops.logical_or(blocked, ops.all(own.is_done, axis=1, keepdims=True))
        scores = candidates.scores / self.length_factor(state.position + 1 - self.prompt_length)
        scores = scores + ops.cast(blocked, "float32") * _NO_SCORE
        scores = scores + ops.cast(ops.logical_not(is_new), "float32") * _NO_SCORE
        scores, index = ops.top_k(ops.concatenate([own.done_scores, scores], axis=1), self.rows)
        merged = [
            _take_beams(ops.concatenate([before, now], axis=1), index)
            for before, now in (
                (own.done_tokens, candidates.tokens),
                (own.done_ancestors, candidates.ancestors),
                (own.is_done, is_new),
            )
        ]
        return own._replace(done_tokens=merged[0], done_scores=scores, done_ancestors=merged[1], is_done=merged[2])

    def _can_improve(self, state: State, own: _Beams) -> Tensor:
        """Whether the best live beam could still beat the worst finished one: bool (B, 1)."""
        new_tokens = state.position + 1 - self.prompt_length
        if self.config.early_stopping == "never" and self.config.length_penalty > 0:
            new_tokens = ops.convert_to_tensor(self.lengths - self.prompt_length, "int32")
        best_possible = own.scores[:, :1] / self.length_factor(new_tokens)
        worst_done = ops.where(own.is_done, ops.min(own.done_scores, axis=1, keepdims=True), _NO_SCORE)
        can_improve = ops.logical_and(state.position + 1 < self.lengths, state.own.can_improve)
        return ops.logical_and(can_improve, ops.any(best_possible > worst_done, axis=1, keepdims=True))

    def results(self, state: State) -> dict[str, Tensor]:
        """The best finished beams; with the scores of all steps also the beams that they went through."""
        best = self.config.num_return_sequences
        own = state.own
        found = {"sequences": own.done_tokens[:, :best], "sequences_scores": own.done_scores[:, :best]}
        if self.output_scores:
            found["beam_indices"] = self._beam_indices(own, found["sequences"])
        return found

    def _beam_indices(self, own: _Beams, sequences: Tensor) -> Tensor:
        """Row of `scores` that each new token was chosen from, -1 where there is none: int32 (B, N, T - P)."""
        best = self.config.num_return_sequences
        first = ops.arange(self.documents, dtype="int32")[:, None, None] * self.rows
        rows = (own.done_ancestors[:, :best] + first)[:, :, self.prompt_length - 1 :]
        ended = ops.cumsum(ops.cast(self.is_end(sequences[:, :, self.prompt_length :]), "int32"), axis=2)
        is_behind = ops.pad(ended[:, :, :-1], [[0, 0], [0, 0], [1, 0]]) > 0
        # A document of padding alone counts as done, and has no score.
        is_found = ops.logical_and(own.is_done, own.done_scores > _NO_SCORE / 2)[:, :best, None]
        return ops.where(ops.logical_and(is_found, ops.logical_not(is_behind)), rows, -1)


def _take_beams(x: Tensor, index: Tensor) -> Tensor:
    """(B, M, ...) at int32 (B, K) -> (B, K, ...)."""
    index = ops.cast(index, "int32")
    return ops.take_along_axis(x, ops.reshape(index, (*ops.shape(index), *(1,) * (len(x.shape) - 2))), axis=1)
