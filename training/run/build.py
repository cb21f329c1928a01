"""The model and the tokenizer of a run: created, loaded or continued, and compiled."""

import dataclasses
import heapq
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras

from tfmodels.auto import classes_of
from tfmodels.backend.keras_internals import loss_tracker, set_loss_tracker
from tfmodels.modeling.language_model import Seq2SeqLM
from tfmodels.modeling.objective import LabelMean
from training.config import Config, known
from training.data.plan import splitmix64
from training.defaults import ModelSource
from training.presets import PRESETS
from training.run.optimizers import NO_DECAY, make_optimizer

# A vocabulary is trained on summaries, whose words the model must write, and on the heads of some documents.
_VOCABULARY_DOCUMENTS = 4000
_VOCABULARY_SUMMARIES = 50_000
_VOCABULARY_CHARACTERS = 600


class LastLoss(LabelMean):
    """The loss of the last batch alone: from Keras' running mean a step's own loss can only be recovered roughly."""

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Replace the value."""
        self.reset_state()
        super().update_state(values, sample_weight)


def vocabulary_texts(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """The texts that a small model's vocabulary is trained on, a sample of whatever size the data has.

    >>> vocabulary_texts([("a long document", "short")])
    ['short', 'a long document']
    """
    summaries: list[tuple[int, str]] = []
    documents: list[tuple[int, str]] = []
    for number, (document, summary) in enumerate(rows):
        key = -int(splitmix64(number))
        for heap, text, most in (
            (summaries, summary, _VOCABULARY_SUMMARIES),
            (documents, document[:_VOCABULARY_CHARACTERS], _VOCABULARY_DOCUMENTS),
        ):
            entry = (key, text)
            if len(heap) < most:
                heapq.heappush(heap, entry)
            elif entry > heap[0]:
                heapq.heapreplace(heap, entry)
    return [text for _, text in sorted(summaries, reverse=True)] + [text for _, text in sorted(documents, reverse=True)]


def create_model(config: Config, source: ModelSource, tokenizer: Any) -> Any:
    """A model with its first weights: of a checkpoint, or drawn from the seed.

    Raises:
        ValueError: a checkpoint that generates no text.
    """
    keras.utils.set_random_seed(config.seed)
    if source.folder is None:
        preset = PRESETS[source.name]
        rate = config.weights.dropout
        overrides = {} if rate is None else _dropout(preset.family.config, rate)
        return preset.create_model(tokenizer, config.weights.precision, **overrides)
    return load_model(source.folder, config)


def load_model(folder: Path, config: Config) -> Any:
    """The model of a checkpoint's folder.

    Raises:
        ValueError: a checkpoint that generates no text.
    """
    model_class, _ = classes_of(folder)
    if not issubclass(model_class, Seq2SeqLM):
        raise ValueError(f"model must be one that generates text. Received: {folder}, a {model_class.__name__}")
    overrides = {}
    if config.weights.dropout is not None:
        overrides = _dropout(model_class.config_class, config.weights.dropout)
    return model_class.from_pretrained(folder, dtype=config.weights.precision, **overrides)


def _dropout(config_class: Any, rate: float) -> dict[str, float]:
    """The config field of a family's dropout."""
    names = [field.name for field in dataclasses.fields(config_class)]
    return {name: rate for name in ("dropout", "dropout_rate") if name in names}


def prepare_model(model: Any, config: Config) -> None:
    """Freeze, adapt and compile a model, and create the optimizer's variables.

    Raises:
        ValueError: a pattern of frozen weights that matches none.
    """
    weights, optim = config.weights, config.optim
    length = known(config.lengths.target)
    shortest = min(model.generation_config.min_length or 0, length)
    settings = {"max_new_tokens": length, "min_length": shortest, **config.generation}
    model.generation_config = model.generation_config.replace(**settings)
    if weights.lora_rank is not None:
        model.enable_lora(weights.lora_rank)
    freeze(model, weights.frozen)
    model.label_smoothing = optim.smoothing
    if weights.remat:
        model.gradient_checkpointing_enable()
    optimizer = make_optimizer(
        known(optim.name),
        weight_decay=known(optim.weight_decay),
        clip_norm=optim.clip or None,
        accumulate=known(optim.accumulate),
        no_decay=(*NO_DECAY, *optim.no_decay),
        learning_rate=known(optim.learning_rate),
    )
    model.compile(optimizer=optimizer, jit_compile=weights.jit)
    if not isinstance(loss_tracker(model), LastLoss):
        set_loss_tracker(model, LastLoss(name="loss"))
    model.optimizer.build(model.trainable_variables)


def freeze(model: Any, patterns: Iterable[str]) -> None:
    """Make the weights whose path matches a pattern untrainable.

    Raises:
        ValueError: a pattern that matches no weight, or patterns that leave none to train.
    """
    for pattern in patterns:
        matching = [weight for weight in model.weights if re.search(pattern, weight.path)]
        if not matching:
            some = ", ".join(weight.path for weight in model.weights[:3])
            raise ValueError(f"weights.frozen must match paths of weights, such as {some}. Received: {pattern!r}")
        for weight in matching:
            weight.trainable = False
    if not model.trainable_variables:
        raise ValueError("weights.frozen must leave weights to train. Received: patterns that match all")


def guarded(model: Any) -> Any:
    """The optimizer that measures gradients, inside of a loss scale if there is one."""
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder with a `config.json`."""
    return classes_of(folder)[1].from_pretrained(folder)
