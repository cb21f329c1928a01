"""Write a model's graphs into a folder, in optimum's layout."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from export.to_onnx.conversion import onnx_model
from export.to_onnx.generation import PARTS_OF_MERGED
from export.to_onnx.graph import Graph, MergedGraphs
from export.to_onnx.graphs import graphs_of
from export.to_onnx.merging import Branch, merged_model
from export.to_onnx.proof import differences, session
from tfmodels.backend.keras_internals import sublayers
from tfmodels.modeling.seq2seq import Seq2SeqModel
from tfmodels.utils.checks import check_positive
from tfmodels.utils.files import written_whole

# Protocol buffers end at 2 GB; larger weights go to a file beside the graph.
MOST_BYTES = 1_500_000_000
# Without a whole block of LongT5's 16 tokens, with two and one token more, and with several blocks of queries.
LENGTHS = (1, 33, 600)


def export_onnx(
    model: Seq2SeqModel,
    folder: str | os.PathLike[str],
    tokenizer: Any = None,
    graphs: Sequence[str] | None = None,
    lengths: Sequence[int] | None = None,
    first_is_global: bool = False,
) -> dict[str, dict[int, float]]:
    """Write the graphs of a model for ONNX Runtime: ids and masks in, hidden states or logits out (extra `onnx`).

    Each graph holds every number of documents and tokens, up to the model's positions. Before the folder gets its name,
    each graph has run in ONNX Runtime and was compared with the model.

    Args:
        model: a float32 model, with a head or without.
        folder: a new folder. It gets, as optimum names them, `encoder_model.onnx` ("encode"), `model.onnx` ("classify",
            "answer"), `decoder_model_merged.onnx` ("decode_merged"), and `config.json`, settings of generation and the
            tokenizer's files.
        tokenizer: the model's tokenizer; None: no files of it.
        graphs: names of graphs; None: all of the head. "decode" (`decoder_model.onnx`) and "decode_with_past"
            (`decoder_with_past_model.onnx`), the parts of "decode_merged", are made where they are named.
        lengths: lengths in tokens at which graphs and model are compared; None: a few up to 600.
        first_is_global: make graphs without `global_attention_mask`, in which each document's first token is global:
            programs that know ids and masks alone, such as optimum's, can then run an LED.

    Returns:
        The largest difference by graph and length, at most 1e-4.

    Raises:
        ValueError: a bad argument, a model of another precision, or a graph whose numbers differ.
        OSError: the folder exists.
        ImportError: the extra `onnx` is missing.
    """
    _check_model(model)
    _check_packages()
    chosen = _chosen(graphs_of(model, first_is_global), graphs)
    lengths = _lengths(model, lengths)
    target = Path(folder)
    if target.exists():
        raise FileExistsError(f"folder must not exist. Received: folder={os.fspath(target)}")
    target.parent.mkdir(parents=True, exist_ok=True)
    found = {}
    with written_whole(target) as partial:
        partial.mkdir()
        for name, graph in chosen.items():
            found[name] = _write(graph, model, partial / graph.file, lengths)
        model.config.to_json(
            partial / "config.json", architecture=model.reference_name or type(model).__name__, dtype="float32"
        )
        model.write_settings(partial)
        if tokenizer is not None:
            tokenizer.save_pretrained(partial)
    return found


def _write(graph: Graph | MergedGraphs, model: Seq2SeqModel, path: Path, lengths: Sequence[int]) -> dict[int, float]:
    """Write a graph, and return its largest difference from the model by length."""
    if not isinstance(graph, MergedGraphs):
        _save(onnx_model(graph, model.variables), path)
        return differences(graph, session(path), lengths)
    _save(merged_model(graph, model.variables), path)
    running = session(path)
    first = differences(graph.first, Branch(running, graph, has_past=False), lengths)
    later = differences(graph.later, Branch(running, graph, has_past=True), lengths)
    return {length: max(first[length], later[length]) for length in lengths}


def _save(model: Any, path: Path) -> None:
    """Write a graph, with large weights in one file beside it, and check it."""
    import onnx

    is_large = sum(len(weight.raw_data) for weight in model.graph.initializer) > MOST_BYTES
    onnx.save_model(model, path, save_as_external_data=is_large, location=f"{path.name}_data")
    onnx.checker.check_model(path, full_check=True)


def _check_model(model: Any) -> None:
    if not isinstance(model, Seq2SeqModel):
        raise ValueError(f"model must be an encoder-decoder, with a head or without. Received: {type(model).__name__}")
    policy = model.dtype_policy
    if {policy.compute_dtype, policy.variable_dtype} != {"float32"}:
        raise ValueError(f"model must be a float32 model: from_pretrained(..., dtype='float32'). Received: {policy}")
    quantized = [layer.path for layer in sublayers(model) if getattr(layer, "quantization_mode", None)]
    if quantized:
        raise ValueError(f"model must not be quantized. Received: {quantized[0]} and {len(quantized) - 1} others")


def _check_packages() -> None:
    missing = [name for name in ("onnx", "onnxruntime", "tf2onnx") if find_spec(name) is None]
    if missing:
        raise ImportError(f"export_onnx needs {', '.join(missing)}: install tfmodels[onnx]")


def _chosen(graphs: dict[str, Graph | MergedGraphs], names: Sequence[str] | None) -> dict[str, Graph | MergedGraphs]:
    if names is None:
        return {name: graph for name, graph in graphs.items() if name not in PARTS_OF_MERGED}
    unknown = sorted(set(names) - set(graphs))
    if isinstance(names, str) or unknown or not names:
        raise ValueError(f"graphs must be some of {tuple(graphs)}. Received: graphs={names!r}")
    return {name: graph for name, graph in graphs.items() if name in names}


def _lengths(model: Any, lengths: Sequence[int] | None) -> tuple[int, ...]:
    """The lengths, at most the model's positions."""
    limit = longest(model)
    if lengths is None:
        return tuple(length for length in LENGTHS if limit is None or length <= limit)
    for length in lengths:
        check_positive("lengths", length)
        if limit is not None and length > limit:
            raise ValueError(f"lengths must be at most {limit}, the model's positions. Received: {tuple(lengths)}")
    if not lengths:
        raise ValueError("lengths must hold at least one length. Received: lengths=()")
    return tuple(lengths)


def longest(model: Any) -> int | None:
    """The most tokens that every graph of a model takes, or None without a limit."""
    names = ["max_encoder_position_embeddings"]
    names += ["max_decoder_position_embeddings"] if model.decoder_reads_source else []
    limits = [limit for name in names if (limit := getattr(model.config, name, None)) is not None]
    return min(limits, default=None)
