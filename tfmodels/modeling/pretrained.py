"""What all models share besides their computation: loading, saving, and changing what is already built."""

import os
import warnings
import weakref
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import keras
import numpy as np

from tfmodels.backend.keras_internals import replace_weight, sublayers
from tfmodels.checkpoints import check_landmarks, load_checkpoint, open_checkpoint, save_weights
from tfmodels.checkpoints.mapping import WeightRule
from tfmodels.layers.resizing import check_plain
from tfmodels.modeling.checkpoint_checks import check_size, stored_dtype, with_vocabulary_of
from tfmodels.modeling.config import ModelConfig
from tfmodels.modeling.training_state import (
    adapt,
    load_training_variables,
    restore_training_config,
    save_training_variables,
    take_training_config,
    training_config,
)
from tfmodels.utils.checks import check_positive
from tfmodels.utils.hub import fetch_beside, local_folder
from tfmodels.utils.plain_values import plain

STORED_DTYPES = ("float32", "bfloat16", "float16")
LORA_TARGETS = ("query", "value", "q", "v", "q_proj", "v_proj")


class Pretrained(keras.Model):
    """Base of every model and encoder.

    Subclasses set the class variables and `config`, and implement `weight_rows` and `landmarks`.

    Attributes:
        config_class: class of `config`.
        has_decoder: whether there is one.
        reference_name: the reference's name of the class, written into `config.json`.
        left_out: prefixes of the family's tensors that a file may hold and this class, but for its head, has no part
            for.
        may_lack: prefixes of tensors whose initial values are what a file means that does not hold them.
        token_tables: the reference's names of the table of token embeddings.
        head_prefixes: prefixes of the reference names of the head, which `new_head=True` starts anew.
        harmless_tensors: the reference's names of tensors of older versions, which it passes over, too.
        position_fields: fields of the config that `resize_position_embeddings` changes.
    """

    config_class: ClassVar[type[ModelConfig]]
    reference_name: ClassVar[str]
    left_out: ClassVar[tuple[str, ...]] = ()
    token_tables: ClassVar[tuple[str, ...]] = ()
    head_prefixes: ClassVar[tuple[str, ...]] = ()
    may_lack: ClassVar[tuple[str, ...]] = ()
    harmless_tensors: ClassVar[tuple[str, ...]] = ()
    position_fields: ClassVar[tuple[str, ...]] = ()
    has_decoder: ClassVar[bool] = True
    config: Any
    quantized_mode: str | None = None
    _owner: Any = None

    @classmethod
    def weight_rows(cls, config: Any) -> list[WeightRule]:
        """Where each of the reference's tensors lives."""
        raise NotImplementedError

    @staticmethod
    def landmarks(config: Any) -> Mapping[tuple[str, ...], tuple[int, ...]]:
        """Tensors by which a file is checked against its config before the model is made: their names and shapes."""
        raise NotImplementedError

    @classmethod
    def other_parts(cls) -> tuple[str, ...]:
        """Prefixes of the tensors that are of other classes of the family."""
        return tuple(prefix for prefix in cls.left_out if prefix not in cls.head_prefixes)

    @classmethod
    def check_head(cls, names: Sequence[str], source: str) -> None:
        """Raise `ValueError` where a file is plainly of a model with another head."""

    def owner(self) -> Any:
        """The model that this one is a part of, None where it stands by itself."""
        return None if self._owner is None else self._owner()

    def belong_to(self, model: Any) -> None:
        """Become a part of a model: what is changed here is changed there."""
        # Past Keras' tracking, which would take the model for a part of its part.
        self.__dict__["_owner"] = weakref.ref(model)

    def weights_root(self) -> Any:
        """The object from which the paths of `weight_rows` start."""
        return self

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | os.PathLike[str],
        dtype: Any = None,
        revision: str | None = None,
        ignore_tensors: Sequence[str] = (),
        new_head: bool = False,
        **overrides: Any,
    ) -> Self:
        """Load a checkpoint from a folder or from the Hugging Face hub (extra `hub`).

        Args:
            name_or_folder: a folder with `config.json` and weights, or a hub id.
            dtype: policy of the model, such as "mixed_bfloat16"; "auto": the type in which the file holds the weights;
                None: Keras' global policy. Weights are cast to it one at a time.
            revision: of the hub repository.
            ignore_tensors: names of tensors in the file that the model does not have; any other is an error.
            new_head: start this model's head anew, whatever head the file holds.
            **overrides: fields of the config. Other numbers of LED's positions repeat or cut those of the file.

        Raises:
            ValueError: a file that does not fit the model; every tensor is accounted for.

        Warns:
            UserWarning: the file holds another number of tokens than its config says (the file counts), or of positions
                than the overrides.
        """
        source = str(name_or_folder)
        folder = local_folder(name_or_folder, revision)
        positions = {name: overrides.pop(name) for name in cls.position_fields if name in overrides}
        config = cls.config_class.from_json(folder / "config.json").replace(**overrides)
        config.replace(**positions)  # checked before anything is read
        with open_checkpoint(folder) as reader:
            if "vocab_size" not in overrides:
                config = with_vocabulary_of(reader, config, cls.token_tables, source)
            check_landmarks(reader, cls.landmarks(config), source)
            check_size(reader, config, cls.has_decoder, source)
            if not new_head:
                cls.check_head(reader.names(), source)
            if dtype == "auto":
                dtype = stored_dtype(reader)
        unread = cls.head_prefixes if new_head else ()
        model = cls(config, dtype=dtype)
        load_checkpoint(
            model.weights_root(),
            [row for row in cls.weight_rows(config) if not f"{row.reference}.".startswith(unread)],
            folder,
            source,
            ignored=(*ignore_tensors, *cls.harmless_tensors),
            left_out=(*cls.other_parts(), *unread),
            optional=cls.may_lack,
            fetch=partial(fetch_beside, name_or_folder, folder),
        )
        model.read_settings(folder)
        model._ask_for_positions(positions, source)
        return model

    def _ask_for_positions(self, positions: Mapping[str, int], source: str) -> None:
        """Give a model that was just read the numbers of positions that were asked for, and say so."""
        changed = {name: count for name, count in positions.items() if count != getattr(self.config, name)}
        if changed:
            self.resize_position_embeddings(**changed)
            warnings.warn(
                f"{source} holds other numbers of positions than were asked for: the learnt ones are repeated or cut "
                f"(Beltagy et al. 2020, section 5). The model gets {changed}",
                stacklevel=3,
            )

    def read_settings(self, folder: Path) -> None:
        """Read what else a checkpoint's folder holds for this class."""

    def save_pretrained(
        self, folder: str | os.PathLike[str], max_shard_size: int | str = "5GB", dtype: str | None = None
    ) -> None:
        """Write `config.json` and the weights as safetensors, which transformers loads.

        Args:
            folder: made where it does not exist.
            max_shard_size: weights above this size are split over several files, with an index.
            dtype: cast the weights to "float32", "bfloat16" or "float16"; None: as they are.

        Raises:
            ValueError: the weights are quantized; a bad size or type.
        """
        if dtype not in (None, *STORED_DTYPES):
            raise ValueError(f"dtype must be None or one of {STORED_DTYPES}. Received: dtype={dtype!r}")
        for layer in sublayers(self):
            if getattr(layer, "quantization_mode", None):
                raise ValueError(
                    "save_pretrained writes plain weights; keep a quantized model with save('model.keras'). "
                    f"Received: layer {layer.path} in {layer.quantization_mode}"
                )
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        rows = type(self).weight_rows(self.config)
        save_weights(self.weights_root(), rows, target, max_shard_size=max_shard_size, dtype=dtype)
        self.write_settings(target)
        stored = dtype or self.dtype_policy.variable_dtype
        self.config.to_json(target / "config.json", architecture=self.reference_name, dtype=stored)

    def write_settings(self, folder: Path) -> None:
        """Write what else belongs into a checkpoint's folder for this class."""

    def get_input_embeddings(self) -> keras.layers.Layer:
        """The layer that looks up token embeddings."""
        return self.shared

    def get_output_embeddings(self) -> Any:
        """The layer that makes logits, None where there is none."""
        return None

    def set_input_embeddings(self, embeddings: Any) -> None:
        """Put another table (V, E) in the place of the token embeddings; `vocab_size` becomes its V.

        Args:
            embeddings: a built `Embedding` layer, or an array.

        Raises:
            ValueError: a table of another width.
        """
        if self.owner() is not None:
            self.owner().set_input_embeddings(embeddings)
            return
        table = np.asarray(getattr(embeddings, "embeddings", embeddings))
        if table.ndim != 2 or table.shape[1] != self.config.d_model:
            raise ValueError(
                f"embeddings must have shape (tokens, d_model={self.config.d_model}). Received: shape {table.shape}"
            )
        layer = self.get_input_embeddings()
        for part in (layer, self.get_output_embeddings()):  # both first, so that none is changed when one cannot be
            check_plain(part, "set_input_embeddings")
        replace_weight(layer, "embeddings", table.astype(layer.variable_dtype))
        layer.input_dim = len(table)
        self.resize_head(len(table))
        self._set_config(self.config.replace(vocab_size=len(table)))
        self.forget_compiled()

    def resize_head(self, vocab_size: int) -> None:
        """Give the head another number of tokens; models without one have nothing to do."""

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None
    ) -> keras.layers.Layer:
        """Add rows at the end of the token embeddings, or cut them there; the head follows. Compile again afterwards.

        New rows are drawn around the mean of the old ones with a small part of their spread, so that they start as
        likely as any token.

        Args:
            new_num_tokens: how many rows; None: as many as there are.
            pad_to_multiple_of: and more, up to a multiple of this.

        Returns:
            The layer of token embeddings.

        Raises:
            ValueError: not positive numbers.
        """
        rows = plain(self.config.vocab_size if new_num_tokens is None else new_num_tokens, "new_num_tokens")
        multiple = plain(1 if pad_to_multiple_of is None else pad_to_multiple_of, "pad_to_multiple_of")
        check_positive("new_num_tokens", rows)
        check_positive("pad_to_multiple_of", multiple)
        layer = self.get_input_embeddings()
        check_plain(layer, "resize_token_embeddings")
        self.set_input_embeddings(resized_rows(np.asarray(layer.embeddings), -(-rows // multiple) * multiple))
        return layer

    def resize_position_embeddings(self, **positions: int) -> None:
        """Give learnt positions other numbers: LED's alone."""
        raise ValueError(f"{type(self).__name__} must have learnt positions. Received: {sorted(positions)}")

    def _set_config(self, config: Any) -> None:
        self.config = config
        for layer in sublayers(self, include_self=False):
            if isinstance(getattr(layer, "config", None), ModelConfig):
                layer.config = config

    def gradient_checkpointing_enable(self) -> None:
        """Recompute each block in the backward pass instead of keeping its values: less memory, more time."""
        self._set_gradient_checkpointing(True)

    def gradient_checkpointing_disable(self) -> None:
        """Keep what each block computes until the backward pass."""
        self._set_gradient_checkpointing(False)

    def _set_gradient_checkpointing(self, value: bool) -> None:
        for layer in sublayers(self):
            if hasattr(layer, "gradient_checkpointing"):
                layer.gradient_checkpointing = value
        self.forget_compiled()

    def enable_lora(self, rank: int, targets: Sequence[str] = LORA_TARGETS) -> None:
        """Train low-rank updates of some projections and nothing else (Hu et al. 2021). Compile again afterwards.

        `save_pretrained` writes the sums, plain weights that any reader loads.

        Args:
            rank: of the updates.
            targets: names of the projections; by default the attentions' queries and values.

        Raises:
            ValueError: no projection of that name.
        """
        found = [layer for layer in sublayers(self) if layer.name in targets and hasattr(layer, "enable_lora")]
        if not found:
            raise ValueError(f"targets must name projections of the model. Received: targets={tuple(targets)}")
        for variable in self.trainable_variables:
            variable.trainable = False
        for layer in found:
            adapt(layer, rank)
        self.forget_compiled()

    def quantize(self, mode: Any = None, config: Any = None, filters: Any = None, **kwargs: Any) -> None:
        """Quantize the projections and embeddings, as `keras.Model.quantize`; for inference: `quantize("int8")`.

        Position biases stay as they are: a few hundred numbers that are added to float32 scores.
        """
        super().quantize(mode, config=config, filters=filters or _is_large, **kwargs)
        self.quantized_mode = None if filters else mode
        self.forget_compiled()

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the model, and the mode in which it is quantized."""
        is_quantized = any(getattr(layer, "quantization_mode", None) for layer in sublayers(self))
        if is_quantized and self.quantized_mode is None:
            raise ValueError(
                "a model that is saved must be quantized as a whole, by quantize(mode). "
                "Received: one that was quantized in part"
            )
        quantized = {"quantized_mode": self.quantized_mode} if is_quantized else {}
        return {**super().get_config(), "config": self.config.to_dict(), **quantized, **training_config(self)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """A model like the one that gave the config."""
        arguments = dict(config)
        mode, training = arguments.pop("quantized_mode", None), take_training_config(arguments)
        model = cls(**arguments)
        if mode is not None:  # the saved variables are those of quantized layers
            model.quantize(mode)
        restore_training_config(model, training)
        return model

    def save_own_variables(self, store: Any) -> None:
        """Write the model's own variables, and once for all its parts what Keras leaves out."""
        super().save_own_variables(store)
        if self.owner() is None:
            save_training_variables(self, store)

    def load_own_variables(self, store: Any) -> None:
        """Read what `save_own_variables` wrote, or what Keras' own wrote."""
        super().load_own_variables(load_training_variables(self, store) if self.owner() is None else store)

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """How many numbers the weights hold.

        Args:
            only_trainable: count those alone that are trained.
            exclude_embeddings: leave out the tables of tokens and positions.
        """
        skipped: set[int] = set()
        if exclude_embeddings:
            tables = [layer for layer in sublayers(self) if isinstance(layer, keras.layers.Embedding)]
            skipped = {id(weight) for layer in tables for weight in layer.weights}
        weights = self.trainable_weights if only_trainable else self.weights
        counted = [weight for weight in weights if id(weight) not in skipped and not _is_buffer(weight)]
        return sum(int(np.prod(weight.shape)) for weight in counted)

    def forget_compiled(self) -> None:
        """Drop the compiled functions, which know the model as it was; a running `fit` goes on with new ones."""
        if self.train_function is not None:
            self.make_train_function(force=True)
        if self.test_function is not None:
            self.make_test_function(force=True)
        if self.predict_function is not None:
            self.make_predict_function(force=True)
        if self.owner() is not None:
            self.owner().forget_compiled()


def resized_rows(table: np.ndarray, rows: int) -> np.ndarray:
    """The first `rows` rows of a table; new ones are drawn around the mean of the old.

    >>> resized_rows(np.ones((3, 2), "float32"), 4).shape
    (4, 2)
    """
    added = rows - len(table)
    if added <= 0:
        return table[:rows]
    whole: np.ndarray = table.astype("float32")
    generator = np.random.default_rng(len(table))
    noise = generator.normal(0, 1, (added, *table.shape[1:])).astype("float32")
    return np.concatenate([table, (whole.mean(axis=0) + 0.01 * whole.std(axis=0) * noise).astype(table.dtype)])


def _is_large(layer: Any) -> bool:
    is_matrix = isinstance(layer, (keras.layers.Dense, keras.layers.Embedding))
    return is_matrix and "relative_attention_bias" not in layer.path


def _is_buffer(weight: Any) -> bool:
    return "seed_generator" in weight.path or weight.name == "final_logits_bias"
