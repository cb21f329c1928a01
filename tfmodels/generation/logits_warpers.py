"""Logits warpers: processors that change the distribution from which sampling draws."""

from keras import ops

from tfmodels.backend.types import Tensor
from tfmodels.generation.config import GenerationConfig
from tfmodels.generation.logits_processors import FORBIDDEN, Processor


def logits_warpers(config: GenerationConfig) -> list[Processor]:
    """The warpers that the settings request, in the order of transformers; none without `do_sample`."""
    if not config.do_sample:
        return []
    # With beams, at least one token besides the end tokens must remain.
    least = 1 if config.num_beams == 1 else len(config.end_tokens) + 1
    chosen: list[Processor] = []
    if config.temperature != 1.0:
        chosen.append(lambda tokens, position, scores: scores / config.temperature)
    if config.top_k > 0:
        chosen.append(lambda tokens, position, scores: keep_best(scores, max(config.top_k, least)))
    if config.top_p < 1.0:
        chosen.append(lambda tokens, position, scores: keep_nucleus(scores, config.top_p, least))
    if config.min_p is not None:
        min_p = config.min_p
        chosen.append(lambda tokens, position, scores: keep_likely(scores, min_p, least))
    if config.typical_p < 1.0:
        chosen.append(lambda tokens, position, scores: keep_typical(scores, config.typical_p, least))
    return chosen


def keep_best(scores: Tensor, count: int) -> Tensor:
    """Forbid all tokens except the `count` best and ties with the last of these (Fan et al. 2018).

    >>> ops.convert_to_numpy(keep_best(ops.array([[1.0, 3.0, 2.0]]), 2))[0].tolist()
    [-inf, 3.0, 2.0]
    """
    worst_kept = ops.top_k(scores, min(count, scores.shape[1]))[0][:, -1:]
    return ops.where(scores < worst_kept, FORBIDDEN, scores)


def keep_nucleus(scores: Tensor, mass: float, least: int) -> Tensor:
    """Forbid the least likely tokens, of probability 1 - `mass` together (Holtzman et al. 2020, section 3.1).

    The `least` best tokens are always kept.
    """
    order = ops.argsort(scores, axis=-1)
    cumulative = ops.cumsum(ops.softmax(ops.take_along_axis(scores, order, axis=1), axis=-1), axis=-1)
    vocabulary = scores.shape[1]
    is_dropped = ops.logical_and(cumulative <= 1 - mass, ops.arange(vocabulary) < vocabulary - least)
    return ops.where(_back(is_dropped, order), FORBIDDEN, scores)


def keep_likely(scores: Tensor, share: float, least: int) -> Tensor:
    """Forbid tokens below `share` times the best token's probability (Nguyen et al. 2024).

    The `least` best tokens are always kept.
    """
    probabilities = ops.softmax(scores, axis=-1)
    is_dropped = probabilities < share * ops.max(probabilities, axis=-1, keepdims=True)
    worst_kept = ops.top_k(scores, min(least, scores.shape[1]))[0][:, -1:]
    return ops.where(ops.logical_and(is_dropped, scores < worst_kept), FORBIDDEN, scores)


def keep_typical(scores: Tensor, mass: float, least: int) -> Tensor:
    """Keep the tokens whose surprise is nearest to the entropy, of `mass` together (Meister et al. 2023, section 3).

    The `least` nearest tokens are always kept.
    """
    log_probabilities = ops.log_softmax(scores, axis=-1)
    probabilities = ops.exp(log_probabilities)
    # A forbidden token contributes 0: zero times infinity would be NaN.
    terms = ops.where(probabilities > 0, -log_probabilities * probabilities, 0.0)
    distance = ops.abs(-log_probabilities - ops.sum(terms, axis=-1, keepdims=True))
    order = ops.argsort(distance, axis=-1)
    distances = ops.take_along_axis(distance, order, axis=1)
    cumulative = ops.cumsum(ops.softmax(ops.take_along_axis(scores, order, axis=1), axis=-1), axis=-1)
    last = ops.sum(ops.cast(cumulative < mass, "int32"), axis=1, keepdims=True)
    last = ops.minimum(last, scores.shape[1] - 1)
    is_dropped = distances > ops.take_along_axis(distances, last, axis=1)
    is_dropped = ops.logical_and(is_dropped, ops.arange(scores.shape[1]) >= least)
    return ops.where(_back(is_dropped, order), FORBIDDEN, scores)


def _back(marks: Tensor, order: Tensor) -> Tensor:
    """Undo a sort: marks (R, V) in sorted order, back in the order of the vocabulary."""
    return ops.take_along_axis(marks, ops.argsort(order, axis=-1), axis=1)
