"""The language model's head: labels, loss, generation, and a checkpoint's settings of generation.

Further shape letters: P prompt tokens, Q sequences of a document, J new positions.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import keras
import numpy as np
from keras import ops

from tfmodels.backend.keras_internals import replace_weight
from tfmodels.backend.types import Tensor
from tfmodels.backend.value_checks import checked_ids
from tfmodels.checkpoints.mapping import WeightMap
from tfmodels.generation.config import GenerationConfig
from tfmodels.generation.logits_processors import Processor
from tfmodels.layers.projection import projection
from tfmodels.layers.resizing import check_plain
from tfmodels.modeling.adaptation import resized_rows
from tfmodels.modeling.chunked_logits import chunked_cross_entropy
from tfmodels.modeling.config import ModelConfig
from tfmodels.modeling.inputs import Seq2SeqInputs, shifted_labels
from tfmodels.modeling.losses import LossTerm, cross_entropy_term, has_loss, mean_loss
from tfmodels.modeling.seq2seq import Seq2SeqModel
from tfmodels.modeling.text_generator import TextGenerator
from tfmodels.utils.labels import IGNORED_LABEL


class Seq2SeqLM(Seq2SeqModel):
    """Base class of the models with a language-model head.

    Further call arguments:
        labels: int32 (B, T), -100 for tokens without a loss. The default decoder inputs are the labels, shifted right.

    Returns:
        "logits" (B, T, V), and "loss" with labels.

    Attributes:
        label_smoothing: of the loss in training (Szegedy et al. 2016, section 7). Set it before `compile`.

    Subclasses implement `head_stddev` and `logits`.
    """

    pipeline_tag: ClassVar[str] = "summarization"
    head_inputs: ClassVar[tuple[str, ...]] = ("labels",)
    makes_target_from_labels: ClassVar[bool] = True
    label_smoothing: float = 0.0
    _text_generator: TextGenerator

    def __init__(self, config: Any, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.generation_config = _generation_config(self.config)
        # Past Keras' tracking: the generator is neither a layer nor a variable, and refers to the model.
        self.__dict__["_text_generator"] = TextGenerator(self)

    def head_stddev(self) -> float:
        """The standard deviation of an untied head's initial kernel."""
        raise NotImplementedError

    def logits(self, hidden_states: Tensor, tied_kernel: Tensor | None = None) -> Tensor:
        """Apply the head: (..., E) -> (..., V); `tied_kernel` is the result of the method of that name, or None."""
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
        """Generate Q = `num_return_sequences` summaries of each document.

        The summary of a document of padding alone is empty: the prompt and an end token.

        Args:
            input_ids, attention_mask, global_attention_mask: as in the call, or one dict or list.
            generation_config: settings; None: the model's `generation_config`.
            processors: further `Processor` functions, R = B * num_beams or B * Q, applied after the settings'
                processors, before sampling's. Each new function compiles a new program: define it once.
            prefix_allowed: bool (V,), the allowed tokens; (J, V): at the first J new positions; (B, J, V): of each
                document.
            new_token_limits: int32 (B,), the `max_new_tokens` of each document, if below the settings' length.
            return_dict: return a dict, see below.
            output_scores, output_attentions: add these to the dict.
            jit_compile: compile under XLA. Each new shape then costs a compilation, and each step less.
            **further: `inputs_embeds` or `encoder_outputs` in place of the ids (ids beside them are for processors that
                read the document); `head_mask`, `decoder_head_mask`, `cross_attn_head_mask` as in the call;
                `decoder_input_ids` int32 (B, P), the first tokens of every sequence, with the start token; and single
                settings, see `GenerationConfig`.

        Returns:
            int32 (B * Q, T), start token first, padded with the pad id. With `return_dict` a dict: "sequences", these
            ids; "sequences_scores" float32 (B * Q,), the log-probability of the new tokens over their number to the
            power `length_penalty`; "scores" float32 (T - P, R, V), each step's after all processors, zeros for steps
            after the end; with beams "beam_indices" int32 (B * Q, T - P), the row of "scores" of each token;
            "decoder_attentions" and "cross_attentions" of the returned sequences, per layer (B * Q, H, T - 1, T - 1)
            and (B * Q, H, T - 1, S); and the encoder's attentions if the encoder runs.

        Raises:
            ValueError: an unknown or contradictory setting, an id outside the vocabulary, a mask of the wrong shape, or
                a length beyond the decoder's positions.
        """
        inputs = {"attention_mask": attention_mask, "global_attention_mask": global_attention_mask, **further}
        return self._text_generator.generate(
            {"input_ids": input_ids, **inputs},
            generation_config,
            processors,
            prefix_allowed,
            new_token_limits,
            return_dict,
            output_scores,
            output_attentions,
            jit_compile,
        )

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
        """Generate one token at a time: int32 (B * Q,) for each step, the pad id for rows that have ended.

        Arguments: as in `generate`.

        Raises:
            ValueError: as in `generate`, at once; and beams, whose tokens are known at the end alone.
        """
        inputs = {"input_ids": input_ids, **further}
        return self._text_generator.stream(inputs, generation_config, processors, prefix_allowed, jit_compile)

    def score(self, documents: Any, candidates: Any, length_penalty: float = 0.0, jit_compile: bool = False) -> Tensor:
        """The log-probabilities of candidate summaries: float32 (B * Q,).

        Args:
            documents: a dict or list of the encoder's inputs or of `encoder_outputs`, or `input_ids` alone.
            candidates: int32 (B * Q, T), the candidates of a document next to each other, without the start token, like
                labels; -100, padding and tokens after an end token are ignored. For the results of `generate`:
                `sequences[:, 1:]`.
            length_penalty: divide by the number of tokens to this power.
            jit_compile: compile under XLA.

        Raises:
            ValueError: candidates with a start token, or a number of candidates that the documents do not divide.
        """
        return self._text_generator.score(documents, candidates, length_penalty, jit_compile)

    @property
    def generation_config(self) -> GenerationConfig:
        """The settings of generation; the setter also converts a dict or transformers' object."""
        return self._generation_config

    @generation_config.setter
    def generation_config(self, value: Any) -> None:
        self._generation_config = GenerationConfig.of(value)

    @classmethod
    def check_head(cls, weight_map: WeightMap, names: Sequence[str], source: str) -> None:
        """Raise `ValueError` for a file with another head alone."""
        other = sorted({name.partition(".")[0] for name in names if name.startswith(weight_map.unused_prefixes)})
        if other and not any(name.startswith(weight_map.head_prefixes) for name in names):
            raise ValueError(
                f"{source} must be a language model's. Received: the head {other[0]}; "
                "new_head=True takes its body alone"
            )

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the model, with its settings of generation."""
        return {**super().get_config(), "generation_config": self.generation_config.to_dict()}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Create a model from the result of `get_config`."""
        arguments = dict(config)
        settings = arguments.pop("generation_config", None)
        model = super().from_config(arguments, custom_objects)
        if settings is not None:
            model.generation_config = settings
        return model

    def create_head(self, policy: keras.DTypePolicy) -> None:
        """Create and build the head: `lm_head`, None for a head tied to the table of embeddings."""
        self.lm_head: Any = None
        if not self.config.tie_word_embeddings:
            self.lm_head = projection("lm_head", self.config.vocab_size, self.head_stddev(), False, policy)
            self.lm_head.build((None, None, self.config.d_model))

    def tied_kernel(self) -> Tensor | None:
        """The table of embeddings as a kernel (E, V), for a tied head; None if quantized or under LoRA."""
        is_plain = self.shared.quantization_mode is None and not getattr(self.shared, "lora_enabled", False)
        if self.lm_head is not None or not is_plain:
            return None
        return ops.cast(ops.transpose(self.shared.embeddings), self.shared.compute_dtype)

    def _to_vocabulary(self, hidden_states: Tensor, tied_kernel: Tensor | None) -> Tensor:
        """Project by `lm_head`, by the table of embeddings, or by its kernel if given: (..., E) -> (..., V)."""
        if tied_kernel is not None:
            return ops.matmul(ops.cast(hidden_states, tied_kernel.dtype), tied_kernel)
        return self.shared(hidden_states, reverse=True) if self.lm_head is None else self.lm_head(hidden_states)

    def default_target(self, inputs: Seq2SeqInputs) -> Tensor | None:
        """The labels, shifted right."""
        return None if inputs.labels is None else shifted_labels(self._known(inputs.labels), self.config)

    def _known(self, labels: Tensor) -> Tensor:
        """The labels, with -100 in place of ids outside the vocabulary, which a program under XLA cannot refuse."""
        labels, is_counted = self.counted(labels, {})
        return ops.where(is_counted, labels, IGNORED_LABEL)

    def project(self, hidden_states: Tensor) -> dict[str, Tensor]:
        """The logits of every next token."""
        return {"logits": self.logits(hidden_states)}

    def head(self, hidden_states: Tensor, inputs: Seq2SeqInputs, training: bool | None) -> dict[str, Tensor]:
        """The logits, and with labels the loss."""
        outputs, labels = self.project(hidden_states), inputs.labels
        if labels is None:
            return outputs
        labels = self._known(labels)
        if not training:
            return {"loss": mean_loss(self.loss_terms(labels, outputs)), **outputs}
        # In a graph the logits above are not computed unless a metric or a caller reads them.
        variables, smoothing = self.head_variables(), self.label_smoothing
        return {
            "loss": chunked_cross_entropy(labels, hidden_states, self.logits, *variables, smoothing=smoothing),
            **outputs,
        }

    def head_variables(self) -> tuple[list[keras.Variable], list[keras.Variable]]:
        """The trainable and the frozen variables of `logits`."""
        layer = self.get_output_embeddings()
        return layer.trainable_variables, layer.non_trainable_variables

    def loss_terms(self, targets: Any, outputs: Mapping[str, Any], weights: Any = None) -> list[LossTerm]:
        """The cross-entropy of all labels except -100.

        Raises:
            ValueError: weights with label smoothing, which the loss of a training call has alone.
        """
        if weights is not None and self.label_smoothing:
            raise ValueError(
                f"label_smoothing must be 0 with sample_weight. Received: label_smoothing={self.label_smoothing}"
            )
        if weights is None and "loss" in outputs:
            _, is_counted = self.counted(targets, {})
            count = ops.sum(ops.cast(is_counted, "float32"))
            return [LossTerm(outputs["loss"] * ops.maximum(count, 1.0), count)]
        return [cross_entropy_term(ops.cast(targets, "int32"), outputs["logits"], weights=weights)]

    def counted(self, targets: Any, inputs: Mapping[str, Any]) -> tuple[Any, Any]:
        """The labels, with 0 for ignored ones, and True for labels that count."""
        labels = checked_ids("labels", targets, self.config.vocab_size, ignored=IGNORED_LABEL)
        labels = ops.cast(labels, "int32")
        is_counted = has_loss(labels, self.config.vocab_size)
        return ops.where(is_counted, labels, 0), is_counted

    def main_output(self, outputs: Mapping[str, Any]) -> Any:
        """The logits."""
        return outputs["logits"]

    def get_output_embeddings(self) -> keras.layers.Layer:
        """The layer that computes logits: `lm_head`, or for a tied head the table of embeddings."""
        return self.shared if self.lm_head is None else self.lm_head

    def resize_head(self, vocab_size: int) -> None:
        """Resize `lm_head` to `vocab_size` tokens; a tied head follows its table."""
        if self.lm_head is not None:
            check_plain(self.lm_head, "resize_token_embeddings")
            replace_weight(self.lm_head, "kernel", resized_rows(np.asarray(self.lm_head.kernel).T, vocab_size).T)
            self.lm_head.units = vocab_size

    def read_settings(self, folder: Path) -> None:
        """Read `generation_config.json`."""
        if (folder / "generation_config.json").is_file():
            # Not strict: unusable settings are a warning, and the weights are still loaded.
            self.generation_config = GenerationConfig.from_json(folder / "generation_config.json", strict=False)

    def write_settings(self, folder: Path) -> None:
        """Write `generation_config.json`."""
        self.generation_config.to_json(folder / "generation_config.json")

    def forget_compiled(self) -> None:
        """Drop the compiled functions, which are stale after a change of the model."""
        super().forget_compiled()
        self._text_generator.forget_programs()


def _generation_config(config: ModelConfig) -> GenerationConfig:
    """The settings of generation in a `config.json`, beside the model's fields."""
    ids = {name: getattr(config, name) for name in ("decoder_start_token_id", "eos_token_id", "pad_token_id")}
    ids["eos_token_id"] = config.eos_token_ids
    settings = {name: value for name, value in config.extra.items() if name in GenerationConfig.reference_names()}
    return GenerationConfig.from_dict({**settings, **ids}, strict=False)
