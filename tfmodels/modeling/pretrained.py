"""Base class of every model and encoder: loading, saving, Keras' files, and changes of a built model."""

import contextlib
import os
import warnings
import weakref
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import keras

from tfmodels.backend.exporting import export_arguments
from tfmodels.backend.initializers import filled_from_file
from tfmodels.backend.keras_internals import sublayers
from tfmodels.backend.shared_calls import calls_one_by_one
from tfmodels.checkpoints import check_landmarks, load_checkpoint, open_checkpoint, save_weights
from tfmodels.checkpoints.mapping import WeightMap
from tfmodels.modeling import adaptation
from tfmodels.modeling.checkpoint_checks import check_size, stored_dtype, with_vocabulary_of
from tfmodels.modeling.config import ModelConfig
from tfmodels.modeling.inputs import DECODER_INPUTS
from tfmodels.modeling.model_card import with_source, write_card
from tfmodels.modeling.training_state import (
    load_training_variables,
    restore_training_config,
    save_training_variables,
    take_training_config,
    training_config,
)
from tfmodels.utils.hub import fetch_beside, local_folder
from tfmodels.utils.hub_upload import checked_repo_id, upload

STORED_DTYPES = ("float32", "bfloat16", "float16")
# What `save_pretrained` calls weights, in one file or in several.
WEIGHT_FILES = ("model.safetensors", "model-*.safetensors", "model.safetensors.index.json")


class PretrainedModel(keras.Model):
    """Base class of every model and encoder.

    Subclasses set `config_class` and `config`, and implement `weight_map`.

    Attributes:
        config_class: class of `config`.
        reference_name: transformers' name of the class, written into `config.json`; None: the name of this class.
        pipeline_tag: the hub's name of the task.
    """

    config_class: ClassVar[type[ModelConfig]]
    reference_name: ClassVar[str | None] = None
    pipeline_tag: ClassVar[str] = "feature-extraction"
    config: Any
    quantized_mode: str | None = None
    _owner: Any = None

    @classmethod
    def weight_map(cls, config: Any) -> WeightMap:
        """The map from the tensors of a checkpoint to this class's weights."""
        raise NotImplementedError

    @classmethod
    def check_head(cls, weight_map: WeightMap, names: Sequence[str], source: str) -> None:
        """Raise `ValueError` for a file without the class's head."""
        prefixes = weight_map.head_prefixes
        if prefixes and not any(name.startswith(prefixes) for name in names):
            head = " or ".join(prefix.rstrip(".") for prefix in prefixes)
            raise ValueError(f"{source} must hold the head {head}. Received: none; new_head=True starts one to train")

    @classmethod
    def position_fields(cls) -> tuple[str, ...]:
        """The config fields that `resize_position_embeddings` changes."""
        return ()

    def owner(self) -> Any:
        """The model that contains this one, or None."""
        return None if self._owner is None else self._owner()

    def belong_to(self, model: Any) -> None:
        """Make `model` the owner: changes of this part are made through it."""
        # Past Keras' tracking, to which the model would be a sublayer of its own sublayer.
        self.__dict__["_owner"] = weakref.ref(model)

    def weights_root(self) -> Any:
        """The object at which the paths of weight rules start."""
        return self

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | os.PathLike[str],
        dtype: str | keras.DTypePolicy | None = None,
        revision: str | None = None,
        ignore_tensors: Sequence[str] = (),
        new_head: bool = False,
        **overrides: Any,
    ) -> Self:
        """Load a checkpoint from a folder or from the Hugging Face hub (extra `hub`).

        Args:
            name_or_folder: a folder with `config.json` and weights, or a hub id, also as "hf://OWNER/NAME@REVISION".
            dtype: policy of the model, such as "mixed_bfloat16"; "auto": the dtype of the file's weights; None: Keras'
                global policy. Weights are cast to it one at a time.
            revision: branch, tag or commit of the hub repository.
            ignore_tensors: names of unknown tensors in the file to ignore; further ones are an error.
            new_head: initialize this model's head, and ignore the file's.
            **overrides: config fields. A new number of learned positions repeats or cuts the file's positions.

        Raises:
            ValueError: a file that does not fit the model; every tensor is accounted for.

        Warns:
            UserWarning: a number of tokens in the file that differs from its config (the file counts), or a number of
                positions that differs from the overrides.
        """
        source = str(name_or_folder)
        folder = local_folder(name_or_folder, revision)
        positions = {name: overrides.pop(name) for name in cls.position_fields() if name in overrides}
        config = with_source(cls.config_class.from_json(folder / "config.json"), name_or_folder).replace(**overrides)
        config.replace(**positions)  # checked before anything is read
        with open_checkpoint(folder) as reader:
            if "vocab_size" not in overrides:
                names = cls.weight_map(config).token_embedding_names
                config = with_vocabulary_of(reader, config, names, source)
            weight_map = cls.weight_map(config)
            check_landmarks(reader, weight_map.required_shapes, source)
            check_size(reader, weight_map.min_parameters, source)
            if not new_head:
                cls.check_head(weight_map, reader.names(), source)
            if dtype == "auto":
                dtype = stored_dtype(reader)
        # A new head is the one part that no file fills; what a file may omit is zero at first anyway.
        with contextlib.nullcontext() if new_head else filled_from_file():
            model = cls(config, dtype=dtype)
        weight_map = weight_map.without_head() if new_head else weight_map
        load_checkpoint(
            model.weights_root(),
            weight_map.rules,
            folder,
            source,
            ignored=(*ignore_tensors, *weight_map.ignored_names),
            left_out=weight_map.unused_prefixes,
            optional=weight_map.optional_prefixes,
            fetch=partial(fetch_beside, name_or_folder, folder),
        )
        model.read_settings(folder)
        model._resize_to(positions, source)
        return model

    def _resize_to(self, positions: Mapping[str, int], source: str) -> None:
        """Resize the positions of a loaded model, with a warning."""
        changed = {name: count for name, count in positions.items() if count != getattr(self.config, name)}
        if changed:
            self.resize_position_embeddings(**changed)
            warnings.warn(
                f"{source} holds other numbers of positions than requested: the learned ones are repeated or cut "
                f"(Beltagy et al. 2020, section 5). The model gets {changed}",
                stacklevel=3,
            )

    def read_settings(self, folder: Path) -> None:
        """Read this class's further files from a checkpoint's folder."""

    def save_pretrained(
        self,
        folder: str | os.PathLike[str],
        max_shard_size: int | str = "5GB",
        dtype: str | None = None,
        card: Mapping[str, Any] | None = None,
    ) -> None:
        """Write `config.json` and the weights as safetensors, which transformers loads, and a model card.

        Args:
            folder: the folder to write to, created if missing.
            max_shard_size: weights above this size are split over several files, with an index.
            dtype: cast the weights to "float32", "bfloat16" or "float16"; None: no cast.
            card: fields of the card's front matter, such as {"license": "apache-2.0", "language": "en",
                "datasets": ["me/reports"], "metrics": {"rouge1": 33.2}}. A card that is there already stays as it is.

        Raises:
            ValueError: quantized weights, or a bad size, dtype or card.
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
        write_card(self, target, card=card)
        rules = self.weight_map(self.config).rules
        save_weights(self.weights_root(), rules, target, max_shard_size=max_shard_size, dtype=dtype)
        self.write_settings(target)
        stored = dtype or self.dtype_policy.variable_dtype
        self.config.to_json(
            target / "config.json", architecture=self.reference_name or type(self).__name__, dtype=stored
        )

    def push_to_hub(
        self,
        repo_id: str,
        tokenizer: Any = None,
        private: bool | None = None,
        commit_message: str = "Upload model",
        token: str | bool | None = None,
        revision: str | None = None,
        **saving: Any,
    ) -> str:
        """Upload what `save_pretrained` writes, in one commit: all files or none (extra `hub`).

        Args:
            repo_id: "OWNER/NAME", created when missing. A model card in the repository stays as it is.
            tokenizer: the tokenizer to upload with it, or None.
            private: whether a new repository is private; None: the account's default.
            commit_message: the commit's title.
            token: a token of the hub; None: that of the machine.
            revision: the branch; None: "main".
            **saving: `max_shard_size`, `dtype` and `card` of `save_pretrained`.

        Returns:
            The address of the commit.
        """

        def write(folder: Path) -> None:
            write_card(self, folder, checked_repo_id(repo_id), saving.get("card"))
            self.save_pretrained(folder, **saving)
            if tokenizer is not None:
                tokenizer.save_pretrained(folder)

        former = [*WEIGHT_FILES, *(() if tokenizer is None else (*tokenizer.file_names, *tokenizer.further_file_names))]
        return upload(repo_id, write, former, private, commit_message, token, revision)

    def write_settings(self, folder: Path) -> None:
        """Write this class's further files into a checkpoint's folder."""

    @property
    def exported_inputs(self) -> tuple[str, ...]:
        """The inputs of the call that `export` writes, each int32 (B, length)."""
        raise NotImplementedError

    def export(
        self,
        filepath: str | os.PathLike[str],
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: Any = None,
        **kwargs: Any,
    ) -> None:
        """Export the call, as in Keras; no call need come before.

        `export.export_saved_model` writes a model that serves text: tokenizer, search and several lengths.

        Args:
            filepath: the folder to write.
            format: "tf_saved_model", or another of Keras' formats; for ONNX see `export.export_onnx`.
            verbose: as in Keras.
            input_signature: a list with a dict of the call's inputs by name, `keras.InputSpec`s; None: int32 ids and
                masks of any number of rows and tokens, with `decoder_input_ids` where the caller must give them.
            **kwargs: as in Keras.
        """
        tokens = {name: "target" if name in DECODER_INPUTS else "source" for name in self.exported_inputs}
        with calls_one_by_one():
            super().export(filepath, format, verbose, **{**export_arguments(tokens, format, input_signature), **kwargs})

    def get_input_embeddings(self) -> keras.layers.Layer:
        """The layer that looks up token embeddings."""
        return self.shared

    def get_output_embeddings(self) -> Any:
        """The layer that computes logits, or None."""
        return None

    def set_input_embeddings(self, embeddings: Any) -> None:
        """Replace the table of token embeddings (V, E); `vocab_size` becomes its V.

        Args:
            embeddings: a built `Embedding` layer, or an array.

        Raises:
            ValueError: a table of the wrong width.
        """
        adaptation.set_input_embeddings(self.owner() or self, embeddings)

    def resize_head(self, vocab_size: int) -> None:
        """Resize the head to `vocab_size` tokens; without a language-model head, do nothing."""

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None
    ) -> keras.layers.Layer:
        """Add or cut rows at the end of the token embeddings; the head follows. Compile again afterwards.

        New rows are drawn around the mean of the old ones with a small part of their spread, so that their initial
        probability is that of an average token.

        Args:
            new_num_tokens: the number of rows; None: the current number.
            pad_to_multiple_of: round the number of rows up to a multiple of this.

        Returns:
            The layer of token embeddings.

        Raises:
            ValueError: a number below 1.
        """
        return adaptation.resize_token_embeddings(self, new_num_tokens, pad_to_multiple_of)

    def resize_position_embeddings(self, **positions: int) -> None:
        """Resize the learned positions; `ValueError` for families without."""
        raise ValueError(f"{type(self).__name__} must have learnt positions. Received: {sorted(positions)}")

    def set_config(self, config: ModelConfig) -> None:
        """Replace the config of the model and of its sublayers."""
        self.config = config
        for layer in sublayers(self, include_self=False):
            if isinstance(getattr(layer, "config", None), ModelConfig):
                layer.config = config

    def gradient_checkpointing_enable(self) -> None:
        """Recompute each block in the backward pass in place of keeping its values: less memory, more time."""
        self._set_gradient_checkpointing(True)

    def gradient_checkpointing_disable(self) -> None:
        """Keep the values of each block until the backward pass."""
        self._set_gradient_checkpointing(False)

    def _set_gradient_checkpointing(self, value: bool) -> None:
        for layer in sublayers(self):
            if hasattr(layer, "gradient_checkpointing"):
                layer.gradient_checkpointing = value
        self.forget_compiled()

    def enable_lora(self, rank: int, targets: Sequence[str] = adaptation.LORA_TARGETS) -> None:
        """Train low-rank updates of some projections alone (Hu et al. 2021). Compile again afterwards.

        `save_pretrained` writes the sums of kernels and updates: plain weights.

        Args:
            rank: rank of the updates.
            targets: names of the projections; by default the attentions' queries and values.

        Raises:
            ValueError: targets that name no projection.
        """
        adaptation.enable_lora(self, rank, targets)

    def quantize(self, mode: Any = None, config: Any = None, filters: Any = None, **kwargs: Any) -> None:
        """Quantize the projections and embeddings, as `keras.Model.quantize` with the same arguments; for inference.

        The usual call is `quantize("int8")`.

        Position biases are unchanged: they are a few hundred numbers, added to float32 scores.
        """
        super().quantize(mode, config=config, filters=filters or adaptation.is_large, **kwargs)
        self.quantized_mode = None if filters else mode
        self.forget_compiled()

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the model, with its quantization mode and state of training.

        Raises:
            ValueError: a model that is quantized in part.
        """
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
        """Create a model from the result of `get_config`."""
        arguments = dict(config)
        mode, training = arguments.pop("quantized_mode", None), take_training_config(arguments)
        model = cls(**arguments)
        if mode is not None:  # the saved variables belong to quantized layers
            model.quantize(mode)
        restore_training_config(model, training)
        return model

    def save_own_variables(self, store: Any) -> None:
        """Write the model's own variables, and for all its sublayers the variables that Keras omits."""
        super().save_own_variables(store)
        if self.owner() is None:
            save_training_variables(self, store)

    def load_own_variables(self, store: Any) -> None:
        """Read the variables that `save_own_variables` wrote, here or in Keras."""
        super().load_own_variables(load_training_variables(self, store) if self.owner() is None else store)

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """The count of numbers in the weights.

        Args:
            only_trainable: count trainable weights alone.
            exclude_embeddings: exclude the tables of tokens and positions.
        """
        return adaptation.num_parameters(self, only_trainable, exclude_embeddings)

    def forget_compiled(self) -> None:
        """Drop the compiled functions, stale after a change of the model; a running `fit` continues with new ones."""
        if self.train_function is not None:
            self.make_train_function(force=True)
        if self.test_function is not None:
            self.make_test_function(force=True)
        if self.predict_function is not None:
            self.make_predict_function(force=True)
        if self.owner() is not None:
            self.owner().forget_compiled()
