"""Beam search with live and finished beams in a state of fixed size (the scheme of t5x; scores as in the reference).

Shape letters: B documents, K beams, R = B * K rows, T full length, V vocabulary.
"""

from typing import Any, NamedTuple

import keras
from keras import ops

from tfmodels.generation.config import GenerationConfig
from tfmodels.generation.processors import Processor, processors
from tfmodels.generation.tokens import write_token

Tensor = Any

# The reference's "not yet a score"; processors forbid with minus infinity, which stays below it.
_NO_SCORE = -1.0e9


class _State(NamedTuple):
    position: Tensor  # int32 scalar: place of the next token
    live_tokens: Tensor  # int32 (B, K, T)
    live_scores: Tensor  # float32 (B, K): summed log-probabilities
    done_tokens: Tensor  # int32 (B, K, T)
    done_scores: Tensor  # float32 (B, K): length-penalised
    is_done: Tensor  # bool (B, K): which places of done_* are taken
    can_improve: Tensor  # bool (B, 1)
    is_running: Tensor  # bool scalar
    caches: Any


class _Candidates(NamedTuple):
    tokens: Tensor  # int32 (B, 2K, T)
    scores: Tensor  # float32 (B, 2K), best first
    ends: Tensor  # bool (B, 2K): ended by the end token or by full length
    beam: Tensor  # int32 (B, 2K): the live beam that each one continues


def beam_search(step: Any, caches: Any, documents: int | Tensor, config: GenerationConfig) -> dict[str, Tensor]:
    """See `generate`; one `while_loop`, left when nothing can improve the finished beams."""
    rules = processors(config)

    def is_running(*state: Any) -> Tensor:
        return _State(*state).is_running

    def advance(*values: Any) -> tuple:
        state = _State(*values)
        candidates, caches = _extend(state, step, rules, config)
        live_tokens, live_scores, beam = _keep_live(candidates, config.num_beams)
        done_tokens, done_scores, is_done = _keep_done(state, candidates, config)
        can_improve = _can_improve(state, live_scores, done_scores, is_done, config)
        keeps_running = ops.logical_and(ops.any(can_improve), ops.logical_not(ops.all(candidates.ends)))
        if config.early_stopping is True:
            keeps_running = ops.logical_and(keeps_running, ops.logical_not(ops.all(is_done)))
        return tuple(
            _State(
                position=state.position + 1,
                live_tokens=live_tokens,
                live_scores=live_scores,
                done_tokens=done_tokens,
                done_scores=done_scores,
                is_done=is_done,
                can_improve=can_improve,
                is_running=keeps_running,
                caches=_reorder(caches, beam, config.num_beams),
            )
        )

    state = _State(*ops.while_loop(is_running, advance, tuple(_initial_state(documents, caches, config))))
    best = config.num_return_sequences
    return {
        "sequences": ops.reshape(state.done_tokens[:, :best], (-1, config.total_length)),
        "sequences_scores": ops.reshape(state.done_scores[:, :best], (-1,)),
    }


def _initial_state(documents: int | Tensor, caches: Any, config: GenerationConfig) -> _State:
    shape = (documents, config.num_beams)
    start = ops.full((*shape, 1), config.decoder_start_token_id, dtype="int32")
    padding = ops.full((*shape, config.total_length - 1), config.pad_token_id, dtype="int32")
    tokens = ops.concatenate([start, padding], axis=2)
    # All beams start alike: only the first may be continued, or they would stay alike.
    first = ops.cast(ops.arange(config.num_beams) == 0, "float32")
    none = ops.full(shape, _NO_SCORE, dtype="float32")
    return _State(
        position=ops.convert_to_tensor(1, "int32"),
        live_tokens=tokens,
        live_scores=none * (1.0 - first)[None, :],
        done_tokens=tokens,
        done_scores=none,
        is_done=none > 0,
        can_improve=none[:, :1] < 0,
        is_running=ops.convert_to_tensor(True),
        caches=caches,
    )


def _extend(state: _State, step: Any, rules: list[Processor], config: GenerationConfig) -> tuple[_Candidates, Any]:
    """The 2K best continuations: even if K of them end, K live ones remain."""
    beams, length = config.num_beams, config.total_length
    rows = ops.reshape(state.live_tokens, (-1, length))  # (R, T)
    last = ops.take(rows, state.position - 1, axis=1)
    logits, caches = step(last, state.position - 1, state.caches)
    log_probabilities = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)  # (R, V)
    for rule in rules:
        log_probabilities = rule(rows, state.position, log_probabilities)
    vocabulary = log_probabilities.shape[-1]
    totals = ops.reshape(log_probabilities, (-1, beams, vocabulary)) + state.live_scores[:, :, None]
    scores, flat = ops.top_k(ops.reshape(totals, (-1, beams * vocabulary)), 2 * beams)
    flat = ops.cast(flat, "int32")
    beam, token = flat // vocabulary, flat % vocabulary
    tokens = write_token(_take_beams(state.live_tokens, beam), state.position, token)
    ends = ops.logical_or(ops.equal(token, config.eos_token_id), state.position + 1 >= length)
    return _Candidates(tokens, scores, ends, beam), caches


def _keep_live(candidates: _Candidates, beams: int) -> tuple[Tensor, Tensor, Tensor]:
    """The K best candidates that have not ended: tokens, scores, and the beams they continue."""
    scores, index = ops.top_k(candidates.scores + ops.cast(candidates.ends, "float32") * _NO_SCORE, beams)
    return _take_beams(candidates.tokens, index), scores, _take_beams(candidates.beam, index)


def _keep_done(state: _State, candidates: _Candidates, config: GenerationConfig) -> tuple[Tensor, Tensor, Tensor]:
    """The K best of the finished beams and of the candidates that ended now among the K best of all."""
    beams = config.num_beams
    is_new = ops.logical_and(candidates.ends, ops.arange(2 * beams) < beams)
    blocked = ops.logical_not(state.can_improve)  # (B, 1)
    if config.early_stopping is True:
        blocked = ops.logical_or(blocked, ops.all(state.is_done, axis=1, keepdims=True))
    scores = candidates.scores / _length_factor(state.position, config)
    scores = scores + ops.cast(blocked, "float32") * _NO_SCORE
    scores = scores + ops.cast(ops.logical_not(is_new), "float32") * _NO_SCORE
    scores, index = ops.top_k(ops.concatenate([state.done_scores, scores], axis=1), beams)
    tokens = ops.concatenate([state.done_tokens, candidates.tokens], axis=1)
    is_done = ops.concatenate([state.is_done, is_new], axis=1)
    return _take_beams(tokens, index), scores, _take_beams(is_done, index)


def _can_improve(
    state: _State, live_scores: Tensor, done_scores: Tensor, is_done: Tensor, config: GenerationConfig
) -> Tensor:
    """Whether the best live beam could still beat the worst finished one: bool (B, 1)."""
    generated = state.position
    if config.early_stopping == "never" and config.length_penalty > 0:
        generated = ops.convert_to_tensor(config.total_length - 1, "int32")
    best_possible = live_scores[:, :1] / _length_factor(generated, config)
    worst_done = ops.where(is_done, ops.min(done_scores, axis=1, keepdims=True), _NO_SCORE)
    return ops.logical_and(state.can_improve, ops.any(best_possible > worst_done, axis=1, keepdims=True))


def _length_factor(generated: Tensor, config: GenerationConfig) -> Tensor:
    return ops.cast(generated, "float32") ** config.length_penalty


def _take_beams(x: Tensor, index: Tensor) -> Tensor:
    """(B, M, ...) at int32 (B, K) -> (B, K, ...)."""
    index = ops.cast(index, "int32")
    return ops.take_along_axis(x, ops.reshape(index, (*ops.shape(index), *(1,) * (len(x.shape) - 2))), axis=1)


def _reorder(caches: Any, beam: Tensor, beams: int) -> Any:
    """The caches (R, ...) of the beams (B, K) that live on."""
    documents = ops.shape(beam)[0]
    rows = ops.reshape(beam + ops.arange(documents, dtype="int32")[:, None] * beams, (-1,))
    return keras.tree.map_structure(lambda cache: ops.take(cache, rows, axis=0), caches)
