"""Write a model and its tokenizer as one SavedModel."""

import dataclasses
import os
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tensorflow as tf

from export.bill_of_materials import FILE_NAME as BILL
from export.bill_of_materials import bill_of_materials
from export.client.graph_file import wrong_graph
from export.client.graphs import describe_signatures, foreign_ops, input_specs, op_names
from export.client.integrity import digest
from export.client.version_folders import is_version
from export.client.warmup import MOST, prediction_log, write_warm_ups
from export.compute_dtype import ComputeDtype, computing_in
from export.manifest import Manifest
from export.model_card import FILE_NAME as CARD
from export.model_card import model_card
from export.restoring_only import remove_saving
from export.sample_requests import sample_requests, with_answers
from export.server_settings import FILE_NAME as BATCHING
from export.server_settings import batching_params, server_flags
from export.signatures import Batching, ExportSettings, Signatures, signatures_for
from export.stored_weights import WeightsDtype
from export.versions import check_is_new, new_version
from tfmodels import GenerationConfig
from tfmodels.modeling.seq2seq import Seq2SeqModel
from tfmodels.utils.checks import check_positive
from tfmodels.utils.files import write_json
from tfmodels.utils.plain_values import plain

_LIBRARIES = ("tensorflow", "tensorflow-text", "keras")
# Of TensorFlow, by `make compatibility`.
_OLDEST_TRIED = "2.18"
_EXAMPLE = "The report was long, and nobody had the time to read it."


def export_saved_model(
    model: Seq2SeqModel,
    tokenizer: Any,
    path: str | os.PathLike[str],
    lengths: Sequence[int] = (1024,),
    batch_sizes: Sequence[int] | None = None,
    generation_config: GenerationConfig | Mapping[str, Any] | None = None,
    signatures: Sequence[str] | None = None,
    jit_compile: bool = False,
    weights_dtype: WeightsDtype = None,
    warm_up: bool = True,
    keep: int | None = None,
    license: str | None = None,
    batching: Batching | None = None,
    compute_dtype: ComputeDtype = None,
    **head_settings: Any,
) -> Path:
    """Write a SavedModel that turns text into text, for TensorFlow Serving and `tf.saved_model.load`.

    The graph holds one branch per length and takes the smallest that holds the batch: a short document never pays for a
    long one. Beside the graph and the weights the folder holds `manifest.json`, a model card (`README.md`) and warm-up
    requests with their answers.

    Args:
        model: a model with a head: for conditional generation, sequence classification or question answering.
        tokenizer: its tokenizer.
        path: the version's folder, a new number such as "served/summaries/1"; a server never sees half of it.
        lengths: source lengths in tokens.
        batch_sizes: requests are filled up to the next of these sizes, which XLA compiles once each; None: any number.
        generation_config: settings of a language model's head, see `GenerationConfig.of`; None: the model's settings.
        signatures: names of signatures; None: all signatures of the head, see `export.signatures`.
        jit_compile: compile the model's part under XLA; a server needs the manifest's `server_flags` then.
        weights_dtype: None, "bfloat16" or "int8", the stored type of matrices, see `StoredWeights`.
        compute_dtype: None, the model's own, or "bfloat16", for CPUs with products in 16 bits, see `computing_in`.
        warm_up: write warm-up requests, for which each program is run once; needs tensorflow-serving-api.
        keep: remove all older versions but this many; None: remove none.
        batching: let documents of like length share batches in the graph; None: the server may batch requests.
        license: of the weights, such as "apache-2.0", for the manifest and the bill of materials.
        **head_settings: `max_answer_length` in tokens, of question answering.

    Returns:
        the version's folder.

    Raises:
        ValueError: a bad argument, or a tokenizer with more ids than the model.
        OSError: the folder exists, or another export is writing beside it.
        ImportError: a warm-up without tensorflow-serving-api.
    """
    target, signatures_class = Path(path), signatures_for(model)
    export_settings = _settings(lengths, batch_sizes, jit_compile, weights_dtype, batching, compute_dtype)
    names = _checked_names(signatures_class, signatures)
    _check(model, tokenizer, target, export_settings.lengths, keep)
    if warm_up:
        _check_warm_ups(export_settings, names)
    head_settings |= {} if generation_config is None else {"generation_config": generation_config}
    settings = signatures_class.checked_settings(head_settings)
    module = signatures_class(computing_in(model, compute_dtype), tokenizer, export_settings, **settings)
    with new_version(target, keep) as folder:
        _write(folder, target, module, names, tokenizer if warm_up else None, license)
    return target


def _write(
    folder: Path, target: Path, module: Signatures, names: Sequence[str], tokenizer: Any, license: str | None
) -> None:
    """Write a version into a folder, with warm-up requests if there is a tokenizer to make them."""
    functions = module.functions(names)
    # A server never differentiates: without this the attention's own gradient would be traced and saved as well.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, str(folder), signatures=functions, options=options)
    remove_saving(folder)
    unusual = wrong_graph(folder)
    if unusual:
        warnings.warn(f"clients will refuse this export but for --allow-ops: {'; '.join(unusual)}", stacklevel=3)
    manifest = dataclasses.replace(_manifest(module, functions, int(target.name)), license=license)
    name = target.parent.resolve().name
    (folder / CARD).write_text(model_card(manifest, name, _example(functions)), encoding="utf-8")
    if tokenizer is not None:
        requests = sample_requests(functions, tokenizer, module.export_settings)
        write_warm_ups(folder, name, with_answers(functions, requests, module.is_random))
    if manifest.batching is None:
        (folder / BATCHING).write_text(batching_params(manifest.batch_sizes), encoding="utf-8")
    manifest = manifest.with_files(folder)
    write_json(folder / BILL, bill_of_materials(manifest, name))
    # Last: it has the hashes of all others.
    dataclasses.replace(manifest, files={**manifest.files, BILL: digest(folder / BILL)}).write(folder)


def _manifest(module: Signatures, functions: Mapping[str, Any], number: int) -> Manifest:
    settings, ops = module.export_settings, op_names(functions)
    return Manifest(
        version=number,
        model=type(module.model).__name__,
        architecture=module.model.config.model_type,
        task=module.model.pipeline_tag,
        lengths=settings.lengths,
        batch_sizes=settings.batch_sizes,
        settings=module.head_settings,
        signatures=describe_signatures(functions),
        weights={
            "dtype": settings.weights_dtype or settings.compute_dtype,
            "bytes": module.weights.bytes,
            "compute_dtype": settings.compute_dtype,
        },
        jit_compile=settings.jit_compile,
        server_flags=server_flags(settings.jit_compile),
        batching=None if settings.batching is None else dataclasses.asdict(settings.batching),
        versions={name: version(name) for name in _LIBRARIES},
        minimum_server_version=_minimum_server_version(settings),
        ops=ops,
        text_ops=foreign_ops(ops),
    )


def _minimum_server_version(settings: ExportSettings) -> str:
    """The oldest release that gave the recorded answers; the exporting one for settings that were not tried there."""
    untried = (settings.jit_compile, settings.batching, settings.weights_dtype, settings.compute_dtype)
    is_tried = not any(untried)
    return _OLDEST_TRIED if is_tried else ".".join(tf.__version__.split(".")[:2])


def _example(functions: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A request to `serving_default` and its answer, in JSON's types."""
    serve = functions["serving_default"]
    request = {name: [_EXAMPLE] for name in input_specs(serve)}
    answer = serve(**{name: tf.constant(values) for name, values in request.items()})
    return request, {name: _as_json(value.numpy().tolist()) for name, value in answer.items()}


def _as_json(values: Any) -> Any:
    if isinstance(values, list):
        return [_as_json(value) for value in values]
    if isinstance(values, bytes):
        return values.decode("utf-8")
    return round(values, 4) if isinstance(values, float) else values


def _checked_names(signatures: type[Signatures], names: Sequence[str] | None) -> tuple[str, ...]:
    if names is None:
        return signatures.names()
    unknown = sorted(set(names) - set(signatures.names()))
    if isinstance(names, str) or unknown or "serving_default" not in names:
        raise ValueError(
            f"signatures must be some of {signatures.names()}, serving_default among them. "
            f"Received: signatures={names!r}"
        )
    return tuple(names)


def _settings(
    lengths: Sequence[int],
    batch_sizes: Sequence[int] | None,
    jit_compile: bool,
    weights_dtype: Any,
    batching: Any,
    compute_dtype: Any,
) -> ExportSettings:
    if not isinstance(batching, Batching | None):
        raise ValueError(f"batching must be None or a Batching. Received: batching={batching!r}")
    sizes = None if batch_sizes is None else _checked_sizes("batch_sizes", batch_sizes, least=1)
    lengths = _checked_sizes("lengths", lengths, least=2)
    return ExportSettings(lengths, sizes, jit_compile, weights_dtype, batching, compute_dtype)


def _checked_sizes(name: str, sizes: Sequence[int], least: int) -> tuple[int, ...]:
    """The sizes, ascending, each once."""
    sizes = plain(sizes)
    if not sizes:
        raise ValueError(f"{name} must hold at least one size. Received: {name}={sizes!r}")
    for size in sizes:
        check_positive(name, size)
        if size < least:
            raise ValueError(f"{name} must be at least {least}. Received: {name}={tuple(sizes)}")
    return tuple(sorted(set(sizes)))


def _check_warm_ups(settings: ExportSettings, names: Sequence[str]) -> None:
    """Before the work, not after it: can requests be written, and will a server take them."""
    prediction_log()
    count = len(settings.lengths) * len(settings.batch_sizes or (1,)) * len(names)
    if count > MOST:
        raise ValueError(
            f"lengths, batch_sizes and signatures must make at most {MOST:,} warm-up requests, as many as a server "
            f"takes; warm_up=False and --no-warm-up write none. Received: {count:,}"
        )


def _check(model: Seq2SeqModel, tokenizer: Any, target: Path, lengths: tuple[int, ...], keep: int | None) -> None:
    if not is_version(target.name):
        raise ValueError(
            f"path must end in a version number, as in 'served/summaries/1'. Received: path={os.fspath(target)}"
        )
    check_is_new(target)
    limit = getattr(model.config, "max_encoder_position_embeddings", None)
    if limit is not None and lengths[-1] > limit:
        raise ValueError(f"lengths must be at most max_encoder_position_embeddings={limit}. Received: {lengths=}")
    if model.decoder_reads_source:
        model.check_target_length("lengths, which the decoder reads too,", lengths[-1])
    if tokenizer.vocab_size > model.config.vocab_size:
        raise ValueError(
            f"tokenizer must have at most vocab_size={model.config.vocab_size} ids, as the model has. "
            f"Received: {tokenizer.vocab_size} ids"
        )
    if keep is not None and (isinstance(keep, bool) or not isinstance(keep, int) or keep < 0):
        raise ValueError(f"keep must be a number of versions, 0 or more. Received: keep={keep!r}")
