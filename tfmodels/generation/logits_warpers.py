"""Rules of sampling: which tokens are drawn from, and how evenly. The same signature as the processors'.

Shape letters: R rows, V vocabulary.
"""

from keras import ops

from tfmodels.backend.types import Tensor
from tfmodels.generation.config import GenerationConfig
from tfmodels.generation.rule import FORBIDDEN, Processor


def warpers(config: GenerationConfig) -> list[Processor]:
    """The rules that the settings ask for, in the reference's order; none without `do_sample`."""
    if not config.do_sample:
        return []
    # Beams that could only end would leave none to go on with.
    least = 1 if config.num_beams == 1 else len(config.end_tokens) + 1
    rules: list[Processor] = []
    if config.temperature != 1.0:
        rules.append(lambda tokens, position, scores: scores / config.temperature)
    if config.top_k > 0:
        rules.append(lambda tokens, position, scores: keep_best(scores, max(config.top_k, least)))
    if config.top_p < 1.0:
        rules.append(lambda tokens, position, scores: keep_nucleus(scores, config.top_p, least))
    if config.min_p is not None:
        min_p = config.min_p
        rules.append(lambda tokens, position, scores: keep_likely(scores, min_p, least))
    if config.typical_p < 1.0:
        rules.append(lambda tokens, position, scores: keep_typical(scores, config.typical_p, least))
    return rules


def keep_best(scores: Tensor, count: int) -> Tensor:
    """Forbid all but the `count` best tokens, and those that tie with the last of them (Fan et al. 2018).

    >>> ops.convert_to_numpy(keep_best(ops.array([[1.0, 3.0, 2.0]]), 2))[0].tolist()
    [-inf, 3.0, 2.0]
    """
    worst_kept = ops.top_k(scores, min(count, scores.shape[1]))[0][:, -1:]
    return ops.where(scores < worst_kept, FORBIDDEN, scores)


def keep_nucleus(scores: Tensor, mass: float, least: int) -> Tensor:
    """Forbid the least likely tokens that together have at most 1 - `mass` (Holtzman et al. 2020, section 3.1).

    At least the `least` best are kept.
    """
    order = ops.argsort(scores, axis=-1)
    cumulative = ops.cumsum(ops.softmax(ops.take_along_axis(scores, order, axis=1), axis=-1), axis=-1)
    vocabulary = scores.shape[1]
    is_dropped = ops.logical_and(cumulative <= 1 - mass, ops.arange(vocabulary) < vocabulary - least)
    return ops.where(_back(is_dropped, order), FORBIDDEN, scores)


def keep_likely(scores: Tensor, share: float, least: int) -> Tensor:
    """Forbid tokens of less than `share` times the best one's probability (Nguyen et al. 2024)."""
    probabilities = ops.softmax(scores, axis=-1)
    is_dropped = probabilities < share * ops.max(probabilities, axis=-1, keepdims=True)
    worst_kept = ops.top_k(scores, min(least, scores.shape[1]))[0][:, -1:]
    return ops.where(ops.logical_and(is_dropped, scores < worst_kept), FORBIDDEN, scores)


def keep_typical(scores: Tensor, mass: float, least: int) -> Tensor:
    """Keep the tokens whose surprise is nearest to the entropy, together of `mass` (Meister et al. 2023, section 3).

    At least the `least` nearest are kept.
    """
    log_probabilities = ops.log_softmax(scores, axis=-1)
    probabilities = ops.exp(log_probabilities)
    # A forbidden token counts nothing: zero times infinity is no number.
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
    """Marks (R, V) of sorted tokens at the tokens' own places; `order` says which token each mark is of."""
    return ops.take_along_axis(marks, ops.argsort(order, axis=-1), axis=1)
