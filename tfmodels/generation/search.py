"""The loop that all searches share: a state of fixed size, one token further with each step.

Shape letters: B documents, K rows of a document, R = B * K rows, P prompt length, T full length, V vocabulary.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from keras import ops

from tfmodels.backend.types import Tensor
from tfmodels.generation.config import GenerationConfig
from tfmodels.generation.logits_processors import processors
from tfmodels.generation.logits_warpers import warpers
from tfmodels.generation.rule import Processor

DecodeStep = Callable[[Tensor, Tensor, Any, Tensor | None], tuple[Tensor, Any]]
"""(tokens, position, caches, ancestors) -> (logits of the last token, caches).

Without ancestors: tokens int32 (R, n) that follow each other from `position`, logits (R, V); a row sees what its own
row of the caches holds. With ancestors, int32 (B, K, T - 1): tokens int32 (B, K), one of each beam, logits (R, V); at
each place before `position` a beam sees what the beam `ancestors[b, k, place]` wrote there. So nothing in the caches
moves when beams are reordered. What is the same for all rows of a document belongs to the function, not to the caches.
"""


class SearchInputs(NamedTuple):
    """What a search knows of its documents.

    prompt: int32 (B, P), from the start token on. source_ids: int32 (B, S), where a rule needs them. is_empty: bool
    (B,), documents of padding alone, whose summary is empty. seed: two uint32, where tokens are drawn. allowed: see
    `processors.allow`. limits: int32 (B,), the most new tokens of each document; None: all that there is room for.
    """

    prompt: Tensor
    source_ids: Tensor | None = None
    is_empty: Tensor | None = None
    seed: Tensor | None = None
    allowed: Tensor | None = None
    limits: Tensor | None = None


class State(NamedTuple):
    """position: int32 scalar, place of the next token. tokens: int32 (B, K, T). is_running: bool scalar. own: what the
    kind of search keeps. scores: float32 (T - P, R, V), those of each step, or an empty tuple. caches: of `step`."""

    position: Tensor
    tokens: Tensor
    is_running: Tensor
    own: Any
    scores: Any
    caches: Any


class Search:
    """Base of the searches; subclasses implement `start_own`, `choose` and `results`.

    Args:
        step: see `DecodeStep`.
        inputs: the documents.
        config: the settings, with special ids.
        vocabulary: V.
        further: processors of the user, after those of the settings.
        output_scores: keep every step's scores.
    """

    def __init__(
        self,
        step: DecodeStep,
        inputs: SearchInputs,
        config: GenerationConfig,
        vocabulary: int,
        further: Sequence[Processor] = (),
        output_scores: bool = False,
    ) -> None:
        self.step = step
        self.inputs = inputs
        self.config = config
        self.vocabulary = vocabulary
        self.output_scores = output_scores
        self.rows = config.rows_per_document
        self.prompt_length = inputs.prompt.shape[1]
        self.length = config.total_length(self.prompt_length)
        # Full lengths: one for all, or int32 (B, 1).
        self.lengths: int | Tensor = self.length
        if inputs.limits is not None:
            self.lengths = ops.clip(self.prompt_length + inputs.limits, self.prompt_length + 1, self.length)[:, None]
        self.rules = [
            *processors(config, self.prompt_length, self.lengths, vocabulary, inputs.source_ids, inputs.allowed),
            *further,
            *warpers(config),
        ]

    @property
    def documents(self) -> int | Tensor:
        """B."""
        return ops.shape(self.inputs.prompt)[0]

    def start_own(self, tokens: Tensor) -> Any:
        """What the kind of search keeps, before the first step."""
        raise NotImplementedError

    def ancestors(self, state: State) -> Tensor | None:
        """Which beam wrote each token, or None where every row goes on with its own."""
        return None

    def base_scores(self, logits: Tensor) -> Tensor:
        """What the rules get: float32 (R, V)."""
        raise NotImplementedError

    def choose(self, state: State, scores: Tensor) -> State:
        """The state with the next token of every row, but for `position`, `scores` and `caches`."""
        raise NotImplementedError

    def results(self, state: State) -> dict[str, Tensor]:
        """Sequences, of beams the best first, and their scores: (B, N, T) and (B, N); N `num_return_sequences`."""
        raise NotImplementedError

    def run(self, caches: Any) -> dict[str, Tensor]:
        """The whole search: one `while_loop`, left when nothing can change any more.

        Args:
            caches: see `start`.

        Returns:
            "sequences": int32 (B * N, T), the prompt first, padded with the pad id, N `num_return_sequences`;
            "sequences_scores": float32 (B * N,), the log-probability of the new tokens over their number to the power
            of `length_penalty`; with `output_scores` "scores": float32 (T - P, R, V), each step's for every row after
            all rules, zeros where no step was made; and of beams "beam_indices", see `BeamSearch.results`.
        """
        (state,) = ops.while_loop(
            lambda state: state.is_running, lambda state: (self.advance(state),), (self.start(caches),)
        )
        return self.finish(state)

    def start(self, caches: Any) -> State:
        """The state before the first step, the prompt's tokens but the last in the caches.

        Args:
            caches: empty ones, with room for T - 1 tokens of each row.
        """
        prompt = ops.repeat(self.inputs.prompt[:, None], self.rows, axis=1)  # (B, K, P)
        if self.prompt_length > 1:
            caches = self.read_prompt(prompt[:, :, :-1], caches)
        padding = ops.full(
            (self.documents, self.rows, self.length - self.prompt_length), self.config.pad_token_id, dtype="int32"
        )
        tokens = ops.concatenate([prompt, padding], axis=2)
        scores: Any = ()
        if self.output_scores:
            steps = self.length - self.prompt_length
            scores = ops.zeros((steps, self.documents * self.rows, self.vocabulary), "float32")
        position = ops.convert_to_tensor(self.prompt_length, "int32")
        return State(position, tokens, ops.convert_to_tensor(True), self.start_own(tokens), scores, caches)

    def read_prompt(self, tokens: Tensor, caches: Any) -> Any:
        """The caches with the tokens (B, K, P - 1) in them."""
        rows = ops.reshape(tokens, (-1, self.prompt_length - 1))
        return self.step(rows, ops.zeros((), "int32"), caches, None)[1]

    def advance(self, state: State) -> State:
        """One token further."""
        last = ops.take(state.tokens, state.position - 1, axis=2)  # (B, K)
        ancestors = self.ancestors(state)
        tokens = ops.reshape(last, (-1, 1)) if ancestors is None else last
        logits, caches = self.step(tokens, state.position - 1, state.caches, ancestors)
        scores = self.base_scores(ops.cast(logits, "float32"))
        rows = ops.reshape(state.tokens, (-1, self.length))
        for rule in self.rules:
            scores = rule(rows, state.position, scores)
        if self.config.renormalize_logits:
            scores = ops.log_softmax(scores, axis=-1)
        chosen = self.choose(state, scores)
        is_running = ops.logical_and(chosen.is_running, state.position + 1 < self.length)
        kept = state.scores
        if self.output_scores:
            kept = ops.scatter_update(kept, [[state.position - self.prompt_length]], scores[None])
        return chosen._replace(position=state.position + 1, is_running=is_running, scores=kept, caches=caches)

    def finish(self, state: State) -> dict[str, Tensor]:
        """What `run` returns."""
        found = self.results(state)
        if self.inputs.is_empty is not None:
            is_empty = self.inputs.is_empty[:, None]
            found["sequences"] = ops.where(is_empty[..., None], self.empty_sequences()[:, None], found["sequences"])
            found["sequences_scores"] = ops.where(is_empty, 0.0, found["sequences_scores"])
        found = {name: ops.reshape(value, (-1, *value.shape[2:])) for name, value in found.items()}
        return {**found, "scores": state.scores} if self.output_scores else found

    def empty_sequences(self) -> Tensor:
        """The prompt, an end token and padding: int32 (B, T)."""
        tail = [*self.config.end_tokens[:1], *(self.config.pad_token_id,) * self.length]
        tail = ops.convert_to_tensor(tail[: self.length - self.prompt_length], "int32")
        tails = ops.broadcast_to(tail[None], (self.documents, self.length - self.prompt_length))
        return ops.concatenate([self.inputs.prompt, tails], axis=1)

    def is_end(self, tokens: Tensor) -> Tensor:
        """Which of the tokens end a sequence."""
        return is_among(tokens, self.config.end_tokens)

    def length_factor(self, new_tokens: Tensor) -> Tensor:
        """What a log-probability of so many new tokens is divided by."""
        return ops.cast(new_tokens, "float32") ** self.config.length_penalty


def is_among(tokens: Tensor, ids: Sequence[int]) -> Tensor:
    """Which of the tokens are one of a few ids: bool of the same shape.

    >>> ops.convert_to_numpy(is_among(ops.array([5, 2, 7]), (2, 5))).tolist()
    [True, True, False]
    """
    found = ops.zeros_like(tokens, dtype="bool")
    for token in ids:
        found = ops.logical_or(found, ops.equal(tokens, token))
    return found


def write_token(tokens: Tensor, position: Tensor, token: Tensor) -> Tensor:
    """`token` (...) written into `tokens` (..., T) at one place of the last axis.

    >>> ops.convert_to_numpy(write_token(ops.zeros((1, 3), "int32"), 1, ops.array([7], "int32"))).tolist()
    [[0, 7, 0]]
    """
    # A select and not `ops.slice_update`, which on TensorFlow is an XLA op that stock servers may not have.
    return ops.where(ops.equal(ops.arange(tokens.shape[-1], dtype="int32"), position), token[..., None], tokens)
