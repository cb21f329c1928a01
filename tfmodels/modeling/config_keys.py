"""Every key of a `config.json` that transformers 4.57 accepts for these models, and its treatment here.

A key is a field of the family's config, a second name of a field, a setting of generation, or an entry of the tables
below. Keys that transformers ignores as unknown are kept and written back.
"""

import json
from collections.abc import Mapping
from typing import Any

HARMLESS = frozenset(
    (
        # Descriptions of the checkpoint.
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
        # The dtype of the weights, which the file itself records.
        "dtype",
        "torch_dtype",
        # Transformers' implementation and return types.
        "attn_implementation",
        "chunk_size_feed_forward",
        "use_cache",
        "use_bfloat16",
        "torchscript",
        "return_dict",
    )
)
"""Keys without an effect on any number here."""

NOT_FOLLOWED: dict[str, tuple[tuple[Any, ...], str]] = {
    "is_encoder_decoder": ((True,), "the families are encoder-decoders, and are read as such"),
    "is_decoder": ((None, False), "a decoder by itself is not built: the encoder-decoder is read"),
    "add_cross_attention": ((None, False), "a decoder by itself is not built: the encoder-decoder is read"),
    "cross_attention_hidden_size": ((None,), "a decoder by itself is not built: the encoder-decoder is read"),
    "tie_encoder_decoder": (
        (None, False),
        "sharing the blocks is not built: encoder and decoder have separate weights, which diverge in training",
    ),
    "tf_legacy_loss": ((None, False), "the loss is the mean over all labels that are not -100"),
    "prefix": ((None, ""), "transformers' pipelines put it before every text: do so where texts are made"),
}
"""{key: (values without an effect, the remark on all further values)}."""

REFUSED = {
    "quantization_config": "weights of transformers' quantized checkpoints cannot be read: save them dequantized"
}
"""{key: the reason why a config with it is refused}."""

# The values that null stands for, as in transformers.
_NULLS = {
    "output_attentions": False,
    "output_hidden_states": False,
    "gradient_checkpointing": False,
    "tie_word_embeddings": False,
    "encoder_layerdrop": 0.0,
    "decoder_layerdrop": 0.0,
    "pruned_heads": {},
}
# Transformers' further names of activations.
SAME_ACTIVATIONS = {
    "swish": "silu",
    "gelu_python": "gelu",
    "gelu_accurate": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "gelu_python_tanh": "gelu_new",
}


def check_refused(values: Mapping[str, Any]) -> None:
    """Raise `ValueError` for a key in `REFUSED`: the weights of such a checkpoint cannot be read."""
    for key, reason in REFUSED.items():
        if values.get(key) is not None:
            raise ValueError(f"{key} must not be there: {reason}. Received: {key}={values[key]!r:.80}")


def remarks(values: Mapping[str, Any]) -> list[str]:
    """A remark on each key that is not followed.

    >>> remarks({"is_decoder": True, "tf_legacy_loss": False})
    ['is_decoder=True: a decoder by itself is not built: the encoder-decoder is read']
    """
    return [
        f"{key}={values[key]!r:.80}: {remark}"
        for key, (idle, remark) in NOT_FOLLOWED.items()
        if key in values and values[key] not in idle
    ]


def resolved(values: Mapping[str, Any], aliases: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """The keys under their first names, null replaced by the value it stands for, and remarks.

    If a field has a value under both names, the second name's value wins, as in transformers.

    >>> resolved({"hidden_size": 8, "d_model": 8, "output_attentions": None}, {"hidden_size": "d_model"})
    ({'d_model': 8, 'output_attentions': False}, [])
    """
    fields = {key: value for key, value in values.items() if key not in aliases}
    notes = []
    for alias, name in aliases.items():
        if alias in values:
            if fields.get(name, values[alias]) != values[alias]:
                notes.append(f"{name}={fields[name]!r:.80}: {alias}={values[alias]!r:.80} wins, as in transformers")
            fields[name] = values[alias]
    for key, value in _NULLS.items():
        if key in fields and fields[key] is None:
            fields[key] = value
    return fields, notes


def without_labels_that_differ(values: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The keys with consistent labels: names win over their number, as in transformers.

    Without `id2label` the names come from `label2id`.
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
    """The further keys that JSON can hold, and remarks: a NaN or an infinity can be read, but not written again."""
    kept, notes = {}, []
    for key, value in extra.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            notes.append(f"{key}={value!r:.80}: JSON has no such value, and the key is left out")
        else:
            kept[key] = value
    return kept, notes
