"""The graphs of each head."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from export.programs import Tensors, class_logits, hidden_states, span_logits
from export.to_onnx.generation import decoder_graphs
from export.to_onnx.graph import Axes, Graph
from tfmodels.modeling.heads import Seq2SeqForQuestionAnswering, Seq2SeqForSequenceClassification
from tfmodels.modeling.language_model import Seq2SeqLM

_ROW: Axes = ("batch", "sequence")


def graphs_of(model: Any) -> dict[str, Graph]:
    """The graphs of a model by name: "encode", and of the head "classify", "answer", or "decode", "decode_with_past".

    Args:
        model: a `Seq2SeqModel`.
    """
    config = model.config
    inputs: dict[str, Axes] = dict.fromkeys(model.encoder_inputs, _ROW)

    def graph(file: str, function: Callable[..., Tensors], outputs: dict[str, Axes]) -> Graph:
        return Graph(file, partial(function, model), inputs, outputs, partial(example_inputs, model))

    graphs = {"encode": graph("encoder_model.onnx", hidden_states, {"last_hidden_state": (*_ROW, config.d_model)})}
    if isinstance(model, Seq2SeqForSequenceClassification):
        graphs["classify"] = graph("model.onnx", class_logits, {"logits": ("batch", config.num_labels)})
    if isinstance(model, Seq2SeqForQuestionAnswering):
        graphs["answer"] = graph("model.onnx", span_logits, dict.fromkeys(("start_logits", "end_logits"), _ROW))
    return {**graphs, **decoder_graphs(model)} if isinstance(model, Seq2SeqLM) else graphs


def example_inputs(model: Any, length: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Two rows of ids and masks, int64 (2, length), one of them padded; the first and a later token are global."""
    config, generator = model.config, np.random.default_rng(seed)
    lengths = np.array([length, max(1, length * 2 // 3)])
    mask = (np.arange(length)[None] < lengths[:, None]).astype("int64")
    ids = generator.integers(0, config.vocab_size, mask.shape)
    ids = np.where(mask == 1, ids, config.pad_token_id)
    ids[[0, 1], lengths - 1] = config.eos_token_id  # of which a classifier reads the state
    inputs = {"input_ids": ids, "attention_mask": mask, "global_attention_mask": np.zeros_like(mask)}
    inputs["global_attention_mask"][:, [0, min(lengths) // 2]] = 1
    return {name: inputs[name] for name in model.encoder_inputs}
