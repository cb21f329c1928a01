"""Beam search with live and finished beams in a state of fixed size (the scheme of t5x; scores as in transformers).

A document has K live beams, still to be continued, and K finished beams; both sets have K entries from the first step
to the last. One step: every live beam is continued by every token; the best 2K continuations are candidates, so that K
remain live if K of them end (more than 2K if there are several end tokens). Candidates that end, among the first K,
compete with the finished beams by their length-penalised scores; the best K candidates that do not end become the live
beams. The search may stop when the best live beam cannot beat the worst finished one any more.

One step with K = 2, three tokens (a, b and the end $), no length penalty, and log-probabilities of a step in brackets:

    live       "a" -1.0, "b" -2.0                         finished   none
    continue   "a": a -0.5, b -2.0, $ -1.35               "b": a -0.4, b -1.8, $ -1.8
    candidates "aa" -1.5, "a$" -2.35, "ba" -2.4, "ab" -3.0 (the best 4 of 6)
    live       "aa" -1.5, "ba" -2.4                       finished   "a$" -2.35, and one free entry

"a$" is the second candidate, so it finishes; as the third it would be dropped, as in transformers. The caches stay in
place: `ancestors` is the beam that wrote each token of a live beam.

T is here the full length. Further shape letters: J candidates of a document, P prompt tokens, Q returned sequences of a
document.
"""

from typing import Any, NamedTuple

from keras import ops

from tfmodels.backend.random import gumbel
from tfmodels.backend.types import Tensor
from tfmodels.generation.search import Search, State, write_token

# The missing score, as in transformers; processors forbid tokens with minus infinity, which stays below it.
_NO_SCORE = -1.0e9


class _Beams(NamedTuple):
    scores: Tensor  # float32 (B, K): summed log-probabilities of the live beams
    ancestors: Tensor  # int32 (B, K, T - 1): the beam that wrote each token of a live beam
    finished_tokens: Tensor  # int32 (B, K, T)
    finished_scores: Tensor  # float32 (B, K): length-penalised
    finished_ancestors: Tensor  # int32 (B, K, T - 1)
    is_finished: Tensor  # bool (B, K): True for entries of finished_* in use
    can_improve: Tensor  # bool (B, 1): whether a live beam may still become one of the best


class _Candidates(NamedTuple):
    tokens: Tensor  # int32 (B, J, T)
    ancestors: Tensor  # int32 (B, J, T - 1)
    scores: Tensor  # float32 (B, J): best first, or in the order of the draws
    ends: Tensor  # bool (B, J): ended by an end token or by the document's full length


class BeamSearch(Search):
    """Beam search over the best continuations of K beams, or with `do_sample` over drawn ones."""

    def init_search_state(self, tokens: Tensor) -> _Beams:
        """Equal beams, of which the first alone has a score: otherwise all would stay equal."""
        none = ops.full((self.documents, self.rows), _NO_SCORE, dtype="float32")
        first = ops.cast(ops.arange(self.rows) == 0, "float32")
        is_over = none > 0
        if self.inputs.is_empty is not None:
            is_over = ops.logical_or(is_over, self.inputs.is_empty[:, None])
        # The prompt is read once, into the first beam's part of the cache.
        ancestors = ops.zeros_like(tokens[:, :, 1:])
        return _Beams(
            scores=none * (1.0 - first)[None, :],
            ancestors=ancestors,
            finished_tokens=tokens,
            finished_scores=none,
            finished_ancestors=ancestors,
            is_finished=is_over,
            can_improve=ops.logical_not(is_over[:, :1]),
        )

    def read_prompt(self, tokens: Tensor, caches: Any) -> Any:
        """Write the prompt once for each document, as the first beam: all beams descend from it."""
        return self.step(tokens[:, 0], ops.zeros((), "int32"), caches, None)[1]

    def ancestors(self, state: State) -> Tensor:
        """The live beams' ancestors; each beam wrote the last token itself."""
        itself = ops.broadcast_to(ops.arange(self.rows, dtype="int32"), (self.documents, self.rows))
        return write_token(state.search.ancestors, state.position - 1, itself)

    def base_scores(self, logits: Tensor) -> Tensor:
        """Log-probabilities."""
        return ops.log_softmax(logits, axis=-1)

    def choose(self, state: State, scores: Tensor) -> State:
        """Keep the K best live candidates, and the K best finished ones."""
        candidates = self._candidates(state, scores)
        live = ops.top_k(candidates.scores + ops.cast(candidates.ends, "float32") * _NO_SCORE, self.rows)
        beams = self._finished(state, candidates)._replace(
            scores=live[0], ancestors=_take_beams(candidates.ancestors, live[1])
        )
        beams = beams._replace(can_improve=self._can_improve(state, beams))
        is_running = ops.logical_and(ops.any(beams.can_improve), ops.logical_not(ops.all(candidates.ends)))
        if self.config.early_stopping is True:
            is_running = ops.logical_and(is_running, ops.logical_not(ops.all(beams.is_finished)))
        return state._replace(tokens=_take_beams(candidates.tokens, live[1]), search=beams, is_running=is_running)

    def _candidates(self, state: State, scores: Tensor) -> _Candidates:
        """The best continuations, as many as leave K live ones if all that can end do."""
        count = max(2, 1 + len(self.config.end_tokens)) * self.rows
        vocabulary = scores.shape[1]
        totals = ops.reshape(scores, (-1, self.rows, vocabulary)) + state.search.scores[:, :, None]  # (B, K, V)
        totals = ops.reshape(totals, (-1, self.rows * vocabulary))  # (B, K * V)
        if self.config.do_sample:
            noise = gumbel(self.inputs.seed, state.position, ops.shape(totals)[0], totals.shape[1])
            flat = ops.top_k(totals + noise, count)[1]
            chosen = ops.take_along_axis(totals, flat, axis=1)
        else:
            chosen, flat = ops.top_k(totals, count)
        flat = ops.cast(flat, "int32")
        beam, token = flat // vocabulary, flat % vocabulary
        tokens = write_token(_take_beams(state.tokens, beam), state.position, token)
        ends = ops.logical_or(self.is_end(token), state.position + 1 >= self.lengths)
        return _Candidates(tokens, _take_beams(self.ancestors(state), beam), chosen, ends)

    def _finished(self, state: State, candidates: _Candidates) -> _Beams:
        """The K best of the finished beams and of the first K candidates that end now."""
        beams = state.search
        is_new = ops.logical_and(candidates.ends, ops.arange(candidates.ends.shape[1]) < self.rows)
        blocked = ops.logical_not(beams.can_improve)  # (B, 1)
        if self.config.early_stopping is True:
            blocked = ops.logical_or(blocked, ops.all(beams.is_finished, axis=1, keepdims=True))
        scores = candidates.scores / self.length_factor(state.position + 1 - self.prompt_length)
        scores = scores + ops.cast(blocked, "float32") * _NO_SCORE
        scores = scores + ops.cast(ops.logical_not(is_new), "float32") * _NO_SCORE
        scores, index = ops.top_k(ops.concatenate([beams.finished_scores, scores], axis=1), self.rows)
        merged = [
            _take_beams(ops.concatenate([before, now], axis=1), index)
            for before, now in (
                (beams.finished_tokens, candidates.tokens),
                (beams.finished_ancestors, candidates.ancestors),
                (beams.is_finished, is_new),
            )
        ]
        return beams._replace(
            finished_tokens=merged[0], finished_scores=scores, finished_ancestors=merged[1], is_finished=merged[2]
        )

    def _can_improve(self, state: State, beams: _Beams) -> Tensor:
        """True for documents whose best live beam could still beat the worst finished one: bool (B, 1)."""
        new_tokens = state.position + 1 - self.prompt_length
        if self.config.early_stopping == "never" and self.config.length_penalty > 0:
            new_tokens = ops.convert_to_tensor(self.lengths - self.prompt_length, "int32")
        best_possible = beams.scores[:, :1] / self.length_factor(new_tokens)
        worst_finished = ops.where(beams.is_finished, ops.min(beams.finished_scores, axis=1, keepdims=True), _NO_SCORE)
        can_improve = ops.logical_and(state.position + 1 < self.lengths, state.search.can_improve)
        return ops.logical_and(can_improve, ops.any(best_possible > worst_finished, axis=1, keepdims=True))

    def results(self, state: State) -> dict[str, Tensor]:
        """The best finished beams; with `output_scores` also their "beam_indices", int32 (B, Q, T - P)."""
        best = self.config.num_return_sequences
        beams = state.search
        results = {"sequences": beams.finished_tokens[:, :best], "sequences_scores": beams.finished_scores[:, :best]}
        if self.output_scores:
            results["beam_indices"] = self._beam_indices(beams, results["sequences"])
        return results

    def _beam_indices(self, beams: _Beams, sequences: Tensor) -> Tensor:
        """The row of `scores` of each new token, -1 after the end: int32 (B, Q, T - P)."""
        best = self.config.num_return_sequences
        first = ops.arange(self.documents, dtype="int32")[:, None, None] * self.rows
        rows = (beams.finished_ancestors[:, :best] + first)[:, :, self.prompt_length - 1 :]
        ended = ops.cumsum(ops.cast(self.is_end(sequences[:, :, self.prompt_length :]), "int32"), axis=2)
        is_behind = ops.pad(ended[:, :, :-1], [[0, 0], [0, 0], [1, 0]]) > 0
        # A document of padding alone is finished without a score.
        has_score = ops.logical_and(beams.is_finished, beams.finished_scores > _NO_SCORE / 2)[:, :best, None]
        return ops.where(ops.logical_and(has_score, ops.logical_not(is_behind)), rows, -1)


def _take_beams(x: Tensor, index: Tensor) -> Tensor:
    """Select beams: (B, J, ...) at int32 (B, K) -> (B, K, ...)."""
    index = ops.cast(index, "int32")
    return ops.take_along_axis(x, ops.reshape(index, (*ops.shape(index), *(1,) * (len(x.shape) - 2))), axis=1)
