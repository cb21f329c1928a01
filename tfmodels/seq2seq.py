"""The face that both families share: call formats, loss, generation, loading and saving.

Shape letters: B batch, S source length, T target length, E model size, V vocabulary.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import keras
import numpy as np
from keras import ops

from tfmodels.checkpoints.folder import open_checkpoint
from tfmodels.checkpoints.mapping import Row, load_weights, reference_tensors
from tfmodels.checkpoints.safetensors_file import write_safetensors
from tfmodels.compiled import compiled
from tfmodels.generation import GenerationConfig, generate
from tfmodels.hub import local_folder
from tfmodels.labels import IGNORED_LABEL
from tfmodels.layers.checks import check_global_capacity
from tfmodels.model_config import ModelConfig, config_of

Tensor = Any

_TARGET_INPUTS = ("decoder_input_ids", "decoder_attention_mask", "labels")


def unpack_inputs(names: Sequence[str], **inputs: Any) -> dict[str, Any]:
    """The inputs by name, whether they came as keywords, as one dict, or as a list in the order of `names`.

    Raises:
        ValueError: an unknown name in the dict, too long a list, an input given twice, or none at all.

    >>> unpack_inputs(("input_ids", "attention_mask"), input_ids=[1, 2], attention_mask=None)["attention_mask"]
    2
    """
    first = inputs[names[0]]
    given = {name: value for name, value in inputs.items() if name != names[0] and value is not None}
    if isinstance(first, Mapping):
        unknown = sorted(set(first) - set(inputs))
        if unknown:
            raise ValueError(f"inputs must be among {list(inputs)}. Received: {', '.join(unknown)}")
        packed = dict(first)
    elif isinstance(first, (list, tuple)):
        if len(first) > len(names):
            raise ValueError(f"inputs as a list must be in the order {list(names)}. Received: {len(first)} inputs")
        packed = dict(zip(names, first, strict=False))
    else:
        packed = {names[0]: first}
    twice = sorted(set(packed) & set(given))
    if twice:
        raise ValueError(f"each input must be given once. Received twice: {', '.join(twice)}")
    return {**dict.fromkeys(inputs), **packed, **given}


def shift_right(labels: Tensor, start_token_id: int, pad_token_id: int) -> Tensor:
    """Decoder inputs for labels (B, T): the start token, then the labels but the last; ignored labels become padding.

    >>> ops.convert_to_numpy(shift_right(ops.array([[5, 1, -100]]), 2, 0)).tolist()
    [[2, 5, 1]]
    """
    start = ops.full_like(labels[:, :1], start_token_id)
    shifted = ops.concatenate([start, labels[:, :-1]], axis=1)
    return ops.where(ops.equal(shifted, IGNORED_LABEL), pad_token_id, shifted)


def masked_cross_entropy(labels: Tensor, logits: Tensor) -> Tensor:
    """Mean cross-entropy over the labels that are not -100, in float32; 0 where there are none.

    Args:
        labels: int32 (B, T).
        logits: (B, T, V).
    """
    counts = ops.cast(ops.not_equal(labels, IGNORED_LABEL), "float32")
    losses = ops.sparse_categorical_crossentropy(ops.maximum(labels, 0), ops.cast(logits, "float32"), from_logits=True)
    return ops.sum(losses * counts) / ops.maximum(ops.sum(counts), 1.0)


class Seq2SeqLM(keras.Model):
    """Base of the models with a language-model head.

    Call arguments (keywords, one dict, or a list in this order after the encoder's inputs):
        input_ids: int32 (B, S). attention_mask: (B, S), 0 on padding.
        global_attention_mask: LED only; (B, S), non-zero on global tokens.
        decoder_input_ids: int32 (B, T); None: the labels shifted right.
        decoder_attention_mask: (B, T), 0 on padding.
        labels: int32 (B, T), -100 where no loss is wanted.
        encoder_outputs: what `encode` returned, in place of encoding `input_ids`.

    Returns:
        {"logits": (B, T, V), "encoder_last_hidden_state": (B, S, E)}, and "loss" where there are labels.

    Raises:
        ValueError: neither labels nor decoder inputs, an input that the family does not have, or one that is too long.
    """

    config_class: ClassVar[type[ModelConfig]]
    encoder_inputs: ClassVar[tuple[str, ...]]

    @staticmethod
    def weight_rows(config: Any) -> list[Row]:
        """The family's table of reference names."""
        raise NotImplementedError

    def __init__(self, config: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config_of(self.config_class, config)
        self.generation_config = _generation_config(self.config)
        self._generators: dict[Any, Callable[..., Any]] = {}
        self.make_parts(self.dtype_policy)
        self.build()

    def make_parts(self, policy: Any) -> None:
        """Create and build the sublayers: `shared`, `encoder`, `decoder` and the head."""
        raise NotImplementedError

    def logits(self, hidden_states: Tensor) -> Tensor:
        """The head: (..., E) -> (..., V)."""
        raise NotImplementedError

    def build(self, input_shape: Any = None) -> None:
        """Nothing is left to build: the parts were built with their final sizes."""
        self.built = True

    def call(
        self,
        input_ids: Any = None,
        attention_mask: Tensor | None = None,
        global_attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        encoder_outputs: Mapping[str, Tensor] | None = None,
        training: bool | None = None,
    ) -> dict[str, Tensor]:
        """Logits of a target given a document; see the class docstring."""
        inputs = unpack_inputs(
            (*self.encoder_inputs, *_TARGET_INPUTS),
            input_ids=input_ids,
            attention_mask=attention_mask,
            global_attention_mask=global_attention_mask,
            decoder_input_ids=decoder_input_ids,
            decoder_attention_mask=decoder_attention_mask,
            labels=labels,
            encoder_outputs=encoder_outputs,
        )
        target, labels = inputs["decoder_input_ids"], inputs["labels"]
        if target is None:
            if labels is None:
                raise ValueError(
                    "decoder_input_ids or labels must be given: the source is never shifted into the decoder. "
                    "Received: neither"
                )
            target = shift_right(labels, self.config.decoder_start_token_id, self.config.pad_token_id)
        encoded = inputs["encoder_outputs"] or self.encode(**self._encoder_arguments(inputs), training=training)
        hidden_states = self.decoder(
            target,
            encoder_hidden_states=encoded["last_hidden_state"],
            encoder_attention_mask=inputs["attention_mask"],
            attention_mask=inputs["decoder_attention_mask"],
            training=training,
        )["last_hidden_state"]
        outputs = {"logits": self.logits(hidden_states), "encoder_last_hidden_state": encoded["last_hidden_state"]}
        return outputs if labels is None else {"loss": masked_cross_entropy(labels, outputs["logits"]), **outputs}

    def encode(self, input_ids: Tensor, training: bool | None = None, **masks: Tensor | None) -> dict[str, Tensor]:
        """Run the encoder: {"last_hidden_state": (B, S, E)}."""
        return self.encoder(input_ids, training=training, **masks)

    def _encoder_arguments(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        if "global_attention_mask" not in self.encoder_inputs and inputs.get("global_attention_mask") is not None:
            raise ValueError(
                f"inputs must be among {list(self.encoder_inputs)} for {type(self).__name__}. "
                "Received: global_attention_mask"
            )
        if inputs["input_ids"] is None:
            raise ValueError("input_ids or encoder_outputs must be given. Received: neither")
        return {name: inputs.get(name) for name in self.encoder_inputs}

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        """The model's own loss, for labels among the inputs or given as `y`; a compiled loss gets the logits."""
        if self._compile_loss is not None:
            return super().compute_loss(x, y, y_pred["logits"], sample_weight, training)
        if sample_weight is not None:
            raise ValueError(
                "sample_weight needs a compiled loss; the default one weights every label alike (-100: not at all). "
                "Received: sample_weight and no loss"
            )
        if "loss" in y_pred:
            loss = y_pred["loss"]
        elif y is not None:
            loss = masked_cross_entropy(y, y_pred["logits"])
        else:
            raise ValueError("labels must be among the inputs or be given as y. Received: neither")
        return sum(self.losses, start=loss)

    def predict_step(self, data: Any) -> dict[str, Tensor]:
        """As in Keras, but without the loss, which has no batch axis to join predictions along."""
        outputs = super().predict_step(data)
        return {name: value for name, value in outputs.items() if name != "loss"}

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
        self._check_target_length(settings)
        settings = settings.with_ids_of(self.config)
        inputs = unpack_inputs(self.encoder_inputs, **{self.encoder_inputs[0]: None, **inputs})
        given = {name: _as_tensors(name, value) for name, value in inputs.items() if value is not None}
        if "global_attention_mask" in self.encoder_inputs and "global_attention_mask" in given:
            # Here, because inside the compiled function the mask has no values yet.
            limit = self.config.max_global_tokens
            check_global_capacity(given["global_attention_mask"], given.get("attention_mask"), limit)
        key = (settings, jit_compile)
        if key not in self._generators:
            self._generators[key] = compiled(lambda given: self._search(given, settings), jit_compile)
        return self._generators[key](given)

    def _search(self, inputs: Mapping[str, Any], settings: GenerationConfig) -> dict[str, Tensor]:
        """Encode, make the documents' keys and values once, and search."""
        encoded = inputs.get("encoder_outputs") or self.encode(**self._encoder_arguments(inputs), training=False)
        hidden_states = encoded["last_hidden_state"]
        cross = self.decoder.cross_keys_values(hidden_states)
        mask = inputs.get("attention_mask")

        def step(tokens: Tensor, position: Tensor, caches: Any) -> tuple[Tensor, Any]:
            hidden, caches = self.decoder.step(tokens[:, None], position, caches, cross, mask)
            return self.logits(hidden)[:, 0], caches

        documents = ops.shape(hidden_states)[0]
        caches = self.decoder.init_cache(documents * settings.num_beams, settings.total_length - 1)
        return generate(step, caches, documents, settings)

    def _check_target_length(self, settings: GenerationConfig) -> None:
        limit = getattr(self.config, "max_decoder_position_embeddings", None)
        if limit is not None and settings.total_length - 1 > limit:
            raise ValueError(
                f"max_new_tokens must be at most max_decoder_position_embeddings={limit}. "
                f"Received: {settings.total_length - 1} new tokens"
            )

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | os.PathLike[str],
        dtype: Any = None,
        revision: str | None = None,
        ignore_tensors: Sequence[str] = (),
        **overrides: Any,
    ) -> Self:
        """Load a checkpoint from a folder or from the Hugging Face hub (extra `hub`).

        Args:
            name_or_folder: a folder with `config.json` and weights, or a hub id.
            dtype: policy of the model, such as "mixed_bfloat16".
            revision: of the hub repository.
            ignore_tensors: names of tensors in the file that the model does not have; any other is an error.
            **overrides: fields of the config.

        Raises:
            ValueError: a file that does not fit the model; every tensor is accounted for.
        """
        folder = local_folder(name_or_folder, revision)
        config = cls.config_class.from_json(folder / "config.json").replace(**overrides)
        model = cls(config, dtype=dtype)
        with open_checkpoint(folder) as reader:
            load_weights(model, cls.weight_rows(config), reader, str(name_or_folder), ignore_tensors)
        if (folder / "generation_config.json").is_file():
            model.generation_config = GenerationConfig.from_json(folder / "generation_config.json")
        return model

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write `config.json`, `generation_config.json` and `model.safetensors`, which transformers loads."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        tensors = dict(reference_tensors(self, type(self).weight_rows(self.config)))
        write_safetensors(target / "model.safetensors", tensors, {"format": "pt"})
        self.generation_config.to_json(target / "generation_config.json")
        self.config.to_json(target / "config.json")

    def get_encoder(self) -> keras.Model:
        """The encoder."""
        return self.encoder

    def get_decoder(self) -> keras.layers.Layer:
        """The decoder."""
        return self.decoder

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the model."""
        return {**super().get_config(), "config": self.config.to_dict()}


def _generation_config(config: Any) -> GenerationConfig:
    """The settings that a `config.json` may hold beside the model's own fields."""
    ids = {name: getattr(config, name) for name in ("decoder_start_token_id", "eos_token_id", "pad_token_id")}
    found = {name: value for name, value in config.extra.items() if name in GenerationConfig.names()}
    return GenerationConfig.from_dict({**found, **ids})


def _as_tensors(name: str, value: Any) -> Any:
    """Ids and masks as int32, encoder outputs in their own type; tensors as they are."""
    if isinstance(value, Mapping):
        return {key: ops.convert_to_tensor(item) for key, item in value.items()}
    if ops.is_tensor(value):
        return value
    array = np.asarray(value)
    if array.ndim != 2 or array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be a (batch, length) array of numbers. Received: shape {array.shape}")
    return ops.convert_to_tensor(array, "int32")
