"""Every key of a `config.json` that transformers 4.57 accepts for LED and LongT5, and what becomes of it here.

A key is a field of the family's config, another name of one, a setting of generation, or stands in one of the tables
below. Keys that transformers does not know, and so ignores, are kept and written back.
"""

import json
from collections.abc import Mapping
from typing import Any

HARMLESS = frozenset(
    (
        # What describes the checkpoint.
        "architectures",
        "model_type",
        "name_or_path",
        "_name_or_path",
        "_commit_hash",
        "transformers_version",
        "finetuning_task",
        "tokenizer_class",
        "task_specific_params",  # of transformers' pipelines; its `generate` does not read them
        "bos_token_id",
        "sep_token_id",
        # The type of the weights, which the file itself tells.
        "dtype",
        "torch_dtype",
        # How transformers computes, and in what it wraps what it returns.
        "attn_implementation",
        "chunk_size_feed_forward",
        "use_cache",
        "use_bfloat16",
        "torchscript",
        "return_dict",
    )
)
"""Keys that change no number here, whatever they hold."""

NOT_FOLLOWED: dict[str, tuple[tuple[Any, ...], str]] = {
    "is_encoder_decoder": ((True,), "the families are encoder-decoders, and are read as such"),
    "is_decoder": ((None, False), "a decoder by itself is not built: the encoder-decoder is read"),
    "add_cross_attention": ((None, False), "a decoder by itself is not built: the encoder-decoder is read"),
    "cross_attention_hidden_size": ((None,), "a decoder by itself is not built: the encoder-decoder is read"),
    "tie_encoder_decoder": (
        (None, False),
        "sharing the blocks is not built: encoder and decoder have weights of their own, which training tells apart",
    ),
    "tf_legacy_loss": ((None, False), "the loss is the mean over all labels that are not -100"),
    "prefix": ((None, ""), "transformers' pipelines put it before every text: do so where texts are made"),
}
"""By key, the values at which nothing is to be followed, and what to know about all others."""

REFUSED = {
    "quantization_config": "weights of transformers' quantized checkpoints cannot be read: save them dequantized"
}
"""By key, why a config that has it is refused."""

# Null where transformers, too, takes it for this value.
_NULLS = {
    "output_attentions": False,
    "output_hidden_states": False,
    "gradient_checkpointing": False,
    "tie_word_embeddings": False,
    "encoder_layerdrop": 0.0,
    "decoder_layerdrop": 0.0,
    "pruned_heads": {},
}
# transformers' further names of functions.
SAME_ACTIVATIONS = {
    "swish": "silu",
    "gelu_python": "gelu",
    "gelu_accurate": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "gelu_python_tanh": "gelu_new",
}


def check_refused(values: Mapping[str, Any]) -> None:
    """Raise `ValueError` for a key that says the weights cannot be read."""
    for key, reason in REFUSED.items():
        if values.get(key) is not None:
            raise ValueError(f"{key} must not be there: {reason}. Received: {key}={values[key]!r:.80}")


def remarks(values: Mapping[str, Any]) -> list[str]:
    """What to know about the keys that are not followed.

    >>> remarks({"is_decoder": True, "tf_legacy_loss": False})
    ['is_decoder=True: a decoder by itself is not built: the encoder-decoder is read']
    """
    return [
        f"{key}={values[key]!r:.80}: {told}"
        for key, (idle, told) in NOT_FOLLOWED.items()
        if key in values and values[key] not in idle
    ]


def resolved(values: Mapping[str, Any], aliases: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """The keys under their first names, null where it stands for something as that, and remarks.

    Of a field that stands there under both names, transformers takes the other name's value, and so does this.

    >>> resolved({"hidden_size": 8, "d_model": 8, "output_attentions": None}, {"hidden_size": "d_model"})
    ({'d_model': 8, 'output_attentions': False}, [])
    """
    found = {key: value for key, value in values.items() if key not in aliases}
    told = []
    for alias, name in aliases.items():
        if alias in values:
            if found.get(name, values[alias]) != values[alias]:
                told.append(f"{name}={found[name]!r:.80}: {alias}={values[alias]!r:.80} wins, as in transformers")
            found[name] = values[alias]
    for key, value in _NULLS.items():
        if key in found and found[key] is None:
            found[key] = value
    return found, told


def without_labels_that_differ(values: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The keys with one account of the labels: names win over their number, as in transformers.

    Names that only `label2id` gives are taken from there.
    """
    names, number, ids = (values.get(key) for key in ("id2label", "num_labels", "label2id"))
    if isinstance(names, Mapping) and number is not None and number != len(names):
        values = {key: value for key, value in values.items() if key != "num_labels"}
        return values, [f"num_labels={number!r:.80}: id2label names {len(names)} labels, and wins"]
    is_order = isinstance(ids, Mapping) and sorted(map(repr, ids.values())) == sorted(map(repr, range(len(ids))))
    if names is None and is_order and ids and number in (None, len(ids)):
        return {**values, "id2label": {index: name for name, index in ids.items()}}, []
    return values, []


def without_bare_numbers(extra: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What JSON can hold of further keys: a NaN or an infinity could be read and not written again."""
    kept, told = {}, []
    for key, value in extra.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            told.append(f"{key}={value!r:.80}: JSON has no such value, and the key is left out")
        else:
            kept[key] = value
    return kept, told
