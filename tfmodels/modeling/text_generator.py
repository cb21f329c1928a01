"""Text generation: `generate`, `generate_stream`, `score`, each as compiled programs around a search."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from tfmodels.backend.compile import compiled, read_once
from tfmodels.backend.random import random_seed
from tfmodels.backend.types import Tensor
from tfmodels.backend.value_checks import check_global_capacity, check_ids, concrete_value
from tfmodels.generation.beam_search import BeamSearch
from tfmodels.generation.config import GenerationConfig
from tfmodels.generation.logits_processors import Processor
from tfmodels.generation.sampling import SamplingSearch
from tfmodels.generation.search import Search, SearchInputs, State
from tfmodels.modeling.cache import StaticCache
from tfmodels.modeling.chunked_logits import log_probabilities
from tfmodels.modeling.encode_decode import run_encoder
from tfmodels.modeling.generation_inputs import (
    SOURCE_OPTIONS,
    GenerationInputs,
    check_sources,
    document_count,
    one_document,
    prompt_of,
    read_sources,
    token_limits,
    token_mask,
    without_documents,
)
from tfmodels.modeling.inputs import DecoderInputs, shifted_labels
from tfmodels.utils.checks import check_shape

# Arguments of transformers' `generate`, and their names here.
_OTHER_NAMES = {
    "return_dict_in_generate": "return_dict",
    "logits_processor": "processors",
    "prefix_allowed_tokens_fn": "prefix_allowed",
    "streamer": "generate_stream",
    "inputs": "input_ids",
}
# A limit for services that take settings from their users; the oldest programs are dropped.
_MOST_PROGRAMS = 64


class _Options(NamedTuple):
    """The key of a compiled search, beside the shapes of its inputs."""

    settings: GenerationConfig
    processors: tuple[Processor, ...]
    output_scores: bool
    output_attentions: bool
    jit_compile: bool


class _LoopConstants(NamedTuple):
    """Tensors that are the same in every step.

    inputs: the call's inputs. cross: the documents' keys and values, a pair per block. tied_kernel: (E, V), or None.
    """

    inputs: GenerationInputs
    cross: tuple[Any, ...]
    tied_kernel: Tensor | None


class TextGenerator:
    """The searches of one model, and their compiled programs.

    Args:
        model: a `Seq2SeqLM`.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._programs: dict[Any, Callable[..., Any]] = {}
        self._programs_of: tuple[int, ...] = ()

    def generate(
        self,
        inputs: Mapping[str, Any],
        generation_config: GenerationConfig | None,
        processors: Sequence[Processor],
        prefix_allowed: Any,
        new_token_limits: Any,
        return_dict: bool,
        output_scores: bool,
        output_attentions: bool,
        jit_compile: bool,
    ) -> Any:
        """See `Seq2SeqLM.generate`; `inputs` holds the documents and single settings."""
        sources, settings = self._split_inputs(generation_config, inputs)
        requested = (return_dict and output_scores, return_dict and output_attentions)
        options = _Options(settings, tuple(processors), *requested, jit_compile)
        options, prepared = self._prepare(options, sources, prefix_allowed, new_token_limits)
        program = self._program(options, lambda prepared: self._generate(prepared, options))
        if prepared.prompt.shape[0] == 0:
            start = options.settings.decoder_start_token_id
            results = without_documents(program(one_document(prepared, start or 0)))
        else:
            results = program(prepared)
        return results if return_dict else results["sequences"]

    def stream(
        self,
        inputs: Mapping[str, Any],
        generation_config: GenerationConfig | None,
        processors: Sequence[Processor],
        prefix_allowed: Any,
        jit_compile: bool,
    ) -> Iterator[np.ndarray]:
        """See `Seq2SeqLM.generate_stream`."""
        sources, settings = self._split_inputs(generation_config, inputs)
        if settings.num_beams > 1:
            raise ValueError(
                f"num_beams must be 1 to stream. Received: num_beams={settings.num_beams}{settings.origin('num_beams')}"
            )
        options = _Options(settings, tuple(processors), False, False, jit_compile)
        options, prepared = self._prepare(options, sources, prefix_allowed)
        return iter(()) if prepared.prompt.shape[0] == 0 else self._stream(options, prepared)

    def score(self, documents: Any, candidates: Any, length_penalty: float, jit_compile: bool) -> Tensor:
        """See `Seq2SeqLM.score`."""
        inputs = self._sources({"input_ids": documents})._replace(candidates=self._candidates(candidates))
        if inputs.candidates.shape[0] == 0:
            return ops.zeros((0,), "float32")
        key = ("score", length_penalty, self._with_ids(self._model.generation_config), jit_compile)
        return self._program(key, lambda inputs: self._score(inputs, length_penalty))(inputs)

    def forget_programs(self) -> None:
        """Drop the compiled programs, which are stale after a change of the model."""
        self._programs.clear()

    def _split_inputs(
        self, settings: GenerationConfig | None, inputs: Mapping[str, Any]
    ) -> tuple[dict[str, Any], GenerationConfig]:
        """Split inputs into documents and single settings, and apply the latter to the settings."""
        names = (*self._model.encoder_inputs, "global_attention_mask", *SOURCE_OPTIONS, "decoder_input_ids")
        sources = {name: value for name, value in inputs.items() if name in names}
        # `use_cache` changes no token, and is ignored: a search always has a cache.
        overrides = {name: value for name, value in inputs.items() if name not in (*names, "use_cache")}
        for name, ours in _OTHER_NAMES.items():
            if name in overrides:
                raise ValueError(f"{name} is {ours} here: see generate's arguments. Received: {name}")
        return sources, GenerationConfig.of(settings, self._model.generation_config).replace(**overrides)

    def _prepare(
        self, options: _Options, sources: dict[str, Any], allowed: Any, limits: Any = None
    ) -> tuple[_Options, GenerationInputs]:
        """The options with special ids in the settings, and the inputs as tensors, both checked."""
        model, settings = self._model, self._with_ids(options.settings)
        if not all(callable(processor) for processor in options.processors):
            raise ValueError(f"processors must be functions. Received: processors={options.processors!r:.80}")
        settings.check_vocabulary(model.config.vocab_size)
        prompt = sources.pop("decoder_input_ids", None)
        inputs = self._sources(sources)
        count = document_count(inputs)
        inputs = inputs._replace(prompt=prompt_of(prompt, count, settings, model.config))
        length = inputs.prompt.shape[1]
        model.check_target_length("decoder_input_ids", length)
        name = settings.name_of_length
        model.check_target_length(name, settings.total_length(length) - 1, settings.origin(name))
        missing = settings.needs_source_ids if inputs.input_ids is None else ()
        if missing:
            origin = settings.origin(missing[0])
            raise ValueError(f"input_ids must be given, too, for {missing[0]}. Received: no input_ids{origin}")
        if allowed is not None:
            inputs = inputs._replace(allowed=token_mask(allowed, count, model.config.vocab_size))
        if limits is not None:
            inputs = inputs._replace(limits=token_limits(limits, count))
        if settings.do_sample:
            seed = settings.seed
            inputs = inputs._replace(seed=random_seed() if seed is None else ops.convert_to_tensor(_as_seed(seed)))
        # The seed is an input: a new seed needs no new program.
        return options._replace(settings=settings.replace(seed=None)), inputs

    def _sources(self, sources: Mapping[str, Any]) -> GenerationInputs:
        """The documents as tensors, checked."""
        model = self._model
        inputs = read_sources((*model.encoder_inputs, *SOURCE_OPTIONS), sources)
        check_sources(inputs, model.config.vocab_size)
        if inputs.global_attention_mask is not None:
            # Here, because inside the compiled function the values are unknown.
            limit = model.config.max_global_tokens
            check_global_capacity(inputs.global_attention_mask, inputs.attention_mask, limit)
        return inputs

    def _with_ids(self, settings: GenerationConfig) -> GenerationConfig:
        """The settings, with missing special ids from the model's settings or from its config."""
        return settings.with_ids_of(self._model.generation_config).with_ids_of(self._model.config)

    def _candidates(self, candidates: Any) -> Tensor:
        """The candidates as int32; `ValueError` if all begin with the start token."""
        candidates = candidates if ops.is_tensor(candidates) else np.asarray(candidates)
        check_shape("candidates", candidates, (None, None), "candidates, tokens")
        values, settings = concrete_value(candidates), self._with_ids(self._model.generation_config)
        if values is not None and values.size:
            start, rest = settings.decoder_start_token_id, values[:, 1:]
            # An empty summary may be one end token, which may be the start token.
            is_padding = ((rest == settings.pad_token_id) | (rest < 0)).all()
            if (values[:, 0] == start).all() and not is_padding:
                raise ValueError(f"candidates must not begin with the start token {start}. Received: all do")
        if values is not None:
            check_ids("candidates", np.maximum(values, 0), self._model.config.vocab_size)
        return ops.cast(ops.convert_to_tensor(candidates), "int32")

    def _program(self, key: Any, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` compiled, once for each key; the last entry of a key is `jit_compile`."""
        # A program reads the variables of its tracing: a layer may have been quantized, adapted or resized since.
        variables = tuple(map(id, self._model.variables))
        if variables != self._programs_of:
            self._programs.clear()
            self._programs_of = variables
        if key not in self._programs:
            while len(self._programs) >= _MOST_PROGRAMS:
                self._programs.pop(next(iter(self._programs)))
            self._programs[key] = compiled(function, self._model, key[-1])
        return self._programs[key]

    def _generate(self, inputs: GenerationInputs, options: _Options) -> dict[str, Any]:
        """Encode, search, and on request compute the attentions of the sequences."""
        encoded = self._encode(inputs, options.output_attentions)
        constants = self._loop_constants(inputs, encoded)
        with read_once(self._search_variables()):
            search = self._search(constants, options)
            results = search.run(self._caches(search))
        if not options.output_attentions:
            return results
        return results | self._attentions(inputs, encoded, results["sequences"])

    def _stream(self, options: _Options, inputs: GenerationInputs) -> Iterator[np.ndarray]:
        """Run two programs: one encodes and creates the first state, one advances the state by a token."""

        def start(inputs: GenerationInputs) -> tuple[_LoopConstants, State]:
            constants = self._loop_constants(inputs, self._encode(inputs))
            search = self._search(constants, options)
            return constants, search.start(self._caches(search))

        def advance(constants: _LoopConstants, state: State) -> State:
            return self._search(constants, options).advance(state)

        constants, state = self._program(("start", *options), start)(inputs)
        one_token_further = self._program(("advance", *options), advance)
        place = inputs.prompt.shape[1]
        while bool(state.is_running):
            state = one_token_further(constants, state)
            yield np.asarray(ops.convert_to_numpy(state.tokens))[:, :, place].reshape(-1)
            place += 1

    def _encode(self, inputs: GenerationInputs, output_attentions: bool | None = None) -> dict[str, Any]:
        """The encoder's outputs, computed or from the inputs."""
        if inputs.encoder_outputs is not None:
            return {"last_hidden_state": inputs.encoder_outputs}
        requested = self._model.config.requested_outputs(output_attentions, None)
        return run_encoder(self._model, inputs.encoder, requested, training=False)

    def _loop_constants(self, inputs: GenerationInputs, encoded: Mapping[str, Any]) -> _LoopConstants:
        cross = self._model.decoder.cross_keys_values(encoded["last_hidden_state"])
        return _LoopConstants(inputs.without_sources(), tuple(cross), self._model.tied_kernel())

    def _search_variables(self) -> list[Any]:
        """The variables that a step reads."""
        trainable, frozen = self._model.head_variables()
        variables = [*self._model.decoder.variables, *trainable, *frozen]
        return list({id(variable): variable for variable in variables}.values())

    def _search(self, constants: _LoopConstants, options: _Options) -> Search:
        """The search over the decoder, for the documents in `constants`."""
        inputs, model, settings = constants.inputs, self._model, options.settings
        mask = inputs.attention_mask

        def step(tokens: Tensor, position: Tensor, caches: Any, ancestors: Tensor | None) -> tuple[Tensor, Any]:
            decoder_inputs = DecoderInputs(
                input_ids=tokens,
                head_mask=inputs.decoder_head_mask,
                cross_attn_head_mask=inputs.cross_attn_head_mask,
                encoder_attention_mask=mask,
                cache=StaticCache(tuple(caches), constants.cross, position),
            )
            hidden, caches = model.decoder.step(decoder_inputs, ancestors)
            last = hidden[:, -1] if ancestors is None else ops.reshape(hidden, (-1, hidden.shape[-1]))
            return model.logits(last, constants.tied_kernel), caches

        search_inputs = SearchInputs(
            prompt=inputs.prompt,
            source_ids=inputs.input_ids if settings.needs_source_ids else None,
            is_empty=None if mask is None else ops.logical_not(ops.any(ops.not_equal(mask, 0), axis=1)),
            seed=inputs.seed,
            allowed=inputs.allowed,
            limits=inputs.limits,
        )
        search_class = SamplingSearch if settings.num_beams == 1 else BeamSearch
        vocabulary = model.config.vocab_size
        return search_class(step, search_inputs, settings, vocabulary, options.processors, options.output_scores)

    def _caches(self, search: Search) -> Any:
        """Empty caches: one for each row, or with beams one for each document."""
        places = search.length - 1
        if search.config.num_beams > 1:
            return self._model.decoder.init_cache(search.documents, search.rows * places)
        return self._model.decoder.init_cache(search.documents * search.rows, places)

    def _attentions(self, inputs: GenerationInputs, encoded: Mapping[str, Any], sequences: Tensor) -> dict[str, Any]:
        """The attentions by one pass over the sequences, so that a search keeps none for all rows and steps."""
        outputs = self._decode(inputs, encoded, sequences[:, :-1], output_attentions=True)
        encoders = {f"encoder_{name}": value for name, value in encoded.items() if name.endswith("attentions")}
        return {
            "decoder_attentions": outputs["attentions"],
            "cross_attentions": outputs["cross_attentions"],
            **encoders,
        }

    def _score(self, inputs: GenerationInputs, length_penalty: float) -> Tensor:
        """The scores of candidates, by one pass of the decoder."""
        encoded, labels = self._encode(inputs), inputs.candidates
        outputs = self._decode(inputs, encoded, shifted_labels(labels, self._model.config))
        settings = self._with_ids(self._model.generation_config)
        total, count = log_probabilities(labels, outputs["last_hidden_state"], self._model.logits, settings)
        return total / ops.maximum(count, 1.0) ** length_penalty

    def _decode(
        self, inputs: GenerationInputs, encoded: Mapping[str, Any], target: Tensor, output_attentions: bool = False
    ) -> dict[str, Any]:
        """Run the decoder once over whole targets."""
        decoder_inputs = DecoderInputs(
            input_ids=target,
            head_mask=inputs.decoder_head_mask,
            cross_attn_head_mask=inputs.cross_attn_head_mask,
            encoder_hidden_states=encoded["last_hidden_state"],
            encoder_attention_mask=inputs.attention_mask,
        )
        return self._model.decoder(**decoder_inputs._asdict(), output_attentions=output_attentions)


def _as_seed(seed: int) -> np.ndarray:
    """A seed's lower and next 32 bits: uint32 (2,)."""
    return np.array([seed % 2**32, seed // 2**32 % 2**32], "uint32")
