"""The language model's head: labels, loss, and the settings that come with a checkpoint.

Shape letters: B batch, T target length, E model size, V vocabulary.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import keras
import numpy as np
from keras import ops

from tfmodels.backend.keras_internals import replace_weight
from tfmodels.backend.types import Tensor
from tfmodels.backend.value_checks import checked_ids
from tfmodels.generation import GenerationConfig
from tfmodels.layers.projection import projection
from tfmodels.layers.resizing import check_plain
from tfmodels.modeling.chunked_logits import chunked_cross_entropy
from tfmodels.modeling.inputs import shifted_labels
from tfmodels.modeling.losses import LossTerm, cross_entropy_term, has_loss, mean_loss
from tfmodels.modeling.pretrained import resized_rows
from tfmodels.modeling.text_generator import Generator
from tfmodels.utils.labels import IGNORED_LABEL


class Seq2SeqLM(Generator):
    """Base of the models with a language-model head.

    Further call arguments:
        labels: int32 (B, T), -100 where no loss is wanted. Without decoder inputs the labels are shifted right to make
            them; the source never is.

    Returns:
        "logits" (B, T, V), and "loss" where there are labels.
    """

    head_inputs: ClassVar[tuple[str, ...]] = ("labels",)
    makes_target_from_labels: ClassVar[bool] = True

    def __init__(self, config: Any, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.generation_config = _generation_config(self.config)
        self._generators = {}

    @property
    def generation_config(self) -> GenerationConfig:
        """Settings of generation; a dict or transformers' object is taken as `GenerationConfig.of` does."""
        return self._generation_config

    @generation_config.setter
    def generation_config(self, value: Any) -> None:
        self._generation_config = GenerationConfig.of(value)

    @classmethod
    def check_head(cls, names: Sequence[str], source: str) -> None:
        """Raise `ValueError` where a file is plainly of a model with another head."""
        other = sorted({name.partition(".")[0] for name in names if name.startswith(cls.other_parts())})
        if other and not any(name.startswith(cls.head_prefixes) for name in names):
            raise ValueError(
                f"{source} must be a language model's. Received: the head {other[0]}; "
                "new_head=True takes its body alone"
            )

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the model, and its settings of generation."""
        return {**super().get_config(), "generation_config": self.generation_config.to_dict()}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """A model like the one that gave the config."""
        arguments = dict(config)
        settings = arguments.pop("generation_config", None)
        model = super().from_config(arguments, custom_objects)
        if settings is not None:
            model.generation_config = settings
        return model

    def make_lm_head(self, stddev: float, policy: Any) -> None:
        """Create and build the head: `lm_head`, None where it is the table of embeddings."""
        self.lm_head: Any = None
        if not self.config.tie_word_embeddings:
            self.lm_head = projection("lm_head", self.config.vocab_size, stddev, False, policy)
            self.lm_head.build((None, None, self.config.d_model))

    def tied_kernel(self) -> Tensor | None:
        """The table of embeddings as a kernel (E, V), where it is the head and neither quantized nor adapted."""
        is_plain = self.shared.quantization_mode is None and not getattr(self.shared, "lora_enabled", False)
        if self.lm_head is not None or not is_plain:
            return None
        return ops.cast(ops.transpose(self.shared.embeddings), self.shared.compute_dtype)

    def unembedded(self, hidden_states: Tensor, tied_kernel: Tensor | None) -> Tensor:
        """By `lm_head`, by the table of embeddings, or by its kernel where that was made: (..., E) -> (..., V)."""
        if tied_kernel is not None:
            return ops.matmul(ops.cast(hidden_states, tied_kernel.dtype), tied_kernel)
        return self.shared(hidden_states, reverse=True) if self.lm_head is None else self.lm_head(hidden_states)

    def default_target(self, inputs: Mapping[str, Any]) -> Tensor | None:
        """The labels, shifted right."""
        return None if inputs["labels"] is None else shifted_labels(self._known(inputs["labels"]), self.config)

    def _known(self, labels: Tensor) -> Tensor:
        """Labels, those that are no tokens ignored: only a program of XLA's, which raises nothing, gets that far."""
        labels, is_counted = self.counted(labels, {})
        return ops.where(is_counted, labels, IGNORED_LABEL)

    def project(self, hidden_states: Tensor) -> dict[str, Tensor]:
        """Logits of every next token."""
        return {"logits": self.logits(hidden_states)}

    def head(self, hidden_states: Tensor, inputs: Mapping[str, Any], training: bool | None) -> dict[str, Tensor]:
        """Logits, and the loss where there are labels."""
        outputs, labels = self.project(hidden_states), inputs["labels"]
        if labels is None:
            return outputs
        labels = self._known(labels)
        if not training:
            return {"loss": mean_loss(self.loss_terms(labels, outputs)), **outputs}
        # In a graph the logits above are not computed unless a metric or a caller reads them.
        return {"loss": chunked_cross_entropy(labels, hidden_states, self.logits, *self.head_variables()), **outputs}

    def head_variables(self) -> tuple[list[keras.Variable], list[keras.Variable]]:
        """What `logits` uses: trainable variables and others."""
        layer = self.get_output_embeddings()
        return layer.trainable_variables, layer.non_trainable_variables

    def loss_terms(self, targets: Any, outputs: Mapping[str, Any], weights: Any = None) -> list[LossTerm]:
        """Cross-entropy of the labels that are not -100."""
        if weights is None and "loss" in outputs:
            _, is_counted = self.counted(targets, {})
            count = ops.sum(ops.cast(is_counted, "float32"))
            return [LossTerm(outputs["loss"] * ops.maximum(count, 1.0), count)]
        return [cross_entropy_term(ops.cast(targets, "int32"), outputs["logits"], weights=weights)]

    def counted(self, targets: Any, inputs: Mapping[str, Any]) -> tuple[Any, Any]:
        """Labels, 0 where none counts, and which count."""
        labels = checked_ids("labels", targets, self.config.vocab_size, ignored=IGNORED_LABEL)
        labels = ops.cast(labels, "int32")
        is_counted = has_loss(labels, self.config.vocab_size)
        return ops.where(is_counted, labels, 0), is_counted

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
            replace_weight(self.lm_head, "kernel", resized_rows(np.asarray(self.lm_head.kernel).T, vocab_size).T)
            self.lm_head.units = vocab_size

    def read_settings(self, folder: Path) -> None:
        """Read `generation_config.json`."""
        if (folder / "generation_config.json").is_file():
            # What cannot be followed is warned of here: the weights are worth having.
            self.generation_config = GenerationConfig.from_json(folder / "generation_config.json", strict=False)

    def write_settings(self, folder: Path) -> None:
        """Write `generation_config.json`."""
        self.generation_config.to_json(folder / "generation_config.json")

    def forget_compiled(self) -> None:
        """Drop the compiled functions, which know the model as it was."""
        super().forget_compiled()
        self._generators.clear()


def _generation_config(config: Any) -> GenerationConfig:
    """The settings that a `config.json` may hold beside the model's own fields."""
    ids = {name: getattr(config, name) for name in ("decoder_start_token_id", "eos_token_id", "pad_token_id")}
    ids["eos_token_id"] = config.eos_token_ids
    found = {name: value for name, value in config.extra.items() if name in GenerationConfig.reference_names()}
    return GenerationConfig.from_dict({**found, **ids}, strict=False)
