"""The loop of all searches: a state of fixed size, advanced by one token with each step.

K are here the rows of a document, with beams or without, and T the full length. Further shape letters: P prompt tokens,
Q returned sequences of a document (`num_return_sequences`).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from keras import ops

from tfmodels.backend.types import Tensor
from tfmodels.generation.config import GenerationConfig
from tfmodels.generation.logits_processors import Processor, logits_processors
from tfmodels.generation.logits_warpers import logits_warpers

DecodeStep = Callable[[Tensor, Tensor, Any, Tensor | None], tuple[Tensor, Any]]
"""(tokens, position, caches, ancestors) -> (logits of the last token, caches).

Without ancestors: consecutive tokens from `position`, int32 (R, any), logits (R, V); a row sees its own row of the
caches. With ancestors, int32 (B, K, T - 1): tokens int32 (B, K), one of each beam, logits (R, V); at each place before
`position` a beam sees the token that the beam `ancestors[b, k, place]` wrote there. So the caches stay in place when
beams are reordered. Tensors that are equal for all rows of a document belong to the function, not to the caches.
"""


class SearchInputs(NamedTuple):
    """Per-document inputs of a search.

    prompt: int32 (B, P), with the start token. source_ids: int32 (B, S), for processors that read the document.
    is_empty: bool (B,), True for documents of padding alone, whose summary is empty. seed: two uint32, for sampling.
    allowed: see `logits_processors.allow`. limits: int32 (B,), the largest number of new tokens of each document; None:
    the full length.
    """

    prompt: Tensor
    source_ids: Tensor | None = None
    is_empty: Tensor | None = None
    seed: Tensor | None = None
    allowed: Tensor | None = None
    limits: Tensor | None = None


class State(NamedTuple):
    """The state of a search.

    position: int32 scalar, the position of the next token. tokens: int32 (B, K, T). is_running: bool scalar. search:
    the state of the subclass. scores: float32 (T - P, R, V), the scores of each step, or an empty tuple. caches: the
    caches of `step`.
    """

    position: Tensor
    tokens: Tensor
    is_running: Tensor
    search: Any
    scores: Any
    caches: Any


class Search:
    """Base class of the searches; subclasses implement `init_search_state`, `choose` and `results`.

    Args:
        step: see `DecodeStep`.
        inputs: the documents.
        config: the settings, with special ids.
        vocabulary: V.
        further: processors of the user, applied after the settings' processors.
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
        # The full length: one for all documents, or int32 (B, 1).
        self.lengths: int | Tensor = self.length
        if inputs.limits is not None:
            self.lengths = ops.clip(self.prompt_length + inputs.limits, self.prompt_length + 1, self.length)[:, None]
        self.processors = [
            *logits_processors(config, self.prompt_length, self.lengths, vocabulary, inputs.source_ids, inputs.allowed),
            *further,
            *logits_warpers(config),
        ]

    @property
    def documents(self) -> int | Tensor:
        """B, the number of documents."""
        return ops.shape(self.inputs.prompt)[0]

    def init_search_state(self, tokens: Tensor) -> Any:
        """The subclass's part of the state before the first step; `tokens` is int32 (B, K, T)."""
        raise NotImplementedError

    def ancestors(self, state: State) -> Tensor | None:
        """The beam that wrote each token, int32 (B, K, T - 1), or None for searches without beams."""
        return None

    def base_scores(self, logits: Tensor) -> Tensor:
        """The scores that processors change: float32 (R, V)."""
        raise NotImplementedError

    def choose(self, state: State, scores: Tensor) -> State:
        """The state with the next token of every row; `position`, `scores` and `caches` are unchanged."""
        raise NotImplementedError

    def results(self, state: State) -> dict[str, Tensor]:
        """The sequences, with beams the best first, and their scores: (B, Q, T) and (B, Q)."""
        raise NotImplementedError

    def run(self, caches: Any) -> dict[str, Tensor]:
        """Run the whole search: one `while_loop`, which ends when no sequence can change any more.

        Args:
            caches: see `start`.

        Returns:
            "sequences": int32 (B * Q, T), the prompt first, padded with the pad id; "sequences_scores": float32
            (B * Q,), the log-probability of the new tokens over their number to the power of `length_penalty`; with
            `output_scores` "scores": float32 (T - P, R, V), the scores of each step after all processors, zeros for
            steps after the end; and with beams "beam_indices", see `BeamSearch.results`.
        """
        (state,) = ops.while_loop(
            lambda state: state.is_running, lambda state: (self.advance(state),), (self.start(caches),)
        )
        return self.finalize(state)

    def start(self, caches: Any) -> State:
        """The state before the first step, with all tokens of the prompt except the last in the caches.

        Args:
            caches: empty caches, with room for T - 1 tokens of each row.
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
        return State(position, tokens, ops.convert_to_tensor(True), self.init_search_state(tokens), scores, caches)

    def read_prompt(self, tokens: Tensor, caches: Any) -> Any:
        """Write the tokens (B, K, P - 1) into the caches."""
        rows = ops.reshape(tokens, (-1, self.prompt_length - 1))
        return self.step(rows, ops.zeros((), "int32"), caches, None)[1]

    def advance(self, state: State) -> State:
        """Advance the state by one token."""
        last = ops.take(state.tokens, state.position - 1, axis=2)  # (B, K)
        ancestors = self.ancestors(state)
        tokens = ops.reshape(last, (-1, 1)) if ancestors is None else last
        logits, caches = self.step(tokens, state.position - 1, state.caches, ancestors)
        scores = self.base_scores(ops.cast(logits, "float32"))
        rows = ops.reshape(state.tokens, (-1, self.length))
        for process in self.processors:
            scores = process(rows, state.position, scores)
        if self.config.renormalize_logits:
            scores = ops.log_softmax(scores, axis=-1)
        chosen = self.choose(state, scores)
        is_running = ops.logical_and(chosen.is_running, state.position + 1 < self.length)
        all_scores = state.scores
        if self.output_scores:
            all_scores = ops.scatter_update(all_scores, [[state.position - self.prompt_length]], scores[None])
        return chosen._replace(position=state.position + 1, is_running=is_running, scores=all_scores, caches=caches)

    def finalize(self, state: State) -> dict[str, Tensor]:
        """The results of `run`, from the last state."""
        results = self.results(state)
        if self.inputs.is_empty is not None:
            is_empty = self.inputs.is_empty[:, None]
            results["sequences"] = ops.where(is_empty[..., None], self.empty_sequences()[:, None], results["sequences"])
            results["sequences_scores"] = ops.where(is_empty, 0.0, results["sequences_scores"])
        results = {name: ops.reshape(value, (-1, *value.shape[2:])) for name, value in results.items()}
        return {**results, "scores": state.scores} if self.output_scores else results

    def empty_sequences(self) -> Tensor:
        """The sequences of empty documents: the prompt, an end token and padding: int32 (B, T)."""
        tail = [*self.config.end_tokens[:1], *(self.config.pad_token_id,) * self.length]
        tail = ops.convert_to_tensor(tail[: self.length - self.prompt_length], "int32")
        tails = ops.broadcast_to(tail[None], (self.documents, self.length - self.prompt_length))
        return ops.concatenate([self.inputs.prompt, tails], axis=1)

    def is_end(self, tokens: Tensor) -> Tensor:
        """True for end tokens: bool of the same shape."""
        return is_among(tokens, self.config.end_tokens)

    def length_factor(self, new_tokens: Tensor) -> Tensor:
        """The divisor of a sequence's log-probability: the number of new tokens to the power `length_penalty`."""
        return ops.cast(new_tokens, "float32") ** self.config.length_penalty


def is_among(tokens: Tensor, ids: Sequence[int]) -> Tensor:
    """True for tokens among a few ids: bool of the same shape.

    >>> ops.convert_to_numpy(is_among(ops.array([5, 2, 7]), (2, 5))).tolist()
    [True, True, False]
    """
    is_one = ops.zeros_like(tokens, dtype="bool")
    for token in ids:
        is_one = ops.logical_or(is_one, ops.equal(tokens, token))
    return is_one


def write_token(tokens: Tensor, position: Tensor, token: Tensor) -> Tensor:
    """Write `token` (...) into `tokens` (..., T) at one position of the last axis.

    >>> ops.convert_to_numpy(write_token(ops.zeros((1, 3), "int32"), 1, ops.array([7], "int32"))).tolist()
    [[0, 7, 0]]
    """
    # A select in place of `ops.slice_update`, which on TensorFlow is an XLA op that stock servers may lack.
    return ops.where(ops.equal(ops.arange(tokens.shape[-1], dtype="int32"), position), token[..., None], tokens)
