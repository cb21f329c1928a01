"""Write a model and its tokenizer as one SavedModel."""

import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tensorflow as tf

from export.manifest import Manifest, describe_signatures, op_names
from export.signatures import SummarizationSignatures
from tfmodels import GenerationConfig
from tfmodels.files import written_whole
from tfmodels.language_model import Seq2SeqLM
from tfmodels.layers.checks import check_positive

_LIBRARIES = ("tensorflow", "tensorflow-text", "keras")


def export_saved_model(
    model: Seq2SeqLM,
    tokenizer: Any,
    path: str | os.PathLike[str],
    lengths: Sequence[int] = (1024,),
    generation_config: GenerationConfig | None = None,
    jit_compile: bool = False,
) -> Path:
    """Write a SavedModel that turns text into text, for TensorFlow Serving and `tf.saved_model.load`.

    The graph holds one branch per length and takes the smallest that holds the batch: a short document never pays for a
    long one. Signatures: `serving_default` (text), `generate` and `encode` (ids); see `SummarizationSignatures`.

    Args:
        model: an `LEDForConditionalGeneration` or `LongT5ForConditionalGeneration`.
        tokenizer: its tokenizer.
        path: the version's folder, such as "served/led/1". Its name must be a number (what TensorFlow Serving looks
            for), and it must not exist. It is written beside and renamed: a server never sees half a model.
        lengths: source lengths in tokens.
        generation_config: settings; None: the model's.
        jit_compile: compile the model's part under XLA; stock TensorFlow Serving refuses such graphs.

    Returns:
        The version's folder.

    Raises:
        ValueError: a bad length, a tokenizer with more ids than the model, or several sequences per document.
        FileExistsError: the folder exists.
    """
    target = Path(path)
    settings = generation_config or model.generation_config
    lengths = _check(model, tokenizer, target, lengths, settings)
    signatures = SummarizationSignatures(model, tokenizer, lengths, settings, jit_compile)
    functions = signatures.functions()
    manifest = Manifest(
        model=type(model).__name__,
        lengths=lengths,
        settings=settings.to_dict(),
        signatures=describe_signatures(functions),
        versions={name: version(name) for name in _LIBRARIES},
        ops=op_names(functions),
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(target) as partial:
        # A server never differentiates: without this the attention's own gradient would be traced and saved as well.
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(signatures, str(partial), signatures=functions, options=options)
        manifest.write(partial)
    return target


def _check(
    model: Seq2SeqLM, tokenizer: Any, target: Path, lengths: Sequence[int], settings: GenerationConfig
) -> tuple[int, ...]:
    if not target.name.isdigit():
        raise ValueError(f"path must end in a version number, as in 'served/led/1'. Received: path={os.fspath(target)}")
    if target.exists():
        raise FileExistsError(f"path must not exist. Received: path={os.fspath(target)}")
    if not lengths:
        raise ValueError("lengths must hold at least one length. Received: lengths=()")
    limit = getattr(model.config, "max_encoder_position_embeddings", None)
    for length in lengths:
        check_positive("lengths", length)
        if length < 2:
            raise ValueError(f"lengths must be at least 2. Received: lengths={tuple(lengths)}")
        if limit is not None and length > limit:
            raise ValueError(
                f"lengths must be at most max_encoder_position_embeddings={limit}. Received: lengths={tuple(lengths)}"
            )
    if tokenizer.vocab_size > model.config.vocab_size:
        raise ValueError(
            f"tokenizer must have at most vocab_size={model.config.vocab_size} ids, as the model has. "
            f"Received: {tokenizer.vocab_size} ids"
        )
    if settings.num_return_sequences != 1:
        raise ValueError(
            "generation_config must ask for one sequence per document. "
            f"Received: num_return_sequences={settings.num_return_sequences}"
        )
    return tuple(sorted(set(lengths)))
