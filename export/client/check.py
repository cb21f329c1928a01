"""Compare a SavedModel with its description: `python -m export check DIR`.

Files, graph and signature are verified first, and nothing is loaded if they are wrong. Then, in a process without keras
and tfmodels, as on a server: signatures against the manifest, ops against TensorFlow's, and
the warm-up requests against the kept answers, with the time of each.
"""

import argparse
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from export.client.manifest_file import read_manifest
from export.client.saved_model_client import import_server_libraries, load_saved_model
from export.client.untrusted import printable
from export.client.verification import Trust, add_trust_arguments, trust_of
from export.client.version_folders import latest_version

# Machines add in different orders; ids and texts stay the same.
_TOLERANCE = 1e-3


def main(arguments: list[str]) -> int:
    """Run the program; return 0 if all is right, else 1."""
    parser = argparse.ArgumentParser(
        "python -m export check", description="Load a SavedModel alone and hold it to its manifest and answers."
    )
    parser.add_argument("directory", metavar="DIR", help="a version's folder, or the folder of its versions")
    parser.add_argument("--xla", action="store_true", help="the server will have its flag for XLA")
    add_trust_arguments(parser)
    options = parser.parse_args(arguments)
    folder = latest_version(options.directory)
    import_server_libraries()
    failures = check(folder, trust_of(options), options.xla)
    for failure in failures:
        print(f"WRONG: {printable(failure)}")
    print(f"{folder}: {f'{len(failures)} wrong' if failures else 'as exported'}")
    return 1 if failures else 0


def check(folder: Path, trust: Trust | None = None, xla: bool = False) -> list[str]:
    """Return the failures of a version, and print its ops and times.

    Args:
        folder: the version's folder.
        trust: what it must prove before it is loaded.
        xla: whether the server compiles under XLA.

    Raises:
        ValueError: no SavedModel or no manifest in the folder, or one that is not as it was written or signed.
    """
    from export.client.graphs import foreign_ops, op_names

    manifest = read_manifest(folder)
    loaded = load_saved_model(folder, trust)
    ops = op_names(loaded.signatures)
    print(f"ops besides TensorFlow's own: {', '.join(foreign_ops(ops)) or 'none'}")
    return [
        *_wrong_signatures(loaded.signatures, manifest["signatures"]),
        *_wrong_ops(ops, manifest),
        *_needs_xla(loaded.signatures, manifest, xla),
        *_wrong_answers(folder, loaded.signatures),
    ]


def _wrong_signatures(signatures: Mapping[str, Any], described: Mapping[str, Any]) -> Iterator[str]:
    from export.client.graphs import describe_signatures

    loaded = describe_signatures(signatures)
    for name in sorted(set(described) | set(loaded)):
        if name not in loaded or name not in described:
            where = "the manifest" if name in described else "the SavedModel"
            yield f"signature {name} is only in {where}"
            continue
        for side, fields in loaded[name].items():
            if fields != dict(described[name][side]):
                yield f"{side} of {name} must be {dict(described[name][side])}. They are {fields}"


def _wrong_ops(ops: tuple[str, ...], manifest: Mapping[str, Any]) -> Iterator[str]:
    from export.client.graphs import foreign_ops

    unknown = [op for op in foreign_ops(ops) if not op.startswith("TFText>")]
    if unknown:
        yield f"ops must be those of TensorFlow and tensorflow-text. There is {', '.join(unknown)}"
    # Loading adds calls of functions and takes unused ops away.
    new = set(ops) - set(manifest["ops"]) - {"PartitionedCall", "StatefulPartitionedCall"}
    if new:
        yield f"ops must be those of the manifest. There is {', '.join(sorted(new))}"


def _needs_xla(signatures: Mapping[str, Any], manifest: Mapping[str, Any], xla: bool) -> Iterator[str]:
    from export.client.graphs import must_compile

    if not must_compile(signatures):
        return
    if not manifest.get("jit_compile"):
        yield "functions must not be marked for XLA alone, which the manifest does not say. There is one"
    elif not xla:
        flags = " ".join(manifest.get("server_flags", ()))
        yield f"the server must compile under XLA: start it with {flags}, and check with --xla"


def _wrong_answers(folder: Path, signatures: Mapping[str, Any]) -> Iterator[str]:
    from export.client.warmup import MOST, PATH, read_warm_ups

    count = 0
    try:
        for count, warm_up in enumerate(read_warm_ups(folder), start=1):
            if count > MOST:
                yield f"{PATH} must hold at most {MOST:,} requests, as many as a server takes. It holds more"
                return
            yield from _wrong_answer(f"{warm_up.signature} (request {count})", warm_up, signatures)
    except ValueError as error:
        yield str(error)
    if not count:
        print(f"no warm-up requests: no {PATH} there")


def _wrong_answer(name: str, warm_up: Any, signatures: Mapping[str, Any]) -> Iterator[str]:
    """How the answer to one request differs from the kept one."""
    import tensorflow as tf

    if warm_up.signature not in signatures:
        yield f"{name} must be for a signature of the model. There is no such signature"
        return
    wanted = signatures[warm_up.signature].structured_input_signature[1]
    if set(warm_up.request) != set(wanted):
        yield f"{name} must have the inputs {', '.join(sorted(wanted))}. It has {', '.join(sorted(warm_up.request))}"
        return
    try:
        answer, first, second = _answer(signatures[warm_up.signature], warm_up.request)
    except tf.errors.OpError as error:
        yield f"{name} must be answered. It failed: {error.message:.300}"
        return
    except (ValueError, TypeError) as error:
        yield f"{name} must have inputs of the signature's types. It failed: {error!s:.300}"
        return
    rows = len(next(iter(warm_up.request.values())))
    tokens = "" if "input_ids" not in warm_up.request else f", {warm_up.request['input_ids'].shape[1]} tokens"
    size = "" if "text" not in warm_up.request else f", {sum(map(len, warm_up.request['text'][:1])):,} bytes of text"
    print(f"{warm_up.signature}, {rows} documents{tokens}{size}: {first:.3f} s, then {second:.3f} s")
    for key, expected in warm_up.answer.items():
        if not _is_same(answer.get(key), expected):
            yield f"{key} of {name} must be {expected!r:.200}. It is {answer.get(key)!r:.200}"


def _answer(signature: Any, request: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], float, float]:
    """The answer, and the seconds of a first and of a second request."""
    import tensorflow as tf

    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        inputs = {
            name: tf.constant(value, signature.structured_input_signature[1][name].dtype)
            for name, value in request.items()
        }
        answer = {name: value.numpy() for name, value in signature(**inputs).items()}
        seconds.append(time.perf_counter() - start)
    return answer, seconds[0], seconds[1]


def _is_same(output: np.ndarray | None, expected: np.ndarray) -> bool:
    if output is None or output.shape != expected.shape:
        return False
    if output.dtype.kind == "f":
        return bool(np.allclose(output, expected, rtol=_TOLERANCE, atol=_TOLERANCE))
    return bool((output == expected).all())
