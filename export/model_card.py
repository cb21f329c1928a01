"""The README of an exported version: inputs, outputs, and a request to copy."""

import shlex
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from export.client.strict_json import dumped, finite
from export.manifest import Manifest
from tfmodels.utils.front_matter import front_matter

FILE_NAME = "README.md"

_MEANINGS = {
    "text": "the answer",
    "question": "the question, UTF-8",
    "max_new_tokens": "the longest answer in tokens, one number for each text",
    "num_return_sequences": "how many answers, one number for each text",
    "input_ids": "ids of the tokenizer, padded with anything",
    "attention_mask": "1 on tokens, 0 on padding",
    "global_attention_mask": "1 on tokens that attend to all, such as the first",
    "score": "log-probability over length, or the probability of an answer's span",
    "scores": "log-probability over length",
    "truncated": "whether the document was longer than the longest length and was cut",
    "sequences": "ids of the summary",
    "last_hidden_state": "the encoder's states",
    "label": "name of the most probable class",
    "probabilities": "of the classes, in the order of the labels",
    "values": "the numbers",
    "logits": "of the classes, in the order of the labels",
    "start": "first token of the answer among the ids, -1 where there is none",
    "end": "its last token",
    "start_logits": "of each token being the answer's first",
    "end_logits": "of each token being the answer's last",
}


def model_card(manifest: Manifest, name: str, example: tuple[Mapping[str, Any], Mapping[str, Any]]) -> str:
    """The card in Markdown.

    Args:
        manifest: the version's manifest.
        name: the model's name on a server.
        example: a request to `serving_default` and its answer, in JSON's types.
    """
    request, answer = (dumped(finite(values), ensure_ascii=False) for values in example)
    return f"""{_front_matter(manifest)}
# {name}: {manifest.model}

Documents of up to {max(manifest.lengths):,} tokens; longer ones are cut, and the answer says so. {_lengths(manifest)}
Documents in a request: {_documents(manifest)}. {_weights(manifest)}

## Ask it
```sh
python -m export ask --server HOST:8500 --name {shlex.quote(name)} "text"
curl http://HOST:8501/v1/models/{quote(name, safe="")}:predict -d '{{"inputs": {_shell(request)}}}'
```

`{_cut(request)}` was answered with `{_cut(answer)}`.

## Signatures
{"".join(_signature(*item) for item in manifest.signatures.items())}
## Server
TensorFlow Serving {manifest.minimum_server_version} or newer knows its ops{_text_ops(manifest)}.
An older one loads it when it knows all that `manifest.json` lists.
`tf_serving_warmup_requests` has a request for each signature and length, which the server runs before it serves.
`python -m export check FOLDER{" --xla" * manifest.jit_compile}` loads this folder in a process of its own and holds it
to their answers.

## Settings
```json
{dumped(manifest.settings, indent=2, sort_keys=True)}
```
"""


def _front_matter(manifest: Manifest) -> str:
    """What the manifest tells of the fields that model hubs read."""
    fields = {
        "license": manifest.license and manifest.license.lower(),
        "library_name": "tfmodels",
        "pipeline_tag": manifest.task,
        "tags": [manifest.architecture, "tensorflow", "saved-model", "long-document"],
    }
    return front_matter(fields)


def _lengths(manifest: Manifest) -> str:
    lengths = ", ".join(f"{length:,}" for length in manifest.lengths)
    if manifest.batching is not None:
        return (
            f"Each runs at the\nsmallest of the lengths {lengths} that holds it, and shares batches with others of its "
            "length,\nfrom whichever requests they come."
        )
    return (
        f"A request runs at the\nsmallest of the lengths {lengths} that holds its longest document, so send documents "
        "of like length together."
    )


def _documents(manifest: Manifest) -> str:
    if manifest.batching is not None:
        return "as many as a queue holds"
    return "any number" if manifest.batch_sizes is None else f"at most {max(manifest.batch_sizes)}"


def _weights(manifest: Manifest) -> str:
    size, dtype = manifest.weights["bytes"] / 1e6, manifest.weights["dtype"] or "as trained"
    return f"Weights: {size:,.1f} MB, {dtype}.{_flags(manifest)}"


def _flags(manifest: Manifest) -> str:
    if not manifest.server_flags:
        return ""
    return f" The server must be started with {' '.join(f'`{flag}`' for flag in manifest.server_flags)}."


def _signature(name: str, described: Mapping[str, Mapping[str, str]]) -> str:
    lines = [f"\n### {name}\n| | name | type | |\n| --- | --- | --- | --- |\n"]
    for side, label in (("inputs", "in"), ("outputs", "out")):
        for key, kind in described[side].items():
            meaning = "the document, UTF-8" if (side, key) == ("inputs", "text") else _MEANINGS.get(key, "")
            lines.append(f"| {label} | `{key}` | {kind} | {meaning} |\n")
    return "".join(lines)


def _text_ops(manifest: Manifest) -> str:
    if not manifest.text_ops:
        return ""
    return f"; besides TensorFlow's own ops it needs {', '.join(f'`{op}`' for op in manifest.text_ops)}"


def _shell(text: str) -> str:
    return _cut(text).replace("'", "'\\''")


def _cut(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:300]} ..."
