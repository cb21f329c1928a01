"""What a model with a language model's head does with its searches: generate, stream, score.

Shape letters: B documents, S source length, P prompt length, T full length, N sequences of a document, V vocabulary,
E model size.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from tfmodels.backend.compile import compiled, read_once
from tfmodels.backend.random import random_seed
from tfmodels.backend.types import Tensor
from tfmodels.backend.value_checks import check_global_capacity, check_ids, concrete_value
from tfmodels.generation import GenerationConfig, Processor, Search, SearchInputs, State, kind_of_search
from tfmodels.modeling.generation_inputs import (
    HEAD_MASKS,
    as_tensors,
    check_sources,
    one_document,
    prompt_of,
    token_limits,
    token_mask,
    without_documents,
)
from tfmodels.modeling.inputs import shifted_labels
from tfmodels.modeling.scoring import log_probabilities
from tfmodels.modeling.seq2seq import Seq2Seq
from tfmodels.utils.checks import check_shape

_FURTHER_INPUTS = ("encoder_outputs", "inputs_embeds", *HEAD_MASKS)
# What transformers' `generate` takes, too, and is another argument here.
_OTHER_NAMES = {
    "return_dict_in_generate": "return_dict",
    "logits_processor": "processors",
    "prefix_allowed_tokens_fn": "prefix_allowed",
    "streamer": "generate_stream",
    "inputs": "input_ids",
}
# A service that takes settings from its users would keep a program for each; the oldest are made again.
_MOST_PROGRAMS = 64


class _Options(NamedTuple):
    """What a compiled search is made for, beside the shapes of its inputs."""

    settings: GenerationConfig
    processors: tuple[Processor, ...]
    output_scores: bool
    output_attentions: bool
    jit_compile: bool


class Generator(Seq2Seq):
    """Base of `Seq2SeqLM`, which gives it `logits` and `tied_kernel`."""

    generation_config: GenerationConfig
    _generators: dict[Any, Callable[..., Any]]
    _generators_of: tuple[int, ...] = ()

    def logits(self, hidden_states: Tensor, tied_kernel: Tensor | None = None) -> Tensor:
        """The head: (..., E) -> (..., V); `tied_kernel` is what the method of that name returned, or None."""
        raise NotImplementedError

    def tied_kernel(self) -> Tensor | None:
        """The table of embeddings as a kernel (E, V), where it is the head."""
        raise NotImplementedError

    def generate(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        global_attention_mask: Any = None,
        *,
        generation_config: GenerationConfig | None = None,
        processors: Sequence[Processor] = (),
        prefix_allowed: Any = None,
        new_token_limits: Any = None,
        return_dict: bool = False,
        output_scores: bool = True,
        output_attentions: bool = False,
        jit_compile: bool = False,
        **further: Any,
    ) -> Any:
        """Generate N = `num_return_sequences` summaries: int32 (B * N, T), start token first, padded with the pad id.

        A document of padding alone has an empty summary: the prompt and an end token.

        Args:
            input_ids, attention_mask, global_attention_mask: as in the call, or one dict or list of the inputs.
            generation_config: settings; None: the model's `generation_config`.
            processors: further rules, functions of (tokens int32 (R, T), position int32 scalar, scores (R, V)) that
                return scores, R = B * num_beams or B * N; applied after those of the settings, before sampling's. Each
                new function is another program: define it once.
            prefix_allowed: bool (V,), which tokens may be written; (n, V): as the first n new ones; (B, n, V): of each
                document.
            new_token_limits: int32 (B,), the most new tokens of each document, where that is less than the settings'
                length. The answer is that of a search with this `max_new_tokens`.
            return_dict: return a dict with "sequences", what is returned otherwise; "sequences_scores" float32
                (B * N,), the log-probability of the new tokens over their number to the power `length_penalty`; and
            output_scores: "scores" float32 (T - P, R, V), each step's after all rules, zeros where no step was made;
                and of beams "beam_indices" int32 (B * N, T - P), the row of "scores" that each token was chosen from.
            output_attentions: "decoder_attentions", "cross_attentions": of the returned sequences, per layer
                (B * N, H, T - 1, keys); and those of the encoder where it is run.
            jit_compile: compile under XLA. Each new shape then costs a compilation, and each step less.
            **further: `inputs_embeds` or `encoder_outputs` in place of the ids, which beside them serve the rules that
                look at the document; `head_mask`, `decoder_head_mask`, `cross_attn_head_mask` as in the call;
                `decoder_input_ids` int32 (B, P), what every sequence begins with, from the start token on; and single
                settings, see `GenerationConfig`.

        Raises:
            ValueError: an unknown or contradictory setting, an id outside the vocabulary, a mask of another shape, or a
                length beyond the decoder's positions.
        """
        inputs = {"attention_mask": attention_mask, "global_attention_mask": global_attention_mask}
        inputs, settings = self._told_apart(generation_config, {"input_ids": input_ids, **inputs, **further})
        outputs = (return_dict and output_scores, return_dict and output_attentions)
        options = _Options(settings, tuple(processors), *outputs, jit_compile)
        options, given = self._prepared(options, inputs, prefix_allowed, new_token_limits)
        program = self._program(options, lambda given: self._generate(given, options))
        if given["prompt"].shape[0] == 0:
            start = options.settings.decoder_start_token_id
            found = without_documents(program(one_document(given, given["prompt"], start or 0)))
        else:
            found = program(given)
        return found if return_dict else found["sequences"]

    def generate_stream(
        self,
        input_ids: Any = None,
        *,
        generation_config: GenerationConfig | None = None,
        processors: Sequence[Processor] = (),
        prefix_allowed: Any = None,
        jit_compile: bool = False,
        **further: Any,
    ) -> Iterator[np.ndarray]:
        """As `generate`, one token at a time: int32 (B * N,) of each step, the pad id for rows that have ended.

        Raises:
            ValueError: as `generate`, at once; and beams, which know their tokens at the end.
        """
        inputs, settings = self._told_apart(generation_config, {"input_ids": input_ids, **further})
        if settings.num_beams > 1:
            raise ValueError(
                f"num_beams must be 1 to stream. Received: num_beams={settings.num_beams}{settings.origin('num_beams')}"
            )
        options = _Options(settings, tuple(processors), False, False, jit_compile)
        options, given = self._prepared(options, inputs, prefix_allowed)
        return iter(()) if given["prompt"].shape[0] == 0 else self._stream(options, given)

    def score(self, documents: Any, candidates: Any, length_penalty: float = 0.0, jit_compile: bool = False) -> Tensor:
        """Log-probabilities of given summaries: float32 (B * N,).

        Args:
            documents: a dict or list of the encoder's inputs or of `encoder_outputs`, or `input_ids` alone.
            candidates: int32 (B * N, T), those of a document next to each other, without the start token, as labels
                are; -100, padding and what follows an end token does not count. Of `generate`'s: `sequences[:, 1:]`.
            length_penalty: divide by the number of tokens to this power.
            jit_compile: compile under XLA.

        Raises:
            ValueError: candidates that begin with the start token, or are no multiple of the documents.
        """
        given = self._sources({"input_ids": documents})
        given["candidates"] = self._candidates(candidates)
        if given["candidates"].shape[0] == 0:
            return ops.zeros((0,), "float32")
        key = ("score", length_penalty, self._with_ids(self.generation_config), jit_compile)
        return self._program(key, lambda given: self._score(given, length_penalty))(given)

    def _told_apart(
        self, settings: GenerationConfig | None, given: Mapping[str, Any]
    ) -> tuple[dict[str, Any], GenerationConfig]:
        """Inputs, and the settings with those that were given by themselves."""
        names = (*self.encoder_inputs, "global_attention_mask", *_FURTHER_INPUTS, "decoder_input_ids")
        inputs = {name: value for name, value in given.items() if name in names}
        # With or without a cache the tokens are the same; there always is one.
        overrides = {name: value for name, value in given.items() if name not in (*names, "use_cache")}
        for name, ours in _OTHER_NAMES.items():
            if name in overrides:
                raise ValueError(f"{name} is {ours} here: see generate's arguments. Received: {name}")
        return inputs, GenerationConfig.of(settings, self.generation_config).replace(**overrides)

    def _prepared(
        self, options: _Options, inputs: dict[str, Any], allowed: Any, limits: Any = None
    ) -> tuple[_Options, dict[str, Any]]:
        """Settings with all that they lack, and the inputs as tensors, both checked."""
        settings = self._with_ids(options.settings)
        if not all(callable(rule) for rule in options.processors):
            raise ValueError(f"processors must be functions. Received: processors={options.processors!r:.80}")
        settings.check_vocabulary(self.config.vocab_size)
        prompt = inputs.pop("decoder_input_ids", None)
        given = self._sources(inputs)
        documents = next(iter(given.values()))
        count = ops.shape(documents["last_hidden_state"] if isinstance(documents, Mapping) else documents)[0]
        given["prompt"] = prompt_of(prompt, count, settings, self.config)
        length = given["prompt"].shape[1]
        self.check_target_length("decoder_input_ids", length)
        name = settings.name_of_length
        self.check_target_length(name, settings.total_length(length) - 1, settings.origin(name))
        missing = settings.needs_source_ids if "input_ids" not in given else ()
        if missing:
            origin = settings.origin(missing[0])
            raise ValueError(f"input_ids must be given, too, for {missing[0]}. Received: no input_ids{origin}")
        if allowed is not None:
            given["allowed"] = token_mask(allowed, count, self.config.vocab_size)
        if limits is not None:
            given["limits"] = token_limits(limits, count)
        if settings.do_sample:
            seed = settings.seed
            given["seed"] = random_seed() if seed is None else ops.convert_to_tensor(_two_words(seed))
        # The seed is an input: another one is no other program.
        return options._replace(settings=settings.replace(seed=None)), given

    def _sources(self, sources: Mapping[str, Any]) -> dict[str, Any]:
        """The encoder's inputs as tensors, those that are given."""
        given = as_tensors((*self.encoder_inputs, *_FURTHER_INPUTS), sources)
        check_sources(given, self.config.vocab_size)
        if "global_attention_mask" in given:
            # Here, because inside the compiled function the mask has no values yet.
            limit = self.config.max_global_tokens
            check_global_capacity(given["global_attention_mask"], given.get("attention_mask"), limit)
        return given

    def _with_ids(self, settings: GenerationConfig) -> GenerationConfig:
        """The settings with the special ids that they lack: the model's settings', or its config's."""
        return settings.with_ids_of(self.generation_config).with_ids_of(self.config)

    def _candidates(self, candidates: Any) -> Tensor:
        """As int32; `ValueError` where each begins with the start token."""
        candidates = candidates if ops.is_tensor(candidates) else np.asarray(candidates)
        check_shape("candidates", candidates, (None, None), "candidates, tokens")
        values, settings = concrete_value(candidates), self._with_ids(self.generation_config)
        if values is not None and values.size:
            start, rest = settings.decoder_start_token_id, values[:, 1:]
            # A summary that is empty may be one end token, which may be the start token.
            is_padding = ((rest == settings.pad_token_id) | (rest < 0)).all()
            if (values[:, 0] == start).all() and not is_padding:
                raise ValueError(f"candidates must not begin with the start token {start}. Received: all do")
        if values is not None:
            check_ids("candidates", np.maximum(values, 0), self.config.vocab_size)
        return ops.cast(ops.convert_to_tensor(candidates), "int32")

    def _program(self, key: Any, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` compiled, once for each key, which ends in whether to use XLA."""
        # A program reads the variables that it was made for: a part may have been quantized, adapted or resized since.
        variables = tuple(map(id, self.variables))
        if variables != self._generators_of:
            self._generators.clear()
            self._generators_of = variables
        if key not in self._generators:
            while len(self._generators) >= _MOST_PROGRAMS:
                self._generators.pop(next(iter(self._generators)))
            self._generators[key] = compiled(function, self, key[-1])
        return self._generators[key]

    def _generate(self, given: Mapping[str, Any], options: _Options) -> dict[str, Any]:
        """Encode, search, and on request look at the attention to what was found."""
        encoded = self._read(given, output_attentions=options.output_attentions)
        fixed = self._fixed(given, encoded)
        with read_once(self._search_variables()):
            search = self._search(fixed, options)
            caches = self._caches(search)
            found = search.run(caches)
        return found | (self._attentions(fixed, encoded, found["sequences"]) if options.output_attentions else {})

    def _stream(self, options: _Options, given: dict[str, Any]) -> Iterator[np.ndarray]:
        """Two programs: one encodes and makes the first state, one goes a token further."""

        def start(given: Mapping[str, Any]) -> tuple[dict[str, Any], State]:
            fixed = self._fixed(given, self._read(given))
            search = self._search(fixed, options)
            return fixed, search.start(self._caches(search))

        def advance(fixed: Mapping[str, Any], state: State) -> State:
            return self._search(fixed, options).advance(state)

        fixed, state = self._program(("start", *options), start)(given)
        further = self._program(("advance", *options), advance)
        place = given["prompt"].shape[1]
        while bool(state.is_running):
            state = further(fixed, state)
            yield np.asarray(ops.convert_to_numpy(state.tokens))[:, :, place].reshape(-1)
            place += 1

    def _read(self, given: Mapping[str, Any], **wanted: bool) -> dict[str, Any]:
        """What the encoder returned; ids beside embeddings are for the rules that look at the document."""
        hidden = ("input_ids" if "inputs_embeds" in given else None, *HEAD_MASKS[1:])
        sources = {name: value for name, value in given.items() if name not in hidden}
        return self._encoded(sources, wanted, training=False)

    def _fixed(self, given: Mapping[str, Any], encoded: Mapping[str, Any]) -> dict[str, Any]:
        """What stays the same from step to step."""
        names = ("input_ids", "attention_mask", "prompt", "allowed", "seed", "limits", *HEAD_MASKS[1:])
        return {
            **{name: given[name] for name in names if name in given},
            "cross": self.decoder.cross_keys_values(encoded["last_hidden_state"]),
            "tied_kernel": self.tied_kernel(),
        }

    def _search_variables(self) -> list[Any]:
        """What a step reads."""
        trainable, others = self.head_variables()
        return list({id(variable): variable for variable in [*self.decoder.variables, *trainable, *others]}.values())

    def head_variables(self) -> tuple[list[Any], list[Any]]:
        """What `logits` uses: trainable variables and others."""
        raise NotImplementedError

    def _search(self, fixed: Mapping[str, Any], options: _Options) -> Search:
        """The search over this decoder, which sees the documents in `fixed`."""
        mask, settings = fixed.get("attention_mask"), options.settings

        def step(tokens: Tensor, position: Tensor, caches: Any, ancestors: Tensor | None) -> tuple[Tensor, Any]:
            hidden, caches = self.decoder.step(
                tokens,
                position,
                caches,
                fixed["cross"],
                mask,
                ancestors,
                head_mask=fixed.get("decoder_head_mask"),
                cross_attn_head_mask=fixed.get("cross_attn_head_mask"),
            )
            last = hidden[:, -1] if ancestors is None else ops.reshape(hidden, (-1, hidden.shape[-1]))
            return self.logits(last, fixed["tied_kernel"]), caches

        inputs = SearchInputs(
            prompt=fixed["prompt"],
            source_ids=fixed["input_ids"] if settings.needs_source_ids else None,
            is_empty=None if mask is None else ops.logical_not(ops.any(ops.not_equal(mask, 0), axis=1)),
            seed=fixed.get("seed"),
            allowed=fixed.get("allowed"),
            limits=fixed.get("limits"),
        )
        return kind_of_search(settings)(
            step, inputs, settings, self.config.vocab_size, options.processors, options.output_scores
        )

    def _caches(self, search: Search) -> Any:
        """Empty caches: of each row by itself, or of a document's beams together."""
        places = search.length - 1
        if search.config.num_beams > 1:
            return self.decoder.init_cache(search.documents, search.rows * places)
        return self.decoder.init_cache(search.documents * search.rows, places)

    def _attentions(self, fixed: Mapping[str, Any], encoded: Mapping[str, Any], sequences: Tensor) -> dict[str, Any]:
        """One pass over what was found, which a search need not keep for all rows and steps."""
        found = self.decoder(
            sequences[:, :-1],
            encoder_hidden_states=encoded["last_hidden_state"],
            encoder_attention_mask=fixed.get("attention_mask"),
            head_mask=fixed.get("decoder_head_mask"),
            cross_attn_head_mask=fixed.get("cross_attn_head_mask"),
            output_attentions=True,
        )
        encoders = {f"encoder_{name}": value for name, value in encoded.items() if name.endswith("attentions")}
        return {
            "decoder_attentions": found["attentions"],
            "cross_attentions": found["cross_attentions"],
            **encoders,
        }

    def _score(self, given: Mapping[str, Any], length_penalty: float) -> Tensor:
        """One pass of the decoder over the candidates."""
        encoded, labels = self._read(given), given["candidates"]
        decoded = self.decoder(
            shifted_labels(labels, self.config),
            encoder_hidden_states=encoded["last_hidden_state"],
            encoder_attention_mask=given.get("attention_mask"),
            head_mask=given.get("decoder_head_mask"),
            cross_attn_head_mask=given.get("cross_attn_head_mask"),
        )
        found, count = log_probabilities(
            labels, decoded["last_hidden_state"], self.logits, self._with_ids(self.generation_config)
        )
        return found / ops.maximum(count, 1.0) ** length_penalty


def _two_words(seed: int) -> np.ndarray:
    """The lower and the next 32 bits."""
    return np.array([seed % 2**32, seed // 2**32 % 2**32], "uint32")
