"""The graphs of each head."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from export.programs import Tensors, class_logits, hidden_states, span_logits
from export.to_onnx.generation import decoder_graphs
from export.to_onnx.graph import Axes, Graph, MergedGraphs
from tfmodels.modeling.heads import Seq2SeqForQuestionAnswering, Seq2SeqForSequenceClassification
from tfmodels.modeling.language_model import Seq2SeqLM

GLOBAL_MASK = "global_attention_mask"
_ROW: Axes = ("batch", "sequence")


def graphs_of(model: Any, first_is_global: bool = False) -> dict[str, Graph | MergedGraphs]:
    """The graphs of a model by name: "encode", and of the head "classify", "answer", or those of `decoder_graphs`.

    Args:
        model: a `Seq2SeqModel`.
        first_is_global: take no `global_attention_mask`; each document's first token is global.

    Raises:
        ValueError: `first_is_global` of a family without global tokens.
    """
    config, names = model.config, model.encoder_inputs
    if first_is_global and GLOBAL_MASK not in names:
        raise ValueError(f"first_is_global needs a model with global tokens. Received: {type(model).__name__}")
    names = tuple(name for name in names if not (first_is_global and name == GLOBAL_MASK))
    example = partial(example_inputs, model, names)

    def graph(file: str, function: Callable[..., Tensors], outputs: dict[str, Axes]) -> Graph:
        run = partial(_with_first_global, function) if first_is_global else function
        return Graph(file, partial(run, model), dict.fromkeys(names, _ROW), outputs, example)

    graphs: dict[str, Graph | MergedGraphs] = {
        "encode": graph("encoder_model.onnx", hidden_states, {"last_hidden_state": (*_ROW, config.d_model)})
    }
    if isinstance(model, Seq2SeqForSequenceClassification):
        graphs["classify"] = graph("model.onnx", class_logits, {"logits": ("batch", config.num_labels)})
    if isinstance(model, Seq2SeqForQuestionAnswering):
        graphs["answer"] = graph("model.onnx", span_logits, dict.fromkeys(("start_logits", "end_logits"), _ROW))
    return {**graphs, **decoder_graphs(model)} if isinstance(model, Seq2SeqLM) else graphs


def _with_first_global(function: Callable[..., Tensors], model: Any, inputs: Mapping[str, tf.Tensor]) -> Tensors:
    """A function's outputs with one global token, the first."""
    rows, tokens = tf.unstack(tf.shape(inputs["input_ids"]))
    is_first = tf.cast(tf.range(tokens) == 0, tf.int32)
    return function(model, {**inputs, GLOBAL_MASK: tf.tile(is_first[None], [rows, 1])})


def example_inputs(model: Any, names: Sequence[str], length: int, seed: int = 0) -> dict[str, np.ndarray]:
    """The named ids and masks, int64 (2, length): one row is padded, the first and a later token are global."""
    config, generator = model.config, np.random.default_rng(seed)
    lengths = np.array([length, max(1, length * 2 // 3)])
    mask = (np.arange(length)[None] < lengths[:, None]).astype("int64")
    ids = generator.integers(0, config.vocab_size, mask.shape)
    ids = np.where(mask == 1, ids, config.pad_token_id)
    ids[[0, 1], lengths - 1] = config.eos_token_id  # of which a classifier reads the state
    inputs = {"input_ids": ids, "attention_mask": mask, GLOBAL_MASK: np.zeros_like(mask)}
    inputs[GLOBAL_MASK][:, [0, min(lengths) // 2]] = 1
    return {name: inputs[name] for name in names}
