"""The language model's head: labels, generation, and the settings that come with a checkpoint.

Shape letters: B batch, T target length, E model size, V vocabulary.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from tfmodels.call_format import unpack_inputs
from tfmodels.chunked_loss import chunked_cross_entropy
from tfmodels.compiled import compiled
from tfmodels.generation import GenerationConfig, generate
from tfmodels.layers.checks import check_global_capacity
from tfmodels.layers.projection import projection
from tfmodels.layers.surgery import check_plain, replace_weight
from tfmodels.losses import masked_cross_entropy
from tfmodels.pretrained import resized_rows
from tfmodels.seq2seq import Seq2Seq, as_encoder_outputs, shifted_labels

Tensor = Any


class Seq2SeqLM(Seq2Seq):
    """Base of the models with a language-model head.

    Further call arguments:
        labels: int32 (B, T), -100 where no loss is wanted. Without decoder inputs the labels are shifted right to make
            them; the source never is.

    Returns:
        "logits" (B, T, V), and "loss" where there are labels.
    """

    head_inputs: ClassVar[tuple[str, ...]] = ("labels",)

    def __init__(self, config: Any, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.generation_config = _generation_config(self.config)
        self._generators: dict[Any, Callable[..., Any]] = {}

    @classmethod
    def check_head(cls, names: Sequence[str], source: str) -> None:
        """Raise `ValueError` where a file is plainly of a model with another head."""
        other = sorted({name.partition(".")[0] for name in names if name.startswith(cls.other_parts())})
        if other and not any(name.startswith(cls.head_prefixes) for name in names):
            raise ValueError(
                f"{source} must be a language model's. Received: the head {other[0]}; "
                "new_head=True takes its body alone"
            )

    def make_lm_head(self, stddev: float, policy: Any) -> None:
        """Create and build the head: `lm_head`, None where it is the table of embeddings."""
        self.lm_head: Any = None
        if not self.config.tie_word_embeddings:
            self.lm_head = projection("lm_head", self.config.vocab_size, stddev, False, policy)
            self.lm_head.build((None, None, self.config.d_model))

    def logits(self, hidden_states: Tensor) -> Tensor:
        """The head: (..., E) -> (..., V)."""
        raise NotImplementedError

    def default_target(self, inputs: Mapping[str, Any]) -> Tensor | None:
        """The labels, shifted right."""
        return None if inputs["labels"] is None else shifted_labels(inputs["labels"], self.config)

    def project(self, hidden_states: Tensor) -> dict[str, Tensor]:
        """Logits of every next token."""
        return {"logits": self.logits(hidden_states)}

    def head(self, hidden_states: Tensor, inputs: Mapping[str, Any], training: bool | None) -> dict[str, Tensor]:
        """Logits, and the loss where there are labels."""
        outputs, labels = self.project(hidden_states), inputs["labels"]
        if labels is None:
            return outputs
        if not training:
            return {"loss": self.loss_of(labels, outputs), **outputs}
        # In a graph the logits above are not computed unless a metric or a caller reads them.
        return {"loss": chunked_cross_entropy(labels, hidden_states, self.logits, *self.head_variables()), **outputs}

    def head_variables(self) -> tuple[list[keras.Variable], list[keras.Variable]]:
        """What `logits` uses: trainable variables and others."""
        layer = self.get_output_embeddings()
        return layer.trainable_variables, layer.non_trainable_variables

    def loss_of(self, targets: Any, outputs: Mapping[str, Any]) -> Tensor:
        """The mean cross-entropy of the labels that are not -100."""
        return masked_cross_entropy(targets, outputs["logits"])

    def main_output(self, outputs: Mapping[str, Any]) -> Any:
        """The logits."""
        return outputs["logits"]

    def get_output_embeddings(self) -> keras.layers.Layer:
        """The layer that makes logits: `lm_head`, or the table of embeddings where the two are tied."""
        return self.shared if self.lm_head is None else self.lm_head

    def resize_head(self, vocab_size: int) -> None:
        """Give `lm_head` another number of tokens; a tied head follows its table by itself."""
        if self.lm_head is not None:
            check_plain(self.lm_head, "resize_token_embeddings")
            replace_weight(self.lm_head, "_kernel", resized_rows(np.asarray(self.lm_head.kernel).T, vocab_size).T)
            self.lm_head.units = vocab_size

    def read_settings(self, folder: Path) -> None:
        """Read `generation_config.json`."""
        if (folder / "generation_config.json").is_file():
            self.generation_config = GenerationConfig.from_json(folder / "generation_config.json")

    def write_settings(self, folder: Path) -> None:
        """Write `generation_config.json`."""
        self.generation_config.to_json(folder / "generation_config.json")

    def forget_compiled(self) -> None:
        """Drop the compiled functions, which know the model as it was."""
        super().forget_compiled()
        self._generators.clear()

    def generate(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        global_attention_mask: Any = None,
        encoder_outputs: Mapping[str, Tensor] | None = None,
        generation_config: GenerationConfig | None = None,
        jit_compile: bool = False,
        **overrides: Any,
    ) -> Tensor:
        """Generate summaries: int32 (B * num_return_sequences, T), the start token first, padded with the pad id.

        Args:
            input_ids, attention_mask, global_attention_mask, encoder_outputs: as in the call: arrays by keyword, or one
                dict or list of them.
            generation_config: settings; None: the model's `generation_config`.
            jit_compile: compile under XLA. Each new shape then costs a compilation, and each step less.
            **overrides: single settings, see `GenerationConfig`.

        Raises:
            ValueError: an unknown or contradictory setting, or a length beyond the decoder's positions.
        """
        settings = (generation_config or self.generation_config).replace(**overrides)
        inputs = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "global_attention_mask": global_attention_mask,
            "encoder_outputs": encoder_outputs,
        }
        return self.generate_with_scores(inputs, settings, jit_compile)["sequences"]

    def generate_with_scores(
        self, inputs: Mapping[str, Any], settings: GenerationConfig, jit_compile: bool = False
    ) -> dict[str, Tensor]:
        """As `generate`: "sequences" int32 (R, T) and "sequences_scores" float32 (R,), R = B * num_return_sequences."""
        self.check_target_length("max_new_tokens", settings.total_length - 1)
        settings = settings.with_ids_of(self.config)
        inputs = unpack_inputs((*self.encoder_inputs, "encoder_outputs"), **inputs)
        given = {name: _as_tensors(name, value) for name, value in inputs.items() if value is not None}
        if "global_attention_mask" in self.encoder_inputs and "global_attention_mask" in given:
            # Here, because inside the compiled function the mask has no values yet.
            limit = self.config.max_global_tokens
            check_global_capacity(given["global_attention_mask"], given.get("attention_mask"), limit)
        key = (settings, jit_compile)
        if key not in self._generators:
            self._generators[key] = compiled(lambda given: self._search(given, settings), self, jit_compile)
        return self._generators[key](given)

    def _search(self, inputs: Mapping[str, Any], settings: GenerationConfig) -> dict[str, Tensor]:
        """Encode, make the documents' keys and values once, and search."""
        encoded = self._encoded(inputs, {}, training=False)
        hidden_states = encoded["last_hidden_state"]
        cross = self.decoder.cross_keys_values(hidden_states)
        mask = inputs.get("attention_mask")

        def step(tokens: Tensor, position: Tensor, caches: Any) -> tuple[Tensor, Any]:
            hidden, caches = self.decoder.step(tokens[:, None], position, caches, cross, mask)
            return self.logits(hidden)[:, 0], caches

        documents = ops.shape(hidden_states)[0]
        caches = self.decoder.init_cache(documents * settings.num_beams, settings.total_length - 1)
        return generate(step, caches, documents, settings)


def _generation_config(config: Any) -> GenerationConfig:
    """The settings that a `config.json` may hold beside the model's own fields."""
    ids = {name: getattr(config, name) for name in ("decoder_start_token_id", "eos_token_id", "pad_token_id")}
    found = {name: value for name, value in config.extra.items() if name in GenerationConfig.names()}
    return GenerationConfig.from_dict({**found, **ids})


def _as_tensors(name: str, value: Any) -> Any:
    """Ids and masks as int32, encoder outputs in their own type; tensors as they are."""
    if name == "encoder_outputs":
        return {"last_hidden_state": ops.convert_to_tensor(as_encoder_outputs(value)["last_hidden_state"])}
    if ops.is_tensor(value):
        return value
    array = np.asarray(value)
    if array.ndim != 2 or array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be a (batch, length) array of numbers. Received: shape {array.shape}")
    return ops.convert_to_tensor(array, "int32")
