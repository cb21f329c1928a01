"""`python -m export bulk`: answers to a file of documents, in shards, over every core or a Ray cluster.

python -m export bulk served/summaries --input documents.jsonl --output summaries.jsonl --field text=article
python -m export bulk served/summaries --input documents.jsonl --output summaries.jsonl --signature summarize \
    --set max_new_tokens=64 --set num_return_sequences=1 --batch-size 4 --workers 8 --address auto

The input is JSON lines (.jsonl), the same compressed (.jsonl.gz), or CSV with a header (.csv), in UTF-8; empty lines
are no rows. A row of the output is the input's row without its documents, plus `answer_line`, the number of its line,
and one field per output of the signature: `answer_text`, `answer_score`, ..., null for NaN and infinities. Rows
keep their order. Rows that cannot be asked about go to OUTPUT.bad.jsonl, with line, reason and the number of further
lines lost with them. Until all is done, finished shards are in the folder OUTPUT.shards (with the rows of a
compressed input): the same command goes on where a killed one stopped. On a cluster, `tfmodels[bulk]` must be installed
on every node, and DIR, the input and the output must be in a folder that all nodes share.
"""

import argparse
import contextlib
import dataclasses
import hashlib
import json
import logging
import math
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from export.client.arguments import count
from export.client.ask import constant
from export.client.bulk_rows import Shard, file_digest, find_shards, unpacked, written_whole
from export.client.bulk_worker import BulkSettings, BulkWorker, shard_file
from export.client.manifest_file import FILE_NAME as MANIFEST
from export.client.reading import check_file
from export.client.strict_json import dumped
from export.client.verification import add_trust_arguments, trust_of
from export.client.version_folders import latest_version

_SETTINGS = "settings.json"
# Restarts of a worker that dies, for instance with its machine.
_RESTARTS = 3


def main(arguments: list[str]) -> int:
    """Run the program; return its exit status.

    Args:
        arguments: the command line's arguments behind `bulk`.

    Raises:
        ValueError: a bad option, a model that does not fit it, or a run that was begun with other settings.
        OSError: a file that cannot be read or written, an output that exists, or a worker that failed.
        ImportError: ray is not installed.
    """
    options = _parser().parse_args(arguments)
    if not options.input.is_file():
        raise FileNotFoundError(f"input must be a file of JSON lines or CSV. Received: input={options.input}")
    check_file(options.input)
    if options.output.exists():
        raise FileExistsError(f"output must not exist. Received: output={options.output}")
    if bad_file(options.output).exists() and not shard_folder(options.output).exists():
        raise FileExistsError(f"the file of bad rows must not exist. Received: {bad_file(options.output)}")
    named = [name for name, _ in (*options.field, *options.set)]
    for name in named:
        if named.count(name) > 1:
            raise ValueError(
                f"--field and --set must name an input at most once. Received: {name} {named.count(name)} times"
            )
    settings = BulkSettings(
        model=latest_version(options.directory).resolve(),
        input=options.input.resolve(),
        signature=options.signature,
        fields=dict(options.field),
        constants=dict(options.set),
        batch_size=options.batch_size,
        shard_rows=options.shard_rows,
        max_bytes=options.max_bytes,
        prefix=options.prefix,
        trust=trust_of(options),
    )
    run(settings, options.output, options.workers, options.address)
    return 0


def run(settings: BulkSettings, output: Path, workers: int | None = None, address: str | None = None) -> None:
    """Answer every row of a file.

    Args:
        settings: the run's settings.
        output: the file to write, whole or not at all, and beside it the file of bad rows.
        workers: processes, each with its own model; None: one per machine.
        address: a Ray cluster's address; None: RAY_ADDRESS, or else this machine alone.

    Raises:
        ValueError: settings that do not fit the model or a begun run.
        OSError: a file that cannot be written, or a worker that failed.
        ImportError: ray is not installed.
    """
    folder = shard_folder(output)
    is_new = _begin(folder, _identity(settings, file_digest(settings.input)))
    try:
        settings = dataclasses.replace(settings, input=unpacked(settings.input, folder))
        shards = find_shards(settings.input, settings.shard_rows, settings.max_bytes)
    except BaseException:
        if is_new:
            shutil.rmtree(folder)
        raise
    missing = [shard for shard in shards if not shard_file(folder, shard).is_file()]
    if missing:
        if len(missing) < len(shards):
            print(f"going on: {len(shards) - len(missing)} of {len(shards)} shards are done", file=sys.stderr)
        with _ray(address) as ray:
            _answer(ray, settings, folder, missing, workers)
    bad = bad_file(output)
    # Both in the folder first: a run that is killed there can go on, and a run with an output is complete.
    bad_rows = _join([shard_file(folder, shard, "bad") for shard in shards], folder / "bad")
    rows = _join([shard_file(folder, shard) for shard in shards], folder / "rows")
    os.replace(folder / "bad", bad)
    os.replace(folder / "rows", output)
    shutil.rmtree(folder)
    print(f"wrote {output}: {rows} rows" + (f"; {bad_rows} bad rows: {bad}" if bad_rows else ""))


def shard_folder(output: Path) -> Path:
    """The folder of finished shards until all are done."""
    return output.with_name(f"{output.name}.shards").resolve()


def bad_file(output: Path) -> Path:
    """The file of rows that cannot be asked about.

    >>> bad_file(Path("summaries.jsonl")).name
    'summaries.jsonl.bad.jsonl'
    """
    return output.with_name(f"{output.name}.bad.jsonl")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m export bulk", description="Answers to a file of documents; killed, it goes on where it stopped."
    )
    parser.add_argument("directory", metavar="DIR", help="a SavedModel, or the folder of its versions")
    parser.add_argument("--input", type=Path, required=True, help=".jsonl, .jsonl.gz or .csv: a document each")
    parser.add_argument("--output", type=Path, required=True, help="JSON lines; must not exist")
    parser.add_argument("--signature", default="serving_default", help="default: serving_default")
    parser.add_argument(
        "--field", type=_field, action="append", default=[], metavar="INPUT=FIELD", help="default: of the same name"
    )
    parser.add_argument(
        "--set", type=constant, action="append", default=[], metavar="INPUT=NUMBER", help="the same for every row"
    )
    parser.add_argument("--prefix", default="answer_", help="of the answers' fields (default: answer_)")
    parser.add_argument("--batch-size", type=count, default=8, help="documents that are answered at once")
    parser.add_argument("--shard-rows", type=count, default=1000, help="rows that are lost at most when killed")
    parser.add_argument("--max-bytes", type=count, default=10_000_000, help="of a row; longer ones are bad")
    parser.add_argument("--workers", type=count, help="processes with a model each (default: one per machine)")
    parser.add_argument("--address", help="of a Ray cluster, or auto (default: RAY_ADDRESS, else this machine)")
    add_trust_arguments(parser)
    return parser


def _field(text: str) -> tuple[str, str]:
    name, equals, field = text.partition("=")
    if not (name and equals and field):
        raise argparse.ArgumentTypeError(f"must be INPUT=FIELD. Received: {text!r}")
    return name, field


def _identity(settings: BulkSettings, digest: str) -> dict[str, Any]:
    """The settings under which shards fit together; files by their content, wherever they are."""
    # The manifest has the hashes of all files.
    manifest = settings.model / MANIFEST
    content = manifest if manifest.is_file() else settings.model / "saved_model.pb"
    identity = {name: value for name, value in vars(settings).items() if name != "trust"}
    return identity | {"model": hashlib.sha256(content.read_bytes()).hexdigest(), "input": digest}


def _begin(folder: Path, identity: dict[str, Any]) -> bool:
    """Begin a run, or go on with one of the same settings; return whether it is new."""
    try:
        begun = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True)
        with written_whole(folder / _SETTINGS) as partial:
            partial.write_text(dumped(identity, indent=2) + "\n", encoding="utf-8")
        return True
    other = sorted(name for name in identity if begun.get(name) != identity[name])
    if other:
        raise ValueError(
            f"{folder} holds a run that was begun with another {', '.join(other)}. "
            "Give the same to go on, or delete the folder to begin anew."
        )
    return False


@contextlib.contextmanager
def _ray(address: str | None) -> Iterator[Any]:
    # Both are read on import.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise ImportError(f"bulk needs Ray: pip install 'tfmodels[bulk]' ({error})") from None
    address = address or os.environ.get("RAY_ADDRESS", "local")
    ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield ray
    finally:
        ray.shutdown()


def _answer(ray: Any, settings: BulkSettings, folder: Path, shards: list[Shard], workers: int | None) -> None:
    from ray.exceptions import RayError, RayTaskError
    from ray.util import ActorPool

    # A cluster's head may have no cores for work.
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
    workers = min(workers or len(nodes), len(shards))
    cpus, gpus = _share(nodes, workers)
    kind = ray.remote(
        num_cpus=cpus,
        num_gpus=gpus,
        max_restarts=_RESTARTS,
        max_task_retries=_RESTARTS,
        scheduling_strategy="SPREAD",
    )(BulkWorker)
    try:
        actors = [kind.remote(settings, folder, cpus) for _ in range(workers)]
        ray.get([actor.check.remote() for actor in actors])
        done = ActorPool(actors).map_unordered(lambda actor, shard: actor.run.remote(shard), shards)
        for number, _ in enumerate(done, 1):
            print(f"{number} of {len(shards)} shards", file=sys.stderr, flush=True)
    except RayTaskError as error:
        if isinstance(error.cause, (ValueError, OSError, ImportError)):
            raise error.cause from None
        raise ChildProcessError(f"a worker failed: {error.cause!r}") from None
    except RayError as error:
        reason = str(error).strip().splitlines()[0]
        raise ChildProcessError(f"a worker died; the same command goes on where it stopped ({reason})") from None


def _share(nodes: list[Mapping[str, float]], workers: int) -> tuple[int, float]:
    """Cores and GPUs of a worker, so that all find room at once: Ray would wait without end for more.

    Raises:
        ValueError: more workers than cores.

    >>> _share([{"CPU": 8}, {"CPU": 4}], 2), _share([{"CPU": 4, "GPU": 1}], 2)
    ((4, 0.0), (2, 0.5))
    """
    cores = int(sum(node["CPU"] for node in nodes))
    if workers > cores:
        raise ValueError(f"--workers must be at most {cores}, the cores that there are. Received: --workers {workers}")
    cpus = next(cpus for cpus in range(cores, 0, -1) if sum(int(node["CPU"]) // cpus for node in nodes) >= workers)
    if not all(node.get("GPU", 0) >= 1 for node in nodes):
        return cpus, 0.0
    most = max(int(node["CPU"]) // cpus / int(node["GPU"]) for node in nodes)
    return cpus, 1.0 if most <= 1 else 1 / math.ceil(most)


def _join(files: list[Path], target: Path) -> int:
    """Concatenate files; return the number of their lines."""
    lines = 0
    with written_whole(target) as partial, partial.open("wb") as whole:
        for path in files:
            with path.open("rb") as part:
                for line in part:
                    whole.write(line)
                    lines += 1
    return lines
